/**
 * What is called while seeds are applied, so that somebody can watch.
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { LockHeld } from "../operation/OperationError.js"
import { SeedOutcome } from "./SeedReport.js"

/** How far a batched seed is. */
export interface BatchProgress {
  /** How many rows are done. */
  readonly done: number
  /** Of how many, where its source can count. */
  readonly total: Option.Option<number>
  /** Rows a second, since this run began with it. */
  readonly rate: Option.Option<number>
  readonly secondsLeft: Option.Option<number>
}

/** Effects that are run when something happens; the run waits for each. */
export interface Observer {
  /** The ids that will be run, in order, and those that are left for another time. */
  readonly planned: (ids: ReadonlyArray<string>, rest: ReadonlyArray<string>) => Effect.Effect<void>
  /** Another holds the lock; called again with each attempt that finds it taken. */
  readonly waiting: (id: string, held: LockHeld) => Effect.Effect<void>
  /** The lock is got, the body begins; `undone` says whether all of it is rolled back if it does not end. */
  readonly started: (id: string, undone: boolean) => Effect.Effect<void>
  /** A batch of a seed was committed. */
  readonly progress?: ((id: string, progress: BatchProgress) => Effect.Effect<void>) | undefined
  /**
   * The body is through, and the server is asked to commit. Until the outcome comes, or `undone`, only the server knows whether the seed is
   * applied. A run that is interrupted meanwhile may end without either.
   */
  readonly committing?: ((id: string) => Effect.Effect<void>) | undefined
  /** A seed whose commit was asked for is known to be undone: nothing of it remains. */
  readonly undone?: ((id: string) => Effect.Effect<void>) | undefined
  /** A seed is through, by this run or another. A failure ends the run and is no outcome. */
  readonly outcome: (outcome: SeedOutcome) => Effect.Effect<void>
}

/** An observer that does nothing. */
export const silent: Observer = {
  planned: () => Effect.void,
  waiting: () => Effect.void,
  started: () => Effect.void,
  outcome: () => Effect.void
}

/**
 * An observer that logs how many seeds there are to apply, and each outcome. The lines of outcomes have annotations: `seed` (the id), `outcome`,
 * and for an applied seed `duration` (of its body, in milliseconds) and `events` (how many were appended). The wait for the lock is logged
 * by what waits.
 */
export const logging: Observer = {
  ...silent,
  planned: (ids) => Effect.logInfo(`${ids.length} ${ids.length === 1 ? "seed" : "seeds"} to apply`),
  outcome: SeedOutcome.$match({
    Applied: ({ durationMs, events, id }) =>
      Effect.logInfo(`"${id}" applied in ${durationMs} ms, ${events} events`).pipe(
        Effect.annotateLogs({ seed: id, outcome: "applied", duration: durationMs, events })
      ),
    Skipped: ({ flag, id }) =>
      Effect.logWarning(`"${id}" skipped by ${flag}`).pipe(Effect.annotateLogs({ seed: id, outcome: "skipped" })),
    Raced: ({ id }) =>
      Effect.logInfo(`"${id}" was applied by another replica`).pipe(Effect.annotateLogs({ seed: id, outcome: "raced" }))
  })
}
