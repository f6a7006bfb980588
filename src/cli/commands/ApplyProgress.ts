/**
 * The progress of a run, as far as it was observed: what a run that does not end by itself can still report.
 */
import * as Option from "effect/Option"
import type { SeedOutcome, SeedReport } from "../../seed/SeedReport.js"
import type { CommandFailure } from "../output/CommandFailure.js"
import { seedOf } from "../output/CommandFailure.js"

export interface ApplyProgress {
  readonly planned: ReadonlyArray<string>
  readonly outcomes: ReadonlyArray<SeedOutcome>
  /** The seed whose body is under way. */
  readonly running: Option.Option<string>
  /** Whether all of that seed is rolled back if it does not end. */
  readonly undone: boolean
  /** Of one in batches, how many rows are done and stay. */
  readonly rows: Option.Option<number>
  /** Whether the server is asked to commit it, and has not answered. */
  readonly committing: boolean
}

/** Nothing was observed yet. */
export const initial: ApplyProgress = {
  planned: [],
  outcomes: [],
  running: Option.none(),
  undone: true,
  rows: Option.none(),
  committing: false
}

/** Adds the ids of seeds that are to be run. */
export const planned =
  (ids: ReadonlyArray<string>) =>
  (progress: ApplyProgress): ApplyProgress => ({ ...progress, planned: [...progress.planned, ...ids] })

/** The body of a seed began. */
export const started =
  (id: string, undone: boolean) =>
  (progress: ApplyProgress): ApplyProgress => ({
    ...progress,
    running: Option.some(id),
    undone,
    rows: Option.none(),
    committing: false
  })

/** The server is asked to commit the seed under way, or is known not to have done so. */
export const committing =
  (isAsked: boolean) =>
  (progress: ApplyProgress): ApplyProgress => ({ ...progress, committing: isAsked })

/** A batch of the seed under way is committed: so many rows of it are done. */
export const batched =
  (rows: number) =>
  (progress: ApplyProgress): ApplyProgress => ({ ...progress, rows: Option.some(rows), committing: false })

/** A seed came to its outcome. */
export const ended =
  (outcome: SeedOutcome) =>
  (progress: ApplyProgress): ApplyProgress => ({
    ...progress,
    outcomes: [...progress.outcomes, outcome],
    running: Option.none(),
    committing: false
  })

/** The report of a run that `last`, a seed or none, ended. */
export const report = (
  { outcomes, planned: ids }: ApplyProgress,
  last: Option.Option<string>,
  dryRun: boolean
): SeedReport => {
  const done = new Set(outcomes.map(({ id }) => id))
  return {
    outcomes,
    notAttempted: ids.filter((id) => !done.has(id) && !Option.contains(last, id)),
    skippedAll: Option.none(),
    dryRun
  }
}

/** The warning about a failed seed of which not all was rolled back, which running it again would do twice. */
export const notUndone = ({ running, undone }: ApplyProgress, failure: CommandFailure): ReadonlyArray<string> =>
  Option.toArray(seedOf(failure))
    .filter((id) => !undone && Option.contains(running, id))
    .map((id) => `What "${id}" did outside its transaction, or without one, before it failed is not undone.`)
