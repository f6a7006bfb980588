/**
 * A part of a body in a savepoint of its own: undone when it fails, and nothing of whatever it left running after its end.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import type { DatabaseError } from "../../operation/OperationError.js"
import { TransactionControl } from "../../operation/OperationError.js"
import type { Turn } from "../../operation/Transactor.js"
import type { Batch } from "./StatementBatch.js"
import { databaseError, sqlState } from "../client/PgError.js"
import * as BodyConnection from "./BodyConnection.js"
import * as Cancellation from "../client/Cancellation.js"

/** How a part of a body is run: what is sent with its savepoint, and whether a success stays. */
export interface PartOptions {
  readonly begin?: string | undefined
  readonly keep?: boolean | undefined
}

/** Runs a part in a savepoint. */
export type Savepoint = <A, E, R>(
  part: Effect.Effect<A, E, R>,
  options?: PartOptions
) => Effect.Effect<A, E | DatabaseError, R>

/** What the parts of one step share. */
interface Parts {
  readonly batch: Batch
  readonly gate: BodyConnection.Gate
  readonly step: object
  /** Runs a part with this connection for its statements. */
  readonly within: (connection: Connection, turn: Turn["Type"]) => BodyConnection.Around
}

/** The savepoints of one step. */
export const make = (parts: Parts): Savepoint => {
  let savepoints = 0
  return (part, options = {}) =>
    Effect.uninterruptibleMask((restore) => inSavepoint(parts, `es_ops_${++savepoints}`, restore(part), options))
}

const inSavepoint = Effect.fnUntraced(function* <A, E, R>(
  parts: Parts,
  name: string,
  part: Effect.Effect<A, E, R>,
  options: PartOptions
) {
  const { batch, gate, step, within } = parts
  yield* Effect.mapError(gate.admit, databaseError("writing"))
  const begin = `SAVEPOINT ${name}`
  // Goes with the part's first statement, unless more goes with it, or a transaction that takes nothing any more is to be found here.
  if (options.begin === undefined && isSound(parts)) batch.later(begin)
  else yield* Effect.mapError(batch.send([begin, options.begin ?? []].flat().join("; ")), abortedBy(gate))
  const turn = { step, over: false }
  const inner = gate.connection(identity, () => turn.over)
  const exit = yield* Effect.exit(within(inner, turn)(part))
  turn.over = true
  if (gate.isLeft()) yield* gate.settled
  // Nothing was sent; or the step is over meanwhile, and is undone as a whole.
  if (batch.forget(begin) || gate.isClosed()) return yield* exit
  if (Exit.isSuccess(exit) && options.keep !== false) {
    const release = `RELEASE SAVEPOINT ${name}`
    // Goes with the next text; but the end of a transaction that takes nothing any more is this part's own failure.
    if (isSound(parts)) batch.later(release)
    else
      yield* batch.send(release).pipe(
        Effect.mapError(abortedBy(gate)),
        Effect.tapError(() => Effect.ignore(batch.undo(`ROLLBACK TO SAVEPOINT ${name}`)))
      )
  } else {
    const undoing = batch.undo(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`)
    const undone = yield* Exit.isInterrupted(exit) ? inTime(gate, undoing) : Effect.exit(undoing)
    // A part that failed keeps its own error: one of the savepoint only repeats it.
    if (Exit.isFailure(undone) && Exit.isSuccess(exit)) {
      const gone = new TransactionControl({ statement: "its savepoint is gone" })
      return yield* databaseError("ending a query")(BodyConnection.sqlError(gone))
    }
  }
  return yield* exit
})

/** Whether the transaction takes the next statement, as far as the server has said. */
const isSound = ({ batch, gate }: Parts): boolean => !gate.isLeft() && BodyConnection.statusOf(batch.connection) === "T"

/** A statement of ours that failed because one of the body had: the body's is the reason. */
const abortedBy =
  (gate: BodyConnection.Gate) =>
  (error: SqlError): DatabaseError =>
    Option.contains(sqlState(error), "25P02")
      ? databaseError("going on after a statement that failed and was caught outside sql.withTransaction")(
          Option.getOrElse(gate.lastFailure(), () => error)
        )
      : databaseError("writing")(error)

/** A statement that was interrupted may still be running: then nothing that belongs to the step can be sent any more. */
const inTime = (
  gate: BodyConnection.Gate,
  undoing: Effect.Effect<unknown, SqlError>
): Effect.Effect<Exit.Exit<unknown, unknown>> =>
  Cancellation.inTime(undoing).pipe(
    Effect.tapError(() => Effect.sync(gate.close)),
    Effect.exit
  )
