/**
 * The transaction that a step runs in: how its body is guarded, takes turns, and is closed.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import type { DatabaseError } from "../operation/OperationError.js"
import { CommitRefused, SwallowedSqlError, TransactionControl } from "../operation/OperationError.js"
import { Turn } from "../operation/Transactor.js"
import { databaseError, isConnectionLost, reasonOf, sqlState } from "./PgError.js"
import * as PgGate from "./PgGate.js"
import { over } from "./PgSql.js"
import { literal } from "./PgText.js"

/** Why a body cannot be closed: it meddled with the transaction, or the server keeps nothing of it. */
export type SealError = TransactionControl | SwallowedSqlError | CommitRefused | DatabaseError

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
    /** Opens guard and savepoint: what follows is the body. */
    readonly open: Effect.Effect<void, SqlError>
    /** Ends the body: its connection takes no more statements, its deferred constraints hold, the transaction is still ours. */
    readonly seal: Effect.Effect<void, SealError>
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

/** What a body may change for its transaction, and must not decide where the marker goes and who writes it. */
const Session = Schema.Struct({ search_path: Schema.String, role: Schema.String })

const Opened = Schema.Tuple(Schema.Struct({ rows: Schema.Tuple(Session) }), Schema.Unknown, Schema.Unknown)

/** How long a write or query that the body left running may take to end. */
const settleTimeout = "30 seconds"

const neverEnded = new CommitRefused({
  code: Option.none(),
  reason: `a write or query that the seed left running did not end within ${settleTimeout}`
})

export const make = (raw: Connection): Step => {
  const permit = Effect.unsafeMakeSemaphore(1)
  const gate = PgGate.make(raw)
  const self = {}
  let state: "new" | "open" | "sealed" = "new"
  let session: typeof Session.Type = { search_path: "", role: "" }
  let guarded = false
  let savepoints = 0

  /**
   * A holdable cursor is computed at COMMIT, and this one cannot be: a COMMIT that is not ours fails (22012) and takes everything with it.
   * After a ROLLBACK that is not ours the cursor is gone (34000). Without table, privilege or round trip of its own; under a name that the
   * body cannot know, as whoever closes it can commit.
   */
  const guard = `es_ops_guard_${randomUUID().replaceAll("-", "")}`

  const send = (text: string) => raw.executeRaw(text, [])

  const open = send(
    `SELECT current_setting('search_path') AS search_path, current_setting('role') AS role; DECLARE ${guard} CURSOR WITH HOLD FOR SELECT 1/(random()*0)::int; SAVEPOINT es_ops_step`
  ).pipe(
    Effect.tap(() =>
      Effect.sync(() => {
        state = "open"
        guarded = true
      })
    ),
    Effect.flatMap(Schema.decodeUnknown(Opened)),
    Effect.map(([{ rows }]) => {
      session = rows[0]
    }),
    // A driver that answers in another shape: without the session to go back to, nothing may be run.
    Effect.catchTag("ParseError", (error) => Effect.fail(PgGate.sqlError(error)))
  )

  /**
   * The search path and the role are those that the step began with, for the session as well, where a plain SET would outlive the
   * transaction; then deferred constraints, then the guard.
   */
  const close = Effect.suspend(() =>
    send(
      `SELECT set_config('search_path', ${literal(session.search_path)}, false), set_config('role', ${literal(session.role)}, false); SET CONSTRAINTS ALL IMMEDIATE; CLOSE ${guard}`
    )
  )

  const closed = Effect.suspend(() => {
    state = "sealed"
    gate.close()
    return Option.match(gate.meddling(), {
      onNone: () =>
        Effect.map(Effect.mapError(close, sealError), () => {
          guarded = false
        }),
      onSome: (meddling) => Effect.fail(meddling)
    })
  })

  /** A turn that the body left running is waited for, within bounds. */
  const seal: Effect.Effect<void, SealError> = Effect.interruptible(permit.take(1)).pipe(
    Effect.disconnect,
    Effect.interruptible,
    Effect.timeoutFail({ duration: settleTimeout, onTimeout: () => neverEnded }),
    Effect.zipRight(Effect.ensuring(closed, permit.release(1)))
  )

  const sealError = (error: SqlError): SealError => {
    if (isConnectionLost(error)) return databaseError("closing the step")(error)
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
          yield* send(`RELEASE SAVEPOINT ${name}`).pipe(
            Effect.mapError(abortedBy),
            Effect.tapError(() => Effect.ignore(send(`ROLLBACK TO SAVEPOINT ${name}`)))
          )
        } else {
          const undoing = send(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`)
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

  const outerStep = PgStep.of({ raw, open, seal, turn: (part, options) => alone(savepoint(part, options)) })

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
    isOpen: () => state !== "new",
    isSealed: () => state === "sealed",
    seal,
    undo: Effect.suspend(() =>
      Effect.asVoid(send(`ROLLBACK TO SAVEPOINT es_ops_step${guarded ? `; CLOSE ${guard}` : ""}`))
    ),
    meddling: gate.meddling,
    end: Effect.sync(gate.close)
  }
}
