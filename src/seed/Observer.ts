/**
 * An observer of a run: what it sees while the run goes on.
 */
import type * as Effect from "effect/Effect"
import type { LockHeld } from "../operation/OperationError.js"
import type { SeedOutcome } from "./SeedReport.js"

/** What happens, while it happens. */
export interface Observer {
  /** The ids that will be run, in order, and those that are left for another time. */
  readonly planned: (ids: ReadonlyArray<string>, rest: ReadonlyArray<string>) => Effect.Effect<void>
  /** Another holds the lock; again with each attempt that finds it taken. */
  readonly waiting: (id: string, held: LockHeld) => Effect.Effect<void>
  /** The lock is got, the body begins; `undone` says whether all of it is rolled back if it does not end. */
  readonly started: (id: string, undone: boolean) => Effect.Effect<void>
  /** A seed is through. Also where the run is interrupted while the seed is being committed. */
  readonly outcome: (outcome: SeedOutcome) => Effect.Effect<void>
}
