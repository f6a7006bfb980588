/**
 * Whether the application's dispatcher writes in the seed's transaction: what it writes elsewhere stays when the seed is undone.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { TransactionError } from "../../operation/Transactor.js"
import * as Transactors from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import { SeedsInconsistent } from "../SeedProblem.js"

/** What is said of a seed whose writes are not atomic with its marker. */
export const notAtomic = "not atomic: the dispatcher writes through another connection"

/**
 * Whether writes of a dispatcher with this `transactionId` are atomic. Those that are not are refused unless the settings allow them; a dry run,
 * which could not undo them, never does.
 */
export const check = (options: {
  readonly dryRun: boolean
  readonly transactionId: Effect.Effect<string, DatabaseError>
}): Effect.Effect<boolean, SeedsInconsistent | TransactionError, Transactor | OperationConfig> =>
  Effect.gen(function* () {
    const { allowNonAtomicWriter } = yield* OperationConfig
    if (yield* isAtomic(options.transactionId)) return true
    if (options.dryRun) return yield* refused("a dry run could not undo what it writes")
    if (!allowNonAtomicWriter) return yield* refused("let it use the same SqlClient, or set allowNonAtomicWriter")
    yield* Effect.logWarning(`${notAtomic}: what a seed writes through it stays when the seed fails`)
    return false
  })

/** In a transaction as a step has it, the dispatcher must see the same one. */
const isAtomic = (
  transactionId: Effect.Effect<string, DatabaseError>
): Effect.Effect<boolean, TransactionError, Transactor> =>
  Effect.gen(function* () {
    const transactor = yield* Transactor
    const [theirs, ours] = yield* Transactors.run(
      transactor,
      Effect.all([transactionId, transactor.transactionId]),
      "looking at the dispatcher"
    )
    return Option.isNone(ours) || ours.value === theirs
  })

const refused = (next: string): SeedsInconsistent => {
  const message = `the WriteDispatcher writes through another connection than the seed's transaction, so its events would stay when a seed fails: ${next}`
  return SeedsInconsistent.of({ _tag: "NonAtomicWriter", id: null, path: null, message })
}
