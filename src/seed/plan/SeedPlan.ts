/**
 * The plan of a run: every seed with its state, and what forbids to apply them.
 */
import type * as Option from "effect/Option"
import type { SeedProblem } from "../SeedProblem.js"
import type { RunningSeed } from "./RunningSeed.js"

export type { RunningSeed } from "./RunningSeed.js"

/**
 * A seed is in exactly one state. `running`: another process is in it. `orphan`: a marker without a seed, as an older release sees a newer
 * one's.
 */
export type SeedState = "applied" | "pending" | "late" | "running" | "interrupted" | "orphan"

/** A seed with its state. */
export interface PlannedSeed {
  readonly id: string
  readonly state: SeedState
}

/** What there is, and what forbids to apply it. */
export interface SeedPlan {
  /** In run order: that of the ids. */
  readonly seeds: ReadonlyArray<PlannedSeed>
  readonly problems: ReadonlyArray<SeedProblem>
}

/** A seed that is to be run, and the applied one without a file whose source it has: most often it was renamed. */
export interface RenamedSeed {
  readonly id: string
  readonly from: string
}

/** What there is to do. */
export interface Planned extends SeedPlan {
  /** The seed that another process is in, and which. */
  readonly running: Option.Option<RunningSeed>
  /** Seeds that were renamed, most likely. */
  readonly renamed: ReadonlyArray<RenamedSeed>
  /** The ids of applied seeds whose source is not the one that was recorded with them; where either is not known, it is not among them. */
  readonly changed: ReadonlyArray<string>
}
