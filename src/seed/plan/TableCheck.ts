/**
 * Tables whose shape is not the one that is needed.
 */
import * as Effect from "effect/Effect"
import { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { refuse, SeedProblem } from "../SeedProblem.js"

/** What is wrong with the tables, as problems of no seed in particular. */
export const problems: Effect.Effect<ReadonlyArray<SeedProblem>, DatabaseError, DatabaseHealth> = Effect.map(
  Effect.flatMap(DatabaseHealth, ({ mismatches }) => mismatches),
  (found) => found.map(({ _tag, message }) => new SeedProblem({ _tag, id: null, path: null, message }))
)

/** The read; where it fails because of the shape of a table, the failure is what is wrong with the table. */
export const explain = <A, R>(
  read: Effect.Effect<A, DatabaseError, R>
): Effect.Effect<A, DatabaseError | SeedsInconsistent, R | DatabaseHealth> =>
  Effect.tapError(read, (error) => (error.connectionLost ? Effect.void : Effect.flatMap(problems, refuse)))
