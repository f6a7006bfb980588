/**
 * The columns that tables of features lack since a release that brought no seed: they are added all the same, as its replicas write them.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as LockWait from "../../operation/LockWait.js"
import { OperationId } from "../../operation/Operation.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type { LockTimeout } from "../../operation/OperationError.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import * as Transactors from "../../operation/Transactor.js"

/** No seed has this id. */
const id = OperationId.make("es-ops:columns")

/** Adds them under the operations lock, if there are any. A role that may not is told so, as it applies no seeds now. */
export const add: Effect.Effect<
  void,
  DatabaseError | LockTimeout,
  OperationLock | OperationConfig | Transactors.Transactor
> = Effect.gen(function* () {
  const lock = yield* OperationLock
  const transactor = yield* Transactors.Transactor
  const added = Effect.suspend(() => Transactors.run(transactor, lock.claim(id), id)).pipe(
    Effect.catchAll((error) => {
      if (error._tag === "AlreadyApplied") return Effect.void
      if (error._tag === "LockHeld" || error._tag === "DatabaseError") return Effect.fail(error)
      const connectionLost = error._tag === "CommitLost"
      return DatabaseError.because("adding columns", error.message, { connectionLost, cause: error })
    })
  )
  const attempt = Effect.whenEffect(added, lock.lacksColumns)
  yield* LockWait.whileHeld(id, attempt, () => Effect.void)
}).pipe(
  Effect.catchIf(
    (error): error is DatabaseError => error instanceof DatabaseError && Option.contains(error.code, "42501"),
    ({ message }) => Effect.logWarning(`columns that tables of features lack are not added: ${message}`)
  )
)
