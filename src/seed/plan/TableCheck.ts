/**
 * Tables whose shape is not the one that is needed.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { TableMismatch } from "../../operation/DatabaseHealth.js"
import { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import type { LockTimeout } from "../../operation/OperationError.js"
import { DatabaseError } from "../../operation/OperationError.js"
import * as TableWait from "../../operation/TableWait.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { SeedProblem } from "../SeedProblem.js"
import { refuse } from "../SeedRefusal.js"

/** A table that cannot be used, as a problem of no seed in particular. */
export const problemOf = ({ _tag, message }: TableMismatch): SeedProblem =>
  new SeedProblem({ _tag, id: null, path: null, message })

/** What is wrong with the tables. */
export const problems: Effect.Effect<ReadonlyArray<SeedProblem>, DatabaseError, DatabaseHealth> = Effect.map(
  Effect.flatMap(DatabaseHealth, ({ mismatches }) => mismatches),
  (found) => found.map(problemOf)
)

/**
 * What reads the tables; where it fails because of the shape of a table, the failure is what is wrong with the table, and where it waited for one
 * in vain, that it did.
 */
export const explain = <A, E, R>(
  reads: Effect.Effect<A, E, R>
): Effect.Effect<A, E | DatabaseError | SeedsInconsistent | LockTimeout, R | DatabaseHealth> =>
  Effect.tapError(
    reads,
    (error): Effect.Effect<void, LockTimeout | DatabaseError | SeedsInconsistent, DatabaseHealth> => {
      if (!(error instanceof DatabaseError)) return Effect.void
      const timeout = TableWait.timeoutIn(error)
      if (Option.isSome(timeout)) return timeout.value
      return error.connectionLost ? Effect.void : Effect.flatMap(problems, refuse)
    }
  )
