/**
 * The transaction that a step runs in: how its body is guarded, takes turns, and is closed.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as Mutex from "../../operation/Mutex.js"
import type { AlreadyApplied, DatabaseError } from "../../operation/OperationError.js"
import { CommitLost, CommitRefused, SwallowedSqlError, TransactionControl } from "../../operation/OperationError.js"
import { Turn } from "../../operation/Transactor.js"
import { isConnectionLost, reasonOf, sqlState } from "../client/PgError.js"
import * as StatementBatch from "./StatementBatch.js"
import * as BodyConnection from "./BodyConnection.js"
import * as CommitGuard from "./CommitGuard.js"
import * as Savepoints from "./Savepoint.js"

/** Why a body cannot be closed: it meddled with the transaction, or left something running. */
export type CloseError = TransactionControl | CommitRefused

/** Why a step was not committed. */
export type CommitError =
  TransactionControl | SwallowedSqlError | CommitRefused | CommitLost | AlreadyApplied | DatabaseError

/** What a claim asks of the server before the body. */
export interface Claim {
  /** Columns of one row. */
  readonly columns: string
  /** One statement, which sees what was committed when that row was computed. */
  readonly statement: string
}

/** What it answered: the row, and the rows of the statement. */
export interface Claimed {
  readonly row: unknown
  readonly rows: ReadonlyArray<unknown>
}

/** What is written when the body is through. */
export interface Closing {
  readonly text: string
  /** Why it could not be written; the body is undone by then. */
  readonly failed: (error: SqlError) => Effect.Effect<never, AlreadyApplied | CommitRefused | DatabaseError>
}

/** The step that the current fiber is in. */
export class PgStep extends Context.Tag("effect-es-ops/PgStep")<
  PgStep,
  {
    /** The connection for statements of ours. */
    readonly raw: Connection
    /** Sends statements of ours in one message; gives the rows of each. */
    readonly send: (text: string) => Effect.Effect<StatementBatch.Results, SqlError>
    /** Sends a claim, and with it guard and savepoint: what follows is the body. */
    readonly open: (claim: Claim) => Effect.Effect<Claimed, SqlError>
    /** The text that puts search path and role back to what the step began with. */
    readonly asBegun: () => string
    /** What is to be noted if the step is committed. */
    readonly whenCommitted: (note: () => void) => void
    /** Ends the body: its connection takes no more statements. What is written after it goes with the COMMIT. */
    readonly close: (closing: Closing) => Effect.Effect<void, CloseError>
    /** Runs `part` between the body's statements, in a savepoint. */
    readonly turn: <A, E, R>(
      part: Effect.Effect<A, E, R>,
      options?: Savepoints.PartOptions
    ) => Effect.Effect<A, E | DatabaseError, R>
  }
>() {}

/** A step over one connection, and what its transaction needs to know of it. */
export interface Step {
  /** Gives `body` the step and its connection, and what it is a part of. */
  readonly provide: (parent: Tracer.AnySpan | undefined) => BodyConnection.Around
  /** Gives `effect` the step, its own statements included, for what is written after the body. */
  readonly provideRaw: BodyConnection.Around
  readonly isOpen: () => boolean
  /** Whether the transaction was not even begun. */
  readonly isUnsent: () => boolean
  /** Whether the server may have committed it. */
  readonly isCommitting: () => boolean
  /** Ends the body, where `close` did not. */
  readonly seal: Effect.Effect<void, CloseError>
  /**
   * Commits what the body did, if its deferred constraints hold and the transaction is still ours, and what was to be written after it.
   * It cannot be left: whoever runs it decides how long it is waited for.
   */
  readonly commit: Effect.Effect<void, CommitError>
  /** Back to the savepoint, with the transaction and its locks kept. */
  readonly undo: Effect.Effect<void, SqlError>
  readonly rollback: Effect.Effect<void, SqlError>
  /** The body's attempt on the transaction, if there was one. */
  readonly meddling: () => Option.Option<TransactionControl>
  /** No statement of the body, and of whatever it left running, from here on. */
  readonly end: Effect.Effect<void>
}

