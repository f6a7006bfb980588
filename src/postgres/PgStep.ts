/**
 * The transaction that a step runs in: what its body may send, one statement at a time, and how it is closed.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { CommitRefused, DatabaseError, SwallowedSqlError, TransactionControl } from "../operation/OperationError.js"
import { databaseError, isConnectionLost, reasonOf, sqlState } from "./PgError.js"
import { over } from "./PgSql.js"
import { transactionControl } from "./PgText.js"

/** Why a body cannot be closed: it meddled with the transaction, or the server keeps nothing of it. */
export type SealError = TransactionControl | SwallowedSqlError | CommitRefused | DatabaseError

/** The step that the current fiber is in. */
export class PgStep extends Context.Tag("effect-es-ops/PgStep")<
  PgStep,
  {
    /** The connection for statements of ours. */
    readonly raw: Connection
    /** Opens guard and savepoint: what follows is the body. */
    readonly open: Effect.Effect<void, SqlError>
    /** Ends the body: its connection takes no more statements, its deferred constraints hold, the transaction is still ours. */
    readonly seal: Effect.Effect<void, SealError>
    /** Runs `part` between the body's statements, in a savepoint; `keep` decides by its exit whether it stays. */
    readonly turn: <A, E, R>(
      part: Effect.Effect<A, E, R>,
      options?: { readonly begin?: string | undefined; readonly keep?: boolean | undefined }
    ) => Effect.Effect<A, E | DatabaseError, R>
  }
>() {}

/**
 * A holdable cursor is computed at COMMIT, and this one cannot be: a COMMIT that is not ours fails (22012) and takes everything with it.
 * After a ROLLBACK that is not ours the cursor is gone (34000). Without table, privilege or round trip of its own.
 */
const openGuard = "DECLARE es_ops_guard CURSOR WITH HOLD FOR SELECT 1/(random()*0)::int; SAVEPOINT es_ops_step"
const closeGuard = "SET CONSTRAINTS ALL IMMEDIATE; CLOSE es_ops_guard"
const undoBody = "ROLLBACK TO SAVEPOINT es_ops_step; CLOSE es_ops_guard"

