/**
 * The transaction that a step runs in: how its body is guarded, takes turns, and is closed.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { randomUUID } from "node:crypto"
import type { AlreadyApplied, DatabaseError } from "../operation/OperationError.js"
import { CommitLost, CommitRefused, SwallowedSqlError, TransactionControl } from "../operation/OperationError.js"
import { Turn } from "../operation/Transactor.js"
import { databaseError, isConnectionLost, reasonOf, sqlState } from "./PgError.js"
import * as PgBatch from "./PgBatch.js"
import * as PgGate from "./PgGate.js"
import { over } from "./PgSql.js"
import { literal } from "./PgText.js"

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

/** How a part of a body is run: what is sent with its savepoint, and whether a success stays. */
export interface PartOptions {
  readonly begin?: string | undefined
  readonly keep?: boolean | undefined
}

/** The step that the current fiber is in. */
export class PgStep extends Context.Tag("effect-es-ops/PgStep")<
  PgStep,
  {
    /** The connection for statements of ours. */
    readonly raw: Connection
    /** Sends a claim, and with it guard and savepoint: what follows is the body. */
    readonly open: (claim: Claim) => Effect.Effect<Claimed, SqlError>
    /** Ends the body: its connection takes no more statements. What is written after it goes with the COMMIT. */
    readonly close: (closing: Closing) => Effect.Effect<void, CloseError>
    /** Runs `part` between the body's statements, in a savepoint. */
    readonly turn: <A, E, R>(
      part: Effect.Effect<A, E, R>,
      options?: PartOptions
    ) => Effect.Effect<A, E | DatabaseError, R>
  }
>() {}

/** A step over one connection, and what its transaction needs to know of it. */
export interface Step {
  /** Gives `body` the step and its connection. */
  readonly provide: PgGate.Around
  /** Gives `effect` the step, its own statements included, for what is written after the body. */
  readonly provideRaw: PgGate.Around
  /** The connection for statements of ours. */
  readonly raw: Connection & { readonly pg: unknown }
  readonly isOpen: () => boolean
  /** Whether the transaction was not even begun. */
  readonly isUnsent: () => boolean
  /** Whether the server may have committed it. */
  readonly isCommitting: () => boolean
  /** Ends the body, where `close` did not. */
  readonly seal: Effect.Effect<void, CloseError>
  /** Commits what the body did, if its deferred constraints hold and the transaction is still ours, and what was to be written after it. */
  readonly commit: Effect.Effect<void, CommitError>
  /** Back to the savepoint, with the transaction and its locks kept. */
  readonly undo: Effect.Effect<void, SqlError>
  readonly rollback: Effect.Effect<void, SqlError>
  /** The body's attempt on the transaction, if there was one. */
  readonly meddling: () => Option.Option<TransactionControl>
  /** No statement of the body, and of whatever it left running, from here on. */
  readonly end: Effect.Effect<void>
}

/** What a body may change for its transaction, and must not decide where the marker goes and who writes it. */
interface Session {
  readonly search_path: string
  readonly role: string
}

const isSession = (row: unknown): row is Session =>
  Predicate.hasProperty(row, "search_path") &&
  Predicate.isString(row.search_path) &&
  Predicate.hasProperty(row, "role") &&
  Predicate.isString(row.role)

/** How long a write or query that the body left running may take to end. */
const settleTimeout = "30 seconds"

const neverEnded = new CommitRefused({
  code: Option.none(),
  reason: `a write or query that the seed left running did not end within ${settleTimeout}`
})

