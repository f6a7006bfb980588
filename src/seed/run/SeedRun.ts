/**
 * What all seeds of one run share: how it was asked for, what was there when it was planned, and what was seen of other replicas since.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type { Attempt } from "../../operation/Attempt.js"
import type { AppliedBy } from "../../operation/Operation.js"
import type { Observer } from "../Observer.js"
import * as ReplicaProgress from "./ReplicaProgress.js"

/** One run. */
export interface SeedRun {
  readonly appliedBy: AppliedBy
  readonly observer: Observer
  /** The seeds of the run, in order. */
  readonly ids: ReadonlyArray<string>
  /** Whether writes are in the seed's transaction. */
  readonly atomic: boolean
  /** Seeds whose last attempt did not end, when the run was planned. */
  readonly halfDone: ReadonlySet<string>
  /** The one of them that is to be run again all the same. */
  readonly retry: string | undefined
  /** The newest attempt at each seed when the run was planned: of one that had to wait, a failure after it is another replica's. */
  readonly lastAttempts: ReadonlyMap<string, Attempt>
  /** Whether this run had to wait so far. */
  readonly waited: Ref.Ref<boolean>
  /** What was seen of the other replicas when a race was last lost to them. */
  readonly others: Ref.Ref<ReplicaProgress.ReplicaProgress>
  /** Whether the seed before was another replica's, which may hold the lock again. */
  readonly lostRace: Ref.Ref<boolean>
}

/** A run begins. */
export const make = (options: Omit<SeedRun, "waited" | "others" | "lostRace">): Effect.Effect<SeedRun> =>
  Effect.gen(function* () {
    return {
      ...options,
      waited: yield* Ref.make(false),
      others: yield* Ref.make(ReplicaProgress.unseen(yield* Clock.currentTimeMillis)),
      lostRace: yield* Ref.make(false)
    }
  })