/** How long a write or query that the body left running may take to end. */
const settleTimeout = "30 seconds"

const neverEnded = new CommitRefused({
  code: Option.none(),
  reason: `a write or query that the seed left running did not end within ${settleTimeout}`
})

/** A step over one connection, whose transaction `begin` begins with the first statement; `begun` is told what was answered to it. */
export const make = (wire: Connection, begin: string, begun: (answered: StatementBatch.Results) => void): Step => {
  const mutex = Mutex.make()
  const batch = StatementBatch.make(wire, begin, begun)
  const raw = batch.connection
  const gate = BodyConnection.make(batch)
  const guard = CommitGuard.make()
  const self = {}
  let state: "new" | "open" | "sealed" | "committing" = "new"
  let wasOpened = false
  let closing = Option.none<Closing>()
  const notes: Array<() => void> = []
  let guarded = false

  const send = batch.send

  const open = ({ columns, statement }: Claim) =>
    send(`SELECT ${columns}, ${CommitGuard.columns}; ${statement}; ${guard.set}; SAVEPOINT es_ops_step`).pipe(
      Effect.flatMap((results) => {
        state = "open"
        wasOpened = true
        guarded = true
        const [first, second] = results.slice(-4)
        const row = first?.rows[0]
        // A driver that answers in another shape: without the session to go back to, nothing may be run.
        if (!guard.note(row) || second === undefined)
          return Effect.fail(BodyConnection.sqlError(new TypeError("no session")))
        return Effect.succeed({ row, rows: second.rows })
      })
    )

  /** Nothing of the body from here on; what it did to the transaction is its failure. */
  const ended = Effect.suspend(() => {
    state = "sealed"
    gate.close()
    return Option.match(gate.meddling(), { onNone: () => Effect.void, onSome: (meddling) => Effect.fail(meddling) })
  })

  /** A turn that the body left running is waited for, within bounds. */
  const seal: Effect.Effect<void, CloseError> = Effect.suspend(() => {
    if (state !== "open") return Effect.void
    return mutex.isFree() ? ended : sealLater()
  })

  const sealLater = () =>
    Effect.interruptible(mutex.alone(ended)).pipe(
      Effect.disconnect,
      Effect.interruptible,
      Effect.timeoutFail({ duration: settleTimeout, onTimeout: () => neverEnded })
    )

  /** Behind a statement of the body that was left. */
  const afterLeft = <A, E>(effect: () => Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => (gate.isLeft() ? Effect.zipRight(gate.settled, Effect.suspend(effect)) : effect()))

  /**
   * In one message: search path and role as the step began with them; then deferred constraints, then the guard; then marker and attempt, and
   * COMMIT. One round trip of 0.08 ms in place of four.
   */
  const commit = afterLeft((): Effect.Effect<void, CommitError> => {
    const before = wasOpened ? `${guard.back()}; SET CONSTRAINTS ALL IMMEDIATE; ${guard.close}; ` : ""
    const after = Option.match(closing, { onNone: () => "", onSome: ({ text }) => `${text}; ` })
    state = "committing"
    return Effect.matchEffect(batch.sendBare(`${before}${after}COMMIT`), {
      onSuccess: (results) =>
        results.at(-1)?.command === "COMMIT"
          ? Effect.sync(() => notes.forEach((note) => note()))
          : new CommitRefused({ code: Option.none(), reason: "it rolled the transaction back" }),
      onFailure: notCommitted
    })
  })

  /**
   * Back to the savepoint, and the guard closed; true if it was closed before, hence if the message came as far as marker and attempt: that a
   * cursor is closed is not undone with a savepoint (PostgreSQL manual, ROLLBACK TO SAVEPOINT).
   */
  const backPastGuard: Effect.Effect<boolean, SqlError> = Effect.suspend(() => {
    const back = "ROLLBACK TO SAVEPOINT es_ops_step"
    return send(`${back}; ${guard.close}`).pipe(
      Effect.as(false),
      Effect.catchIf(
        (error) => Option.contains(sqlState(error), CommitGuard.noCursor),
        () => Effect.as(send(back), true)
      ),
      Effect.tap(() =>
        Effect.sync(() => {
          guarded = false
        })
      )
    )
  })

  /** Behind the guard it was marker or attempt. */
  const notCommitted = (error: SqlError): Effect.Effect<never, CommitError> => {
    if (isConnectionLost(error)) return new CommitLost({ reason: reasonOf(error), cause: error })
    const meant = Option.match(sqlState(error), {
      onNone: () => false,
      onSome: (code) => code !== CommitGuard.noCursor
    })
    const passed = meant ? Effect.orElseSucceed(backPastGuard, () => false) : Effect.succeed(false)
    return Effect.flatMap(passed, (isPassed): Effect.Effect<never, CommitError> => {
      state = "sealed"
      return isPassed && Option.isSome(closing) ? closing.value.failed(error) : Effect.fail(commitError(error))
    })
  }

  const commitError = (error: SqlError): CommitError => {
    const code = sqlState(error)
    if (Option.contains(code, CommitGuard.noCursor) || Option.contains(code, "3B001"))
      return gate.meddled(BodyConnection.inLongerText)
    if (Option.contains(code, "25P02")) {
      const swallowed = Option.getOrElse(gate.lastFailure(), () => error)
      return new SwallowedSqlError({ code: sqlState(swallowed), reason: reasonOf(swallowed) })
    }
    return new CommitRefused({ code, reason: reasonOf(error) })
  }

  /** Alone among the body's statements; a part of a part has the turn already. */
  const alone: BodyConnection.Around = (effect) =>
    Effect.withFiberRuntime((fiber) => {
      const turn = Context.getOption(fiber.currentContext, Turn)
      return Option.isSome(turn) && turn.value.step === self && !turn.value.over ? effect : mutex.alone(effect)
    })

  const outerStep = PgStep.of({
    raw,
    send,
    open,
    asBegun: guard.back,
    whenCommitted: (note) => notes.push(note),
    close: (last) =>
      Effect.zipRight(
        seal,
        Effect.sync(() => {
          closing = Option.some(last)
        })
      ),
    turn: (part, options) => alone(savepoint(part, options))
  })

  const savepoint = Savepoints.make({
    batch,
    gate,
    step: self,
    within: (connection, turn) => within(connection, { ...outerStep, turn: savepoint }, Context.make(Turn, turn))
  })

  /** One context for all of it: each takes 25 µs. */
  const within = (connection: Connection, step: PgStep["Type"], more = Context.empty()): BodyConnection.Around => {
    const own = more.pipe(Context.add(SqlClient.TransactionConnection, [connection, 0]), Context.add(PgStep, step))
    return Effect.mapInputContext((outer) => Context.merge(outer, own))
  }

  return {
    provide: (parent) =>
      within(
        gate.connection(alone, () => false),
        outerStep,
        parent === undefined ? Context.empty() : Context.make(Tracer.ParentSpan, parent)
      ),
    provideRaw: within(raw, outerStep),
    isOpen: () => wasOpened,
    isUnsent: batch.isUnsent,
    isCommitting: () => state === "committing",
    seal,
    commit,
    undo: Effect.zipRight(
      Effect.when(Effect.ignore(backPastGuard), () => state === "committing" && guarded),
      afterLeft(() =>
        Effect.asVoid(batch.undo(`ROLLBACK TO SAVEPOINT es_ops_step${guarded ? `; ${guard.close}` : ""}`))
      )
    ),
    rollback: afterLeft(() => Effect.asVoid(batch.undo("ROLLBACK"))),
    meddling: gate.meddling,
    end: Effect.sync(gate.close)
  }
}