/** A step over one connection, and what its transaction needs to know of it. */
export interface Step {
  /** Gives `body` the step and its connection. */
  readonly provide: <A, E, R>(body: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Gives `effect` the step, its own statements included, for what is written after the body. */
  readonly provideRaw: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly isOpen: () => boolean
  readonly isSealed: () => boolean
  readonly seal: Effect.Effect<void, SealError>
  /** Back to the savepoint, with the transaction and its locks kept. */
  readonly undo: Effect.Effect<void, SqlError>
  /** The body's attempt on the transaction, if there was one. */
  readonly meddling: () => Option.Option<TransactionControl>
  /** No statement of the body, and of whatever it left running, from here on. */
  readonly end: Effect.Effect<void>
}

export const make = (raw: Connection): Step => {
  const permit = Effect.unsafeMakeSemaphore(1)
  let state: "new" | "open" | "sealed" | "ended" = "new"
  let meddling = Option.none<TransactionControl>()
  let lastFailure = Option.none<SqlError>()
  let savepoints = 0

  const send = (text: string) => raw.executeRaw(text, [])
  const meddled = (statement: string) => {
    meddling = Option.orElseSome(meddling, () => new TransactionControl({ statement }))
    return Option.getOrThrow(meddling)
  }

  /** What every statement of the body goes through. */
  const gate = <A>(text: string, run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.suspend(() => {
      if (state === "sealed" || state === "ended") return refused(stepIsOver)
      if (Option.isSome(meddling)) return refused(meddling.value)
      const forbidden = transactionControl(text)
      if (Option.isSome(forbidden)) return refused(meddled(forbidden.value))
      return run.pipe(
        Effect.tapError((error) => {
          if (!Option.contains(sqlState(error), "25P02")) lastFailure = Option.some(error)
          // After an error a transaction takes no statement (25P02): if the server takes one, there is no transaction any more.
          return Effect.match(send("SELECT 1"), { onSuccess: () => meddled(inLongerText), onFailure: () => error })
        }),
        Effect.ensuring(
          Effect.sync(() => {
            if (isIdle(raw)) meddled(inLongerText)
          })
        )
      )
    })

  const gated = (turn: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>): Connection => ({
    execute: (text, params, transform) => turn(gate(text, raw.execute(text, params, transform))),
    executeRaw: (text, params) => turn(gate(text, raw.executeRaw(text, params))),
    executeValues: (text, params) => turn(gate(text, raw.executeValues(text, params))),
    executeUnprepared: (text, params, transform) => turn(gate(text, raw.executeUnprepared(text, params, transform))),
    // Read whole: a cursor held open would keep the turn, and the statement that the reader sends next would wait for ever.
    executeStream: (text, params, transform) =>
      Stream.fromIterableEffect(turn(gate(text, raw.execute(text, params, transform))))
  })

  const savepoint = <A, E, R>(
    part: Effect.Effect<A, E, R>,
    options: { readonly begin?: string | undefined; readonly keep?: boolean | undefined } = {}
  ): Effect.Effect<A, E | DatabaseError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        if (state === "sealed" || state === "ended") return yield* databaseError("writing")(sqlError(stepIsOver))
        if (Option.isSome(meddling)) return yield* databaseError("writing")(sqlError(meddling.value))
        const name = `es_ops_${++savepoints}`
        const begin = options.begin === undefined ? "" : `; ${options.begin}`
        yield* Effect.mapError(send(`SAVEPOINT ${name}${begin}`), abortedBy)
        const exit = yield* restore(part).pipe(provideWith(inner, innerStep), Effect.exit)
        if (Exit.isSuccess(exit) && options.keep !== false) {
          yield* send(`RELEASE SAVEPOINT ${name}`).pipe(
            Effect.mapError(abortedBy),
            Effect.tapError(() => Effect.ignore(send(`ROLLBACK TO SAVEPOINT ${name}`)))
          )
        } else {
          const undone = Effect.exit(send(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`))
          // A part that failed keeps its own error: one of the savepoint only repeats it.
          if (Exit.isFailure(yield* undone) && Exit.isSuccess(exit)) {
            return yield* databaseError("ending a query")(
              sqlError(new TransactionControl({ statement: "its savepoint is gone" }))
            )
          }
        }
        return yield* exit
      })
    )

  /** A statement of ours that failed because one of the body had: the body's is the reason. */
  const abortedBy = (error: SqlError): DatabaseError =>
    databaseError("writing")(
      Option.contains(sqlState(error), "25P02") ? Option.getOrElse(lastFailure, () => error) : error
    )

  const sealError = (error: SqlError): SealError => {
    if (isConnectionLost(error)) return databaseError("closing the step")(error)
    const code = sqlState(error)
    if (Option.contains(code, "34000")) return meddled(inLongerText)
    if (Option.contains(code, "25P02")) {
      const swallowed = Option.getOrElse(lastFailure, () => error)
      return new SwallowedSqlError({ code: sqlState(swallowed), reason: reasonOf(swallowed) })
    }
    return new CommitRefused({ code, reason: reasonOf(error) })
  }

  const seal: Effect.Effect<void, SealError> = permit.withPermits(1)(
    Effect.suspend(() => {
      state = "sealed"
      return Option.isSome(meddling) ? Effect.fail(meddling.value) : Effect.mapError(send(closeGuard), sealError)
    })
  )

  const open = Effect.suspend(() => {
    state = "open"
    return Effect.asVoid(send(openGuard))
  })

  const outer = gated(permit.withPermits(1))
  const inner = gated(identity)
  const outerStep = PgStep.of({
    raw,
    open,
    seal,
    turn: (part, options) => permit.withPermits(1)(savepoint(part, options))
  })
  const innerStep = PgStep.of({ raw: inner, open, seal, turn: savepoint })

  const provideWith =
    (connection: Connection, step: PgStep["Type"]) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      over(connection)(Effect.provideService(effect, PgStep, step))

  return {
    provide: provideWith(outer, outerStep),
    provideRaw: provideWith(raw, outerStep),
    isOpen: () => state !== "new",
    isSealed: () => state === "sealed",
    seal,
    undo: Effect.asVoid(send(undoBody)),
    meddling: () => meddling,
    end: Effect.sync(() => {
      state = "ended"
    })
  }
}

const inLongerText = "a COMMIT or ROLLBACK inside a longer text"

/** Whether the server is outside any transaction, as its last ReadyForQuery said (PostgreSQL manual, 54.7). */
const isIdle = (connection: Connection): boolean => {
  if (!Predicate.hasProperty(connection, "pg")) return false
  const driver = connection.pg
  return (
    Predicate.hasProperty(driver, "getTransactionStatus") &&
    Predicate.isFunction(driver.getTransactionStatus) &&
    Reflect.apply(driver.getTransactionStatus, driver, []) === "I"
  )
}

const sqlError = (cause: Error): SqlError => new SqlError({ cause, message: cause.message })

const refused = (cause: Error): Effect.Effect<never, SqlError> => Effect.fail(sqlError(cause))

/** A statement came after its step: from a fiber that the body left running. */
class StepOver extends Schema.TaggedError<StepOver>()("StepOver", {}) {
  override get message(): string {
    return "the step that this statement belongs to is over"
  }
}

const stepIsOver = new StepOver()
