/**
 * The refusal to go on with seeds that have problems.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { SeedProblem } from "./SeedProblem.js"
import { SeedsInconsistent } from "./SeedProblem.js"

/** Fails with all of these problems, where there are any. */
export const refuse = (problems: ReadonlyArray<SeedProblem>): Effect.Effect<void, SeedsInconsistent> =>
  Arr.isNonEmptyReadonlyArray(problems) ? new SeedsInconsistent({ problems }) : Effect.void

/** Fails where the source as a whole cannot be read: which seeds there are is not known then. */
export const refuseUnreadable = (problems: ReadonlyArray<SeedProblem>): Effect.Effect<void, SeedsInconsistent> =>
  refuse(problems.filter(({ _tag }) => _tag === "SeedSourceError"))
