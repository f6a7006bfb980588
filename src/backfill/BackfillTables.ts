/**
 * The tables for the plan of a backfill. It is often the first of ours that a database sees: then there are none yet, and the first run creates them.
 */
import type { Either } from "effect/Either"
import * as Effect from "effect/Effect"
import * as LockWait from "../operation/LockWait.js"
import { OperationId } from "../operation/Operation.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { LockTimeout } from "../operation/OperationError.js"
import { DatabaseError } from "../operation/OperationError.js"
import { OperationLock } from "../operation/OperationLock.js"
import { OperationLog } from "../operation/OperationLog.js"
import * as Transactors from "../operation/Transactor.js"
import { Transactor } from "../operation/Transactor.js"

/** A plan is through, and the tables that were created for it are to be undone. */
class Planned<A, E> {
  readonly _tag = "Planned"
  constructor(readonly plan: Either<A, E>) {}
}

/** Plans over the tables that are there; where there are none, over such as the first run creates, in a transaction that is rolled back. */
export const planned = <A, E, R>(
  backfill: string,
  plan: Effect.Effect<A, E, R>
): Effect.Effect<A, E | DatabaseError | LockTimeout, R | OperationLog | OperationLock | OperationConfig | Transactor> =>
  Effect.gen(function* () {
    const log = yield* OperationLog
    if (yield* log.hasTables) return yield* plan
    const lock = yield* OperationLock
    const transactor = yield* Transactor
    const id = OperationId.make(`event-backfill:${backfill}`)
    const over = Effect.flatMap(Effect.either(plan), (found) => Effect.fail(new Planned(found)))
    const attempt = Transactors.run(transactor, Effect.zipRight(lock.claim(id), over), `dry run of ${backfill}`)
    return yield* LockWait.whileHeld(id, attempt, () => Effect.void).pipe(
      Effect.catchAll((error): Effect.Effect<A, E | DatabaseError | LockTimeout> => {
        if (error instanceof Planned) return error.plan
        return error._tag === "LockTimeout" || error._tag === "DatabaseError"
          ? Effect.fail(error)
          : DatabaseError.because("planning a backfill", error.message, { cause: error })
      })
    )
  })
