/**
 * Seeds run for real and rolled back: all of them in one transaction under the lock, so that each sees its predecessors.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { Event } from "../../event/Event.js"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Directory } from "../../identity/Directory.js"
import * as LockWait from "../../operation/LockWait.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import { seedMigration } from "../../operation/Operation.js"
import { StepCursor } from "../../operation/StepCursor.js"
import * as Transactors from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import type { Observer } from "../Observer.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import { SeedFailed, SeedOutcome } from "../SeedReport.js"
import * as SeedBatches from "./SeedBatches.js"
import * as SeedBody from "./SeedBody.js"
import * as SeedSequence from "./SeedSequence.js"

/** Everything went well: the failure that rolls it back. */
class RolledBack extends Schema.TaggedError<RolledBack>()("RolledBack", {}) {
  override get message(): string {
    return "every seed was through, and was to be rolled back"
  }
}

type Requirements =
  Transactor | OperationLock | OperationLog | OperationConfig | StepCursor | WriteDispatcher | Directory

/** Runs the seeds and rolls them back; outcomes have a preview of the events that would be appended. Nothing is recorded. */
export const run = (
  sequence: SeedSequence.Sequence,
  observer: Observer
): Effect.Effect<ReadonlyArray<SeedOutcome>, SeedFailed | LockTimeout | DatabaseError, Requirements> =>
  Effect.gen(function* () {
    const [first, ...others] = sequence.seeds
    if (first === undefined) return []
    const { id } = first.entry
    const lock = yield* OperationLock
    const transactor = yield* Transactor
    const done = yield* Ref.make<ReadonlyArray<SeedOutcome>>([])
    const everything = Effect.zipRight(all(sequence, done, observer), new RolledBack())
    const attempt = Transactors.run(
      transactor,
      Effect.zipRight(lock.claim(id), everything),
      `dry run of ${sequence.seeds.length}`
    )
    /** The transaction answers for the seed under way: for a body that meddled with it, or when it is lost. */
    const blame = <E extends { readonly _tag: string }>(error: E) =>
      Effect.flatMap(Ref.get(done), (before) =>
        SeedSequence.failure(sequence, before, sequence.seeds[before.length]?.entry.id ?? id, error)
      )
    return yield* LockWait.whileHeld(id, attempt, (held) => observer.waiting(id, held), {
      later: Effect.zipRight(lock.probe(id), attempt)
    }).pipe(
      Effect.catchTags({
        RolledBack: () => Ref.get(done),
        AlreadyApplied: () => without(first, { ...sequence, seeds: others }, observer),
        TransactionControl: (error) => blame(error),
        SwallowedSqlError: (error) => blame(error),
        CommitRefused: (error) => blame(error),
        CommitLost: (error) => blame(new SeedBody.BodyFailed({ cause: error })),
        DatabaseError: (error) =>
          Effect.flatMap(Ref.get(done), (before) =>
            before.length === sequence.seeds.length ? Effect.fail(error) : blame(error)
          )
      })
    )
  })

/** All of them, in one transaction; what is through is noted, as the transaction may end where the sequence cannot tell. */
const all = (sequence: SeedSequence.Sequence, done: Ref.Ref<ReadonlyArray<SeedOutcome>>, observer: Observer) =>
  Effect.gen(function* () {
    const log = yield* OperationLog
    const transactor = yield* Transactor
    const applied = yield* log.applied
    // What the session is like is known from here on.
    yield* transactor.checkDeferred
    return yield* SeedSequence.run(sequence, (seed) =>
      Effect.tap(tried(seed, applied, observer), (outcome) =>
        Effect.zipRight(
          Ref.update(done, (before) => [...before, outcome]),
          observer.outcome(outcome)
        )
      )
    )
  })

/** The first seed was applied by another replica meanwhile: the others are run without it. */
const without = (
  { entry: { id } }: LoadedSeed,
  others: SeedSequence.Sequence,
  observer: Observer
): ReturnType<typeof run> => {
  const raced = SeedOutcome.Raced({ id })
  return Effect.zipRight(observer.outcome(raced), run(others, observer)).pipe(
    Effect.map((later) => [raced, ...later]),
    Effect.mapError((error) =>
      error instanceof SeedFailed ? new SeedFailed({ ...error, raced: [id, ...error.raced] }) : error
    )
  )
}

/** One seed of the run, with its preview; a statement that it swallowed shows where what it left to be checked is. */
const tried = (seed: LoadedSeed, applied: ReadonlyMap<string, string>, observer: Observer) =>
  Effect.gen(function* () {
    const { id } = seed.entry
    if (seed.isSkipped) return SeedOutcome.Skipped({ id, flag: seed.flag.name })
    if (applied.has(id)) return SeedOutcome.Raced({ id })
    const transactor = yield* Transactor
    yield* observer.started(id, true)
    const events = yield* Ref.make<ReadonlyArray<Event>>([])
    const ran = yield* seed.seed.transaction === "batches" ? nextBatch(seed, events) : SeedBody.run(seed, events)
    yield* Effect.catchTag(
      transactor.checkDeferred,
      "DatabaseError",
      (error): Effect.Effect<never, DatabaseError | SeedBody.BodyFailed> =>
        error.connectionLost ? Effect.fail(error) : new SeedBody.BodyFailed({ cause: error })
    )
    return SeedOutcome.Applied({ id, ...ran, preview: Option.some(yield* Ref.get(events)), atomic: true })
  })

/** Of a seed in batches only the next one is run. */
const nextBatch = (seed: LoadedSeed, events: Ref.Ref<ReadonlyArray<Event>>) =>
  Effect.gen(function* () {
    const { id } = seed.entry
    const cursors = yield* StepCursor
    const before = yield* cursors.read(seedMigration, id)
    const { made, ran } = yield* SeedBatches.oneBatch(seed, before, events)
    const rest = made.isLast
      ? "which is its last"
      : `and not what follows${Option.match(made.total, { onNone: () => "", onSome: (total) => `: there are ${total} rows` })}`
    yield* Effect.logWarning(`"${id}" is applied in batches: only the next one was run, of ${made.rows} rows, ${rest}`)
    return ran
  })