/** A step over one connection, whose transaction `begin` begins with the first statement; `begun` is told what was answered to it. */
export const make = (
  wire: Connection & { readonly pg: unknown },
  begin: string,
  begun: (answered: PgBatch.Results) => void
): Step => {
  const permit = Effect.unsafeMakeSemaphore(1)
  const batch = PgBatch.make(wire, begin, begun)
  const raw = batch.connection
  const gate = PgGate.make(raw)
  const self = {}
  let state: "new" | "open" | "sealed" | "committing" = "new"
  let wasOpened = false
  let closing = Option.none<Closing>()
  let session: Session = { search_path: "", role: "" }
  let guarded = false
  let savepoints = 0

  /**
   * A holdable cursor is computed at COMMIT, and this one cannot be: a COMMIT that is not ours fails (22012) and takes everything with it.
   * After a ROLLBACK that is not ours the cursor is gone (34000). Without table, privilege or round trip of its own; under a name that the
   * body cannot know, as whoever closes it can commit.
   */
  const guard = `es_ops_guard_${randomUUID().replaceAll("-", "")}`

  const send = batch.send

  const open = ({ columns, statement }: Claim) =>
    send(
      `SELECT ${columns}, current_setting('search_path') AS search_path, current_setting('role') AS role; ${statement}; DECLARE ${guard} CURSOR WITH HOLD FOR SELECT 1/(random()*0)::int; SAVEPOINT es_ops_step`
    ).pipe(
      Effect.flatMap((results) => {
        state = "open"
        wasOpened = true
        guarded = true
        const [first, second] = results.slice(-4)
        const row = first?.rows[0]
        // A driver that answers in another shape: without the session to go back to, nothing may be run.
        if (!isSession(row) || second === undefined) return Effect.fail(PgGate.sqlError(new Error("no session")))
        session = { search_path: row.search_path, role: row.role }
        return Effect.succeed({ row, rows: second.rows })
      })
    )

  /** Nothing of the body from here on; what it did to the transaction is its failure. */
  const closed = Effect.suspend(() => {
    state = "sealed"
    gate.close()
    return Option.match(gate.meddling(), { onNone: () => Effect.void, onSome: (meddling) => Effect.fail(meddling) })
  })

  /** A turn that the body left running is waited for, within bounds. */
  const seal: Effect.Effect<void, CloseError> = Effect.suspend(() =>
    state !== "open"
      ? Effect.void
      : Effect.flatMap(permit.withPermitsIfAvailable(1)(closed), (done) =>
          Option.isSome(done) ? Effect.void : sealLater
        )
  )

  const sealLater = Effect.interruptible(permit.take(1)).pipe(
    Effect.disconnect,
    Effect.interruptible,
    Effect.timeoutFail({ duration: settleTimeout, onTimeout: () => neverEnded }),
    Effect.zipRight(Effect.ensuring(closed, permit.release(1)))
  )

  /**
   * In one message: search path and role as the step began with them, for the session as well, where a plain SET would outlive the
   * transaction; then deferred constraints, then the guard; then marker and attempt, and COMMIT. One round trip in place of four: 0.25 ms of
   * a seed that costs 0.9.
   */
  const commit = Effect.suspend((): Effect.Effect<void, CommitError> => {
    const before = !wasOpened
      ? ""
      : `SELECT set_config('search_path', ${literal(session.search_path)}, false), set_config('role', ${literal(session.role)}, false); SET CONSTRAINTS ALL IMMEDIATE; CLOSE ${guard}; `
    state = "committing"
    const after = Option.match(closing, {
      onNone: () => "",
      onSome: ({ text }) => `SAVEPOINT es_ops_closed; ${text}; `
    })
    return Effect.matchEffect(send(`${before}${after}COMMIT`), {
      onSuccess: (results) =>
        results.at(-1)?.command === "COMMIT"
          ? Effect.void
          : new CommitRefused({ code: Option.none(), reason: "it rolled the transaction back" }),
      onFailure: notCommitted
    })
  })

  /** Succeeds, and is back there, if the message came as far as this savepoint: the guard is closed then. */
  const passedGuard = Effect.suspend(() =>
    Effect.map(send("ROLLBACK TO SAVEPOINT es_ops_closed"), () => {
      guarded = false
    })
  )

  /** Behind the guard it was marker or attempt. */
  const notCommitted = (error: SqlError): Effect.Effect<never, CommitError> => {
    if (isConnectionLost(error)) return new CommitLost({ reason: reasonOf(error), cause: error })
    return Effect.flatMap(Effect.either(passedGuard), (passed): Effect.Effect<never, CommitError> => {
      if (Option.isNone(closing) || Either.isLeft(passed)) return Effect.fail(commitError(error))
      return Effect.zipRight(
        Effect.ignore(wasOpened ? send("ROLLBACK TO SAVEPOINT es_ops_step") : Effect.void),
        closing.value.failed(error)
      )
    })
  }

  const commitError = (error: SqlError): CommitError => {
    const code = sqlState(error)
    if (Option.contains(code, "34000")) return gate.meddled(PgGate.inLongerText)
    if (Option.contains(code, "25P02")) {
      const swallowed = Option.getOrElse(gate.lastFailure(), () => error)
      return new SwallowedSqlError({ code: sqlState(swallowed), reason: reasonOf(swallowed) })
    }
    return new CommitRefused({ code, reason: reasonOf(error) })
  }

  /** A statement of ours that failed because one of the body had: the body's is the reason. */
  const abortedBy = (error: SqlError): DatabaseError =>
    Option.contains(sqlState(error), "25P02")
      ? databaseError("going on after a statement that failed and was caught outside sql.withTransaction")(
          Option.getOrElse(gate.lastFailure(), () => error)
        )
      : databaseError("writing")(error)

  const savepoint = <A, E, R>(
    part: Effect.Effect<A, E, R>,
    options: PartOptions = {}
  ): Effect.Effect<A, E | DatabaseError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        yield* Effect.mapError(gate.admit, databaseError("writing"))
        const name = `es_ops_${++savepoints}`
        const begin = options.begin === undefined ? "" : `; ${options.begin}`
        yield* Effect.mapError(send(`SAVEPOINT ${name}${begin}`), abortedBy)
        const turn = { step: self, over: false }
        const inner = gate.connection(identity, () => turn.over)
        const exit = yield* restore(part).pipe(
          within(inner, { ...outerStep, turn: savepoint }),
          Effect.provideService(Turn, turn),
          Effect.exit
        )
        turn.over = true
        if (Exit.isSuccess(exit) && options.keep !== false) {
          const release = `RELEASE SAVEPOINT ${name}`
          // Goes with the next text; but the end of a transaction that takes nothing any more is this part's own failure.
          if (PgGate.statusOf(wire) === "T") batch.later(release)
          else
            yield* send(release).pipe(
              Effect.mapError(abortedBy),
              Effect.tapError(() => Effect.ignore(batch.undo(`ROLLBACK TO SAVEPOINT ${name}`)))
            )
        } else {
          const undoing = batch.undo(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`)
          const undone = yield* Exit.isInterrupted(exit) ? inTime(undoing) : Effect.exit(undoing)
          // A part that failed keeps its own error: one of the savepoint only repeats it.
          if (Exit.isFailure(undone) && Exit.isSuccess(exit)) {
            const gone = new TransactionControl({ statement: "its savepoint is gone" })
            return yield* databaseError("ending a query")(PgGate.sqlError(gone))
          }
        }
        return yield* exit
      })
    )

  /** A statement that was interrupted may still be running: then nothing that belongs to the step can be sent any more. */
  const inTime = (undoing: Effect.Effect<unknown, SqlError>): Effect.Effect<Exit.Exit<unknown, unknown>> =>
    PgGate.inTime(undoing).pipe(
      Effect.tapError(() => Effect.sync(gate.close)),
      Effect.exit
    )

  /** Alone among the body's statements; a part of a part has the turn already. */
  const alone: PgGate.Around = (effect) =>
    Effect.flatMap(Effect.serviceOption(Turn), (turn) =>
      Option.exists(turn, ({ over, step }) => step === self && !over) ? effect : permit.withPermits(1)(effect)
    )

  const outerStep = PgStep.of({
    raw,
    open,
    close: (last) =>
      Effect.zipRight(
        seal,
        Effect.sync(() => {
          closing = Option.some(last)
        })
      ),
    turn: (part, options) => alone(savepoint(part, options))
  })

  const within =
    (connection: Connection, step: PgStep["Type"]): PgGate.Around =>
    (effect) =>
      over(connection)(Effect.provideService(effect, PgStep, step))

  return {
    provide: within(
      gate.connection(alone, () => false),
      outerStep
    ),
    provideRaw: within(raw, outerStep),
    raw,
    isOpen: () => wasOpened,
    isUnsent: batch.isUnsent,
    isCommitting: () => state === "committing",
    seal,
    commit,
    undo: Effect.zipRight(
      Effect.when(Effect.ignore(passedGuard), () => state === "committing" && guarded),
      Effect.suspend(() =>
        Effect.asVoid(batch.undo(`ROLLBACK TO SAVEPOINT es_ops_step${guarded ? `; CLOSE ${guard}` : ""}`))
      )
    ),
    rollback: Effect.asVoid(batch.undo("ROLLBACK")),
    meddling: gate.meddling,
    end: Effect.sync(gate.close)
  }
}
