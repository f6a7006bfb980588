/**
 * A part of a body in a savepoint of its own: undone when it fails, and nothing of what it left running is sent after its end.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as BoundedWait from "../../operation/BoundedWait.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { TransactionControl } from "../../operation/OperationError.js"
import type { CurrentSavepoint } from "../../operation/Transactor.js"
import { databaseError, sqlError, sqlState } from "../client/PgError.js"
import type { SavepointOptions } from "../client/PgStep.js"
import type { Around, Body } from "./BodyConnection.js"
import type { StatementBatch } from "./StatementBatch.js"

/** What the savepoints of one step share. */
interface Shared {
  readonly batch: StatementBatch
  readonly body: Body
  readonly step: object
  /** Runs a part with this connection for its statements. */
  readonly within: (connection: Connection, savepoint: CurrentSavepoint["Type"]) => Around
}

/** Runs a part in a savepoint. */
export type InSavepoint = <A, E, R>(
  part: Effect.Effect<A, E, R>,
  options?: SavepointOptions
) => Effect.Effect<A, E | DatabaseError, R>

/** How long the statements around a part may take when it is interrupted; then nothing more of its step is sent. */
const patience = "1 second"

/** The savepoints of one step: each has a name of its own, and is released. */
export const make = (shared: Shared): InSavepoint => {
  let count = 0
  return (part, options = {}) =>
    Effect.uninterruptibleMask((restore) => inSavepoint(shared, `es_ops_${++count}`, restore(part), options))
}

const inSavepoint = Effect.fnUntraced(function* <A, E, R>(
  shared: Shared,
  name: string,
  part: Effect.Effect<A, E, R>,
  options: SavepointOptions
) {
  const { batch, body, step, within } = shared
  yield* Effect.mapError(body.admit, databaseError("writing"))
  // In one message with the release of the savepoint before it. A cancellation of it would hit the whole step.
  const begun = yield* toItsEnd(shared, batch.send([`SAVEPOINT ${name}`, options.begin ?? []].flat().join("; ")))
  if (Exit.isFailure(begun)) return yield* Effect.failCause(Cause.map(begun.cause, abortedBy(body)))
  const current = { step, ended: false }
  const connection = body.connection(identity, () => current.ended)
  const exit = yield* Effect.exit(within(connection, current)(part))
  current.ended = true
  yield* body.settled
  // The step is over meanwhile, and is undone as a whole.
  if (body.isClosed()) return yield* exit
  yield* Exit.isSuccess(exit) && options.keep !== false ? release(shared, name) : undo(shared, name, exit)
  return yield* exit
})

/** Goes with the next text; but the end of a transaction that takes nothing any more is this part's own failure. */
const release = ({ batch, body }: Shared, name: string): Effect.Effect<void, DatabaseError> =>
  Effect.suspend(() => {
    const text = `RELEASE SAVEPOINT ${name}`
    if (body.isSound()) return Effect.sync(() => batch.later(text))
    return batch.send(text).pipe(
      Effect.mapError(abortedBy(body)),
      Effect.tapError(() => Effect.ignore(batch.sendInstead(`ROLLBACK TO SAVEPOINT ${name}`))),
      Effect.asVoid
    )
  })

/** A part that failed keeps its own error: one of the savepoint only repeats it. */
const undo = (shared: Shared, name: string, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void, DatabaseError> =>
  Effect.flatMap(
    toItsEnd(shared, shared.batch.sendInstead(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`)),
    (undone) => (Exit.isFailure(undone) && Exit.isSuccess(exit) ? Effect.fail(savepointIsGone) : Effect.void)
  )

const savepointIsGone = databaseError("ending a query")(
  sqlError(new TransactionControl({ statement: "its savepoint is gone" }))
)

/** A statement of ours that is interrupted and does not end in time may be in the way of everything behind it: the step is closed then. */
const toItsEnd = <A>({ body }: Shared, send: Effect.Effect<A, SqlError>): Effect.Effect<Exit.Exit<A, SqlError>> =>
  Effect.tap(BoundedWait.toItsEnd(send, patience), (exit) =>
    Effect.sync(() => {
      if (Exit.isInterrupted(exit)) body.close()
    })
  )

/** A statement of ours that failed because one of the body had: the body's is the reason. */
const abortedBy =
  (body: Body) =>
  (error: SqlError): DatabaseError =>
    Option.contains(sqlState(error), "25P02")
      ? databaseError("going on after a statement that failed and was caught outside sql.withTransaction")(
          Option.getOrElse(body.lastFailure(), () => error)
        )
      : databaseError("writing")(error)
