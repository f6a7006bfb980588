/**
 * What moving streams would do: each batch is done, without the lock that others would wait for, and undone.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { DatabaseError, LockTimeout } from "../operation/OperationError.js"
import { Transactor } from "../operation/Transactor.js"
import * as EventsLock from "./EventsLock.js"
import type { MoveCursor } from "./MoveReport.js"
import * as MoveReports from "./MoveReport.js"
import type { MoveWork } from "./MoveRun.js"
import * as MoveRun from "./MoveRun.js"
import * as StreamFailure from "./StreamFailure.js"
import type { Move } from "./StreamMoves.js"

type Tried = Effect.Effect<MoveCursor, DatabaseError | LockTimeout, MoveRun.Services | Transactor>

/** What a transaction did that is undone. */
class Undone extends Data.TaggedError("Undone")<{ readonly cursor: MoveCursor }> {}

/** So many streams are tried at a time. */
const size = 50

/** Tries all moves; answers with what a run would have done in the end. */
export const all = (about: MoveWork): Tried =>
  Effect.reduce(
    Arr.chunksOf(about.moves, size),
    { ...MoveReports.begin, failed: about.failed },
    (cursor: MoveCursor, some) =>
      Arr.isNonEmptyReadonlyArray(some) ? trySome(about, cursor, some) : Effect.succeed(cursor)
  )

const trySome = (about: MoveWork, cursor: MoveCursor, some: NonEmptyReadonlyArray<Move>): Tried =>
  Effect.flatMap(Transactor, (transactor) =>
    EventsLock.retried(
      transactor.savepoint(
        Effect.flatMap(MoveRun.moved(about, cursor, some), (next) => Effect.fail(new Undone({ cursor: next })))
      )
    )
  ).pipe(
    Effect.catchAll((error): Tried => {
      if (error._tag === "Undone") return Effect.succeed(error.cursor)
      if (!StreamFailure.isOfOneStream(error)) return Effect.fail(error)
      const [first, ...others] = some
      return others.length === 0
        ? Effect.succeed({ ...cursor, failed: [...cursor.failed, MoveRun.failedWith(first, error)] })
        : Effect.reduce(some, cursor, (next, one) => trySome(about, next, [one]))
    })
  )
