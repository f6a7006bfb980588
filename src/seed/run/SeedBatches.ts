/**
 * A seed in batches: each is a step of its own under the lock, with the cursor that the next one goes on behind. Whichever replica gets the lock does
 * the next; the marker comes with the last.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { seedMigration } from "../../operation/Operation.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { SwallowedSqlError } from "../../operation/OperationError.js"
import type { Run } from "../../operation/Run.js"
import { lease, rateOf, secondsLeft } from "../../operation/Run.js"
import { StepCursor } from "../../operation/StepCursor.js"
import type { Restore, StepEnding } from "../../operation/Transactor.js"
import * as Transactors from "../../operation/Transactor.js"
import { editedWarning } from "../HalfDoneSeed.js"
import type { BatchProgress } from "../Observer.js"
import type { Made } from "../SeedBatch.js"
import { CurrentBatch } from "../SeedBatch.js"
import { BodyFailed } from "./SeedBody.js"
import * as SeedBody from "./SeedBody.js"
import type { Done, SeedStep, Services, WorkError } from "./SeedStep.js"
import * as SeedSteps from "./SeedStep.js"

/** What a batch that was kept came to: more is to be done, or the seed is through. */
export type Batched =
  { readonly _tag: "More"; readonly progress: BatchProgress } | { readonly _tag: "Through"; readonly done: Done }

/** What this replica has done of the seed so far. */
export interface Began {
  readonly at: number
  /** Whether none of its batches was committed yet. */
  readonly isFirst: Ref.Ref<boolean>
  /** How much was done before its first. */
  readonly done: Ref.Ref<number>
}

/** Nothing yet. */
export const begin: Effect.Effect<Began> = Effect.all({
  at: Clock.currentTimeMillis,
  isFirst: Ref.make(true),
  done: Ref.make(0)
})

/** Tries again where others committed batches while this replica waited: `lockTimeout` counts from the last one. */
export const patiently = <A, E extends { readonly _tag: string }, R>(
  id: SeedStep["loaded"]["entry"]["id"],
  attempt: Effect.Effect<A, E, R>
): Effect.Effect<A, E | DatabaseError, R | StepCursor> =>
  Effect.gen(function* () {
    const cursors = yield* StepCursor
    const look = Effect.map(
      cursors.read(seedMigration, id),
      Option.match({ onNone: () => 0, onSome: ({ done }) => done })
    )
    for (;;) {
      const before = yield* look
      const tried = yield* Effect.either(attempt)
      if (Either.isRight(tried)) return tried.right
      if (tried.left._tag !== "LockTimeout" || (yield* look) === before) return yield* Effect.fail(tried.left)
    }
  })

/** The work of one batch: the claim, the rows behind the cursor, the body, the cursor; with the last one, marker and attempt. */
export const inTransaction = (
  step: SeedStep,
  began: Began,
  restore: Restore
): Effect.Effect<StepEnding<Batched, WorkError>, never, Services | StepCursor> =>
  Effect.gen(function* () {
    const claimed = yield* Effect.exit(restore(SeedSteps.claim(step)))
    // Without the lock nothing was tried.
    if (Exit.isFailure(claimed)) return Transactors.undo(claimed.cause)
    const ran = yield* Effect.exit(restore(Effect.zipRight(SeedSteps.refuse(step), batch(step, began))))
    if (Exit.isFailure(ran))
      return Transactors.undo(ran.cause, yield* SeedSteps.failedAttempt(step, claimed.value, ran.cause))
    const { made, progress, total } = ran.value
    if (!made.isLast) return Transactors.keep<Batched>({ _tag: "More", progress })
    const done = yield* SeedSteps.doneOf(step, claimed.value, total)
    const { committing } = step.run.observer
    if (committing !== undefined) yield* committing(step.loaded.entry.id)
    return Transactors.keep<Batched>({ _tag: "Through", done }, Option.some(done))
  })

