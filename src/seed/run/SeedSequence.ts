/**
 * Seeds one after another, until the first that fails: it ends the run, with what was done before and what was not attempted.
 */
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as HashMap from "effect/HashMap"
import * as Schema from "effect/Schema"
import type { Observer } from "../Observer.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import type { SeedOutcome } from "../SeedReport.js"
import { idsOf, SeedFailed } from "../SeedReport.js"

export type { Observer } from "../Observer.js"

/** A seed failed for a reason of its own. */
export class SeedStepFailed extends Schema.TaggedError<SeedStepFailed>()("SeedStepFailed", {
  id: Schema.String,
  cause: Schema.Unknown
}) {}

/**
 * Runs `one` for each of `seeds`. `rest` are the ids after them, which are not attempted either way. The annotation of the logs is set for
 * each and taken back at the end: around each it took 25 µs.
 */
export const run = <E, R>(
  seeds: ReadonlyArray<LoadedSeed>,
  rest: ReadonlyArray<string>,
  observer: Observer,
  one: (seed: LoadedSeed) => Effect.Effect<SeedOutcome, E | SeedStepFailed, R>
): Effect.Effect<ReadonlyArray<SeedOutcome>, Exclude<E | SeedStepFailed, SeedStepFailed> | SeedFailed, R> =>
  Effect.gen(function* () {
    const outcomes: Array<SeedOutcome> = []
    const annotations = yield* FiberRef.get(FiberRef.currentLogAnnotations)
    yield* Effect.forEach(
      seeds,
      (seed) =>
        FiberRef.set(FiberRef.currentLogAnnotations, HashMap.set(annotations, "seed", seed.entry.id)).pipe(
          Effect.zipRight(one(seed)),
          Effect.flatMap((outcome) => {
            outcomes.push(outcome)
            return observer.outcome(outcome)
          })
        ),
      { discard: true }
    ).pipe(
      Effect.locally(FiberRef.currentLogAnnotations, annotations),
      Effect.catchIf(
        (error): error is SeedStepFailed => error instanceof SeedStepFailed,
        (failure) => failedAfter(seeds, rest, outcomes, failure)
      )
    )
    return outcomes
  })

/** The failure that ends a run, with what was done before it. */
export const failedAfter = (
  seeds: ReadonlyArray<LoadedSeed>,
  rest: ReadonlyArray<string>,
  done: ReadonlyArray<SeedOutcome>,
  { cause, id }: SeedStepFailed
): SeedFailed => {
  const ids = seeds.map(({ entry }): string => entry.id)
  const notAttempted = [...ids.slice(ids.indexOf(id) + 1), ...rest]
  const [applied, skipped, raced] = [idsOf(done, "Applied"), idsOf(done, "Skipped"), idsOf(done, "Raced")]
  return new SeedFailed({ id, cause, applied, skipped, raced, notAttempted })
}
