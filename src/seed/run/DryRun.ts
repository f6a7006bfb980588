/**
 * Seeds run for real and rolled back: all of them in one transaction under the lock, so that each sees its predecessors.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Event } from "../../event/Event.js"
import type { Directory } from "../../identity/Directory.js"
import * as LockWait from "../../operation/LockWait.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import { Transactor, untraced } from "../../operation/Transactor.js"
import * as SeedBody from "./SeedBody.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import { isSkipped } from "../plan/SeedCheck.js"
import { SeedFailed, SeedOutcome } from "../SeedReport.js"
import type { Observer } from "./SeedSequence.js"
import * as SeedSequence from "./SeedSequence.js"
import * as StepFailure from "./StepFailure.js"

/** Everything went well: the failure that rolls it back. */
class RolledBack extends Schema.TaggedError<RolledBack>()("RolledBack", {}) {
  override get message(): string {
    return "every seed was through, and was to be rolled back"
  }
}

/** Runs the seeds and rolls them back; outcomes have a preview of the events that would be appended. Nothing is recorded. */
export const run = (
  seeds: ReadonlyArray<LoadedSeed>,
  rest: ReadonlyArray<string>,
  observer: Observer
): Effect.Effect<
  ReadonlyArray<SeedOutcome>,
  SeedFailed | LockTimeout | DatabaseError,
  Transactor | OperationLock | OperationLog | OperationConfig | WriteDispatcher | Directory
> =>
  Effect.gen(function* () {
    const [first, ...others] = seeds
    if (first === undefined) return []
    const { id } = first.entry
    const lock = yield* OperationLock
    const log = yield* OperationLog
    const transactor = yield* Transactor
    const done = yield* Ref.make<ReadonlyArray<SeedOutcome>>([])
    const noting: Observer = {
      ...observer,
      outcome: (outcome) =>
        Effect.zipRight(
          Ref.update(done, (before) => [...before, outcome]),
          observer.outcome(outcome)
        )
    }
    const everything = Effect.gen(function* () {
      const applied = yield* log.applied
      yield* SeedSequence.run(seeds, rest, noting, (seed) => tried(seed, applied, observer))
      return yield* new RolledBack()
    })
    /** The seed after those that are done; none where all are. */
    const underWay = (before: ReadonlyArray<SeedOutcome>) => Option.fromNullable(seeds[before.length]?.entry.id)
    /** The transaction answers for its body when that meddled with it. */
    const blame = (cause: unknown) =>
      Effect.flatMap(Ref.get(done), (before) => {
        const failed = new SeedSequence.SeedStepFailed({ id: Option.getOrElse(underWay(before), () => id), cause })
        return SeedSequence.failedAfter(seeds, rest, before, failed)
      })
    const name = `dry run of ${seeds.length}`
    const attempt = transactor.run(Effect.zipRight(lock.claim(id), everything), untraced(name))
    return yield* LockWait.whileHeld(id, attempt, (held) => observer.waiting(id, held), {
      later: Effect.zipRight(lock.probe(id), attempt)
    }).pipe(
      Effect.catchTags({
        RolledBack: () => Ref.get(done),
        AlreadyApplied: () => {
          const raced = SeedOutcome.Raced({ id })
          return Effect.zipRight(observer.outcome(raced), run(others, rest, observer)).pipe(
            Effect.map((later) => [raced, ...later]),
            Effect.mapError((error) =>
              error instanceof SeedFailed ? new SeedFailed({ ...error, raced: [id, ...error.raced] }) : error
            )
          )
        },
        TransactionControl: blame,
        SwallowedSqlError: blame,
        CommitRefused: blame,
        CommitLost: blame,
        DatabaseError: (error) =>
          Effect.flatMap(Ref.get(done), (before) =>
            Effect.fail(Option.match(underWay(before), { onNone: () => error, onSome: (at) => error.during(at) }))
          )
      })
    )
  })

/** One seed of the run, with its preview; a statement that it swallowed shows where what it left to be checked is. */
const tried = (seed: LoadedSeed, applied: ReadonlyMap<string, string>, observer: Observer) =>
  Effect.gen(function* () {
    const { id } = seed.entry
    if (isSkipped(seed)) return SeedOutcome.Skipped({ id, flag: seed.flag.name })
    if (applied.has(id)) return SeedOutcome.Raced({ id })
    const transactor = yield* Transactor
    yield* observer.started(id, true)
    const events: Array<Event> = []
    const ran = yield* SeedBody.run(seed, (more) => events.push(...more)).pipe(
      Effect.mapError((failed) => StepFailure.failureOfBody(id, failed))
    )
    yield* Effect.mapError(transactor.checkDeferred, (cause) =>
      cause._tag === "DatabaseError" && cause.connectionLost
        ? cause.during(id)
        : new SeedSequence.SeedStepFailed({ id, cause })
    )
    return SeedOutcome.Applied({ id, ...ran, preview: Option.some(events), atomic: true })
  })