const batch = (step: SeedStep, began: Began) =>
  Effect.gen(function* () {
    const { loaded, run, sourceHash } = step
    const { id } = loaded.entry
    const cursors = yield* StepCursor
    const isFirst = yield* Ref.get(began.isFirst)
    if (isFirst && run.restart === id) yield* cursors.forget(seedMigration, id)
    const before = yield* cursors.read(seedMigration, id)
    const definition = Option.getOrElse(sourceHash, () => "")
    if (isFirst) {
      yield* run.observer.started(id, run.atomic)
      yield* Ref.set(began.done, Option.match(before, { onNone: () => 0, onSome: ({ done }) => done }))
      if (Option.exists(before, (half) => half.definition !== definition)) yield* Effect.logWarning(editedWarning(id))
    }
    const { made, ran } = yield* oneBatch(loaded, before)
    yield* cursors
      .write(seedMigration, id, {
        cursor: Option.getOrNull(made.cursor),
        done: made.rows,
        total: made.total,
        counters: { events: ran.events, durationMs: ran.durationMs },
        definition,
        isLast: made.isLast,
        lease: Duration.sum(Duration.seconds(lease.seconds), Duration.decode(run.pauseBetween ?? 0))
      })
      .pipe(Effect.catchIf(({ code }) => Option.contains(code, "25P02"), swallowed))
    // Another batch that fails is tried anew, and is the first once more where the restart did not come to pass.
    yield* Ref.set(began.isFirst, false)
    const progress = yield* progressOf(before, made, began)
    return { made, progress, total: totalOf(before, ran) }
  })

/** The next batch of a seed, for which nothing is written down. */
export const oneBatch = (
  loaded: SeedStep["loaded"],
  before: Option.Option<Run>,
  preview?: Parameters<typeof SeedBody.run>[1]
) =>
  Effect.gen(function* () {
    const told = yield* Ref.make(Option.none<Made>())
    const current = {
      after: Option.map(
        Option.flatMap(before, ({ cursor }) => cursor),
        String
      ),
      wantsTotal: !Option.exists(before, ({ total }) => Option.isSome(total)),
      made: (made: Made) => Ref.set(told, Option.some(made))
    }
    const { seed } = loaded
    const batch = {
      ...seed,
      run: (context: Parameters<typeof seed.run>[0]) => Effect.provideService(seed.run(context), CurrentBatch, current)
    }
    const ran = yield* SeedBody.run({ ...loaded, seed: batch }, preview)
    const made = yield* Ref.get(told)
    if (Option.isNone(made)) return yield* new BodyFailed({ cause: new Error("it ended without having made a batch") })
    return { ran, made: made.value }
  })

const swallowed = ({ code, reason }: { readonly code: Option.Option<string>; readonly reason: string }) =>
  new BodyFailed({ cause: new SwallowedSqlError({ code, reason }) })

const totalOf = (before: Option.Option<Run>, { durationMs, events }: SeedBody.Ran): SeedBody.Ran => {
  const counters = Option.match(before, { onNone: (): Run["counters"] => ({}), onSome: (run) => run.counters })
  return {
    durationMs: Math.min(2_147_483_647, durationMs + (counters["durationMs"] ?? 0)),
    events: events + (counters["events"] ?? 0)
  }
}

const progressOf = (before: Option.Option<Run>, { rows, total }: Made, began: Began): Effect.Effect<BatchProgress> =>
  Effect.gen(function* () {
    const earlier = Option.match(before, { onNone: () => 0, onSome: ({ done }) => done })
    const done = earlier + rows
    const since = yield* Ref.get(began.done)
    const rate = rateOf(done - since, (yield* Clock.currentTimeMillis) - began.at)
    const all = Option.orElse(total, () => Option.flatMap(before, (run) => run.total))
    return { done, total: all, rate, secondsLeft: secondsLeft({ done, rate, total: all }) }
  })
