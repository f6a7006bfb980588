/**
 * Seeds one after another, until the first that fails: it ends the run, with what was done before and what was not attempted.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CommitRefused, SwallowedSqlError, TransactionControl } from "../../operation/OperationError.js"
import { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import * as TableWait from "../../operation/TableWait.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import type { SeedOutcome } from "../SeedReport.js"
import { SeedFailed } from "../SeedReport.js"
import { BodyFailed } from "./SeedBody.js"

/** Failures that a seed itself brought about. */
export type SeedsOwn = BodyFailed | TransactionControl | SwallowedSqlError | CommitRefused

/** What a failure of one seed is for its run. */
export type RunError<E> = Exclude<E, SeedsOwn | DatabaseError> | SeedFailed | LockTimeout | DatabaseError

/** The seeds of a run, and the ids after them, which are not attempted either way. */
export interface Sequence {
  readonly seeds: ReadonlyArray<LoadedSeed>
  readonly rest: ReadonlyArray<string>
}

/** Runs `one` for each seed; logs meanwhile carry its id. */
export const run = <E extends { readonly _tag: string }, R>(
  sequence: Sequence,
  one: (seed: LoadedSeed) => Effect.Effect<SeedOutcome, E, R>
): Effect.Effect<ReadonlyArray<SeedOutcome>, RunError<E>, R> =>
  Effect.gen(function* () {
    const outcomes: Array<SeedOutcome> = []
    for (const seed of sequence.seeds) {
      const { id } = seed.entry
      const outcome = yield* one(seed).pipe(
        Effect.annotateLogs("seed", id),
        Effect.catchAll((error) => failure(sequence, outcomes, id, error))
      )
      outcomes.push(outcome)
    }
    return outcomes
  })

/** The failure of a seed's own, or one of the world around it, which names the seed. */
export const failure = <E extends { readonly _tag: string }>(
  sequence: Sequence,
  done: ReadonlyArray<SeedOutcome>,
  id: string,
  error: E
): Effect.Effect<never, RunError<E>> => {
  if (isOfTheWorld(error)) return Effect.fail(error)
  const timeout = TableWait.timeoutIn(error)
  if (Option.isSome(timeout)) return Effect.fail(new LockTimeout({ ...timeout.value, id }))
  if (error instanceof DatabaseError) return Effect.fail(error.during(id))
  const cause: unknown = error instanceof BodyFailed ? error.cause : error
  // insufficient_privilege for a statement of ours is no fault of the seed.
  return cause instanceof DatabaseError && Option.contains(cause.code, "42501")
    ? Effect.fail(cause.during(id))
    : Effect.fail(failedAfter(sequence, done, id, cause))
}

const ofTheSeed = new Set(["BodyFailed", "TransactionControl", "SwallowedSqlError", "CommitRefused", "DatabaseError"])

/** Whether a failure says by itself which seed it is about, and is none of the seed's own. */
const isOfTheWorld = <E extends { readonly _tag: string }>(error: E): error is Exclude<E, SeedsOwn | DatabaseError> =>
  !ofTheSeed.has(error._tag)

/** The failure that ends a run, with what was done before it. */
const failedAfter = (
  { rest, seeds }: Sequence,
  done: ReadonlyArray<SeedOutcome>,
  id: string,
  cause: unknown
): SeedFailed => {
  const ids = seeds.map(({ entry }): string => entry.id)
  return new SeedFailed({
    id,
    cause,
    applied: idsOf(done, "Applied"),
    skipped: idsOf(done, "Skipped"),
    raced: idsOf(done, "Raced"),
    notAttempted: [...ids.slice(ids.indexOf(id) + 1), ...rest]
  })
}

/** The ids of the outcomes of one kind. */
const idsOf = (outcomes: ReadonlyArray<SeedOutcome>, tag: SeedOutcome["_tag"]): ReadonlyArray<string> =>
  outcomes.filter((outcome) => outcome._tag === tag).map(({ id }) => id)
