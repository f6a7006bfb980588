/**
 * Tables whose shape is not the one that is needed.
 */
import * as Effect from "effect/Effect"
import { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { refuse, SeedProblem } from "../SeedProblem.js"

/** What is wrong with the tables, as problems of no seed in particular. */
export const problems: Effect.Effect<ReadonlyArray<SeedProblem>, DatabaseError, DatabaseHealth> = Effect.map(
  Effect.flatMap(DatabaseHealth, ({ mismatches }) => mismatches),
  (found) => found.map(({ _tag, message }) => new SeedProblem({ _tag, id: null, path: null, message }))
)

/** What reads the tables; where it fails because of the shape of a table, the failure is what is wrong with the table. */
export const explain = <A, E, R>(
  reads: Effect.Effect<A, E, R>
): Effect.Effect<A, E | DatabaseError | SeedsInconsistent, R | DatabaseHealth> =>
  Effect.tapError(reads, (error) =>
    error instanceof DatabaseError && !error.connectionLost ? Effect.flatMap(problems, refuse) : Effect.void
  )
