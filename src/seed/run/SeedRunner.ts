/**
 * Applies seeds: looks without the lock, plans, checks everything, then runs each pending seed in one transaction.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Directory } from "../../identity/Directory.js"
import type { NewAttempt } from "../../operation/Attempt.js"
import type { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import * as LockWait from "../../operation/LockWait.js"
import type { AppliedBy } from "../../operation/Operation.js"
import { order } from "../../operation/AppliedOperations.js"
import type { OperationConfig, SettingError } from "../../operation/OperationConfig.js"
import type { CommitUnknown, LockHeld, LockTimeout } from "../../operation/OperationError.js"
import { AlreadyApplied, DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import type { Replica } from "../../operation/Replica.js"
import type { StepCursor } from "../../operation/StepCursor.js"
import type { RefusedCommit, Restore, StepResult } from "../../operation/Transactor.js"
import * as Transactors from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import type { Observer } from "../Observer.js"
import { logging } from "../Observer.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import type { Planned } from "../plan/SeedPlan.js"
import * as SeedSelection from "../plan/SeedSelection.js"
import * as SkipFlag from "../plan/SkipFlag.js"
import * as WriterCheck from "../plan/WriterCheck.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import type { SeedFailed, SeedFailedElsewhere, SeedInterrupted, SeedReport, UnknownSeed } from "../SeedReport.js"
import { SeedOutcome } from "../SeedReport.js"
import type { SeedSource } from "../source/SeedSource.js"
import * as DryRun from "./DryRun.js"
import * as LostCommit from "./LostCommit.js"
import * as MissingColumns from "./MissingColumns.js"
import * as ReplicaProgress from "./ReplicaProgress.js"
import * as SeedBatches from "./SeedBatches.js"
import * as SeedMetrics from "./SeedMetrics.js"
import * as SeedSequence from "./SeedSequence.js"
import type { SeedRun, SeedStep } from "./SeedStep.js"
import * as SeedSteps from "./SeedStep.js"
import * as SkipRecord from "./SkipRecord.js"

/** What applying needs. */
export type Requirements =
  | SeedSource
  | Transactor
  | OperationLock
  | OperationLog
  | DatabaseHealth
  | OperationConfig
  | Replica
  | StepCursor
  | WriteDispatcher
  | Directory

/** Why not everything was applied. */
export type ApplyError =
  | SeedsInconsistent
  | SeedFailed
  | SeedFailedElsewhere
  | SeedInterrupted
  | UnknownSeed
  | LockTimeout
  | CommitUnknown
  | DatabaseError
  | SettingError

/** How to apply. */
export interface ApplyOptions {
  readonly appliedBy: AppliedBy
  /** Up to and including this id. Default: all. */
  readonly to?: string | undefined
  /** The id of a seed that was interrupted half-way outside any transaction, and is to be run again. */
  readonly retry?: string | undefined
  /** The id of a seed in batches that is half done, and is to be begun anew. */
  readonly restart?: string | undefined
  /** How long to let others work between two batches of a seed. Default: not at all. */
  readonly pauseBetween?: Duration.DurationInput | undefined
  /** Default: outcomes are logged. */
  readonly observer?: Observer | undefined
}

/** The seeds with their states, and everything that forbids to apply them. Loads pending seeds; writes nothing. */
export const plan: Effect.Effect<
  Planned,
  SeedsInconsistent | LockTimeout | DatabaseError | SettingError,
  Requirements
> = Effect.suspend(() => SeedSelection.look).pipe(Effect.withSpan("SeedRunner.plan"))

/**
 * Applies the pending seeds in order, each exactly once, and stops at the first that fails.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SeedRunner } from "effect-es-ops"
 *
 * export const seeded = SeedRunner.apply({ appliedBy: "ci-pipeline", to: "20260101-tenants" }).pipe(
 *   Effect.tap(({ notAttempted, outcomes }) =>
 *     Effect.log(`${outcomes.length} seeds done, ${notAttempted.length} left`)
 *   ),
 *   Effect.catchTag("SeedFailed", ({ applied, id }) => Effect.logError(`${id} failed after ${applied.length} others`))
 * )
 * ```
 */
export const apply = (options: ApplyOptions): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    if (yield* SkipFlag.skipsAll) return { ...nothing, skippedAll: Option.some(SkipFlag.all) }
    if (options.retry !== undefined) yield* SeedSelection.known(options.retry)
    if (options.restart !== undefined) yield* SeedSelection.known(options.restart)
    const { seeds, ...found } = yield* SeedSelection.prepare
    const { rest, selected } = yield* SeedSelection.upTo(seeds, options.to)
    if (selected.length === 0) return yield* Effect.as(MissingColumns.add, { ...nothing, notAttempted: rest })
    yield* SeedSelection.refusePoolers(selected)
    return yield* applyAll(selected, rest, found, options)
  }).pipe(
    Effect.withSpan("SeedRunner.apply", { attributes: { appliedBy: options.appliedBy }, captureStackTrace: false })
  )

const applyAll = (
  selected: ReadonlyArray<LoadedSeed>,
  rest: ReadonlyArray<string>,
  found: Pick<SeedRun, "halfDone" | "lastAttempts">,
  options: ApplyOptions
): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    const observer = options.observer ?? logging
    const atomic = yield* checkWriter(false)
    const { appliedBy, pauseBetween, restart, retry } = options
    const ids = selected.map(({ entry }): string => entry.id)
    const run: SeedRun = {
      ...found,
      appliedBy,
      observer,
      atomic,
      retry,
      restart,
      pauseBetween,
      ids,
      startedAt: yield* Clock.currentTimeMillis,
      waited: yield* Ref.make(false),
      others: yield* Ref.make(Option.none<ReplicaProgress.ReplicaProgress>()),
      lostRace: yield* Ref.make(false),
      unrecorded: yield* Ref.make<ReadonlyArray<NewAttempt>>([])
    }
    yield* observer.planned(ids, rest)
    yield* Metric.set(SeedMetrics.pending, ids.length)
    const skips = selected.some(({ isSkipped }) => isSkipped)
    const sequence = SeedSequence.run({ seeds: selected, rest }, (loaded) => applyOne(loaded, run)).pipe(
      Effect.tapErrorTag("SeedFailed", () => Metric.increment(SeedMetrics.failed))
    )
    const outcomes = yield* skips ? Effect.ensuring(sequence, recordSkips(run)) : sequence
    return { ...nothing, outcomes, notAttempted: rest }
  })

/**
 * One seed: the lock and the marker, the body, marker and attempt, in one transaction (or outside any, where the seed says so); tried again
 * while the lock is held. A lost race and a skip are outcomes; everything else is the failure that ends the run.
 */
const applyOne = (loaded: LoadedSeed, run: SeedRun) =>
  Effect.useSpan("SeedRunner.applyOne", { attributes: { seed: loaded.entry.id }, captureStackTrace: false }, (span) =>
    Effect.map(Effect.withParentSpan(applyIn(loaded, run), span), (outcome) => {
      for (const [key, value] of Object.entries(attributesOf(outcome))) span.attribute(key, value)
      return outcome
    })
  )

const applyIn = (loaded: LoadedSeed, run: SeedRun) =>
  Effect.gen(function* () {
    const { id } = loaded.entry
    if (loaded.isSkipped) return yield* skip(loaded, run)
    if (Option.exists(yield* Ref.get(run.others), ({ applied }) => applied.has(id))) return yield* raced(id, run)
    const transactor = yield* Transactor
    const sourceHash = yield* loaded.sourceHash
    const step: SeedStep = { loaded, run, sourceHash, beganAt: yield* Clock.currentTimeMillis }
    if (loaded.seed.transaction === "batches") return yield* inBatches(step)
    const attempt = Effect.suspend(() =>
      loaded.seed.transaction === "one"
        ? Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(transactor.step(SeedSteps.inTransaction(step, restore), id, restore), (result) =>
              concluded(run, id, result, restore)
            )
          )
        : transactor.session(
            SeedSteps.outside(step, (outcome) => observed(run, outcome)),
            id
          )
    )
    return yield* whileHeld(step, attempt).pipe(Effect.catchTag("AlreadyApplied", () => raced(id, run)))
  })

/** One transaction a batch, and others may take the lock in between, until the seed is through by whichever replica. */
const inBatches = (step: SeedStep) =>
  Effect.gen(function* () {
    const { loaded, run } = step
    const { id } = loaded.entry
    const transactor = yield* Transactor
    const began = yield* SeedBatches.begin
    const attempt = Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(transactor.step(SeedBatches.inTransaction(step, began, restore), id, restore), (result) =>
        batched(step, result, restore)
      )
    )
    for (;;) {
      const outcome = yield* SeedBatches.patiently(id, whileHeld(step, attempt)).pipe(
        Effect.withSpan("SeedRunner.batch", { attributes: { seed: id }, captureStackTrace: false })
      )
      if (Option.isSome(outcome)) return outcome.value
      if (run.pauseBetween !== undefined) yield* Effect.sleep(run.pauseBetween)
    }
  }).pipe(Effect.catchTag("AlreadyApplied", () => raced(step.loaded.entry.id, step.run)))

/** The outcome, once the seed is through. A batch whose COMMIT was not answered is there or not: the cursor tells the next one. */
const batched = (
  { loaded, run }: SeedStep,
  result: StepResult<SeedBatches.Batched, SeedSteps.WorkError>,
  restore: Restore
): Effect.Effect<Option.Option<SeedOutcome>, SeedSteps.WorkError | RefusedCommit | CommitUnknown, Requirements> => {
  const { id } = loaded.entry
  if (result._tag === "RolledBack") return Effect.asSome(concluded(run, id, result, restore))
  const { value } = result
  if (value._tag === "Through") return Effect.asSome(concluded(run, id, { ...result, value: value.done }, restore))
  return Effect.as(
    result._tag === "Committed"
      ? (run.observer.progress?.(id, value.progress) ?? Effect.void)
      : Effect.logWarning(
          `the connection was lost while a batch of "${id}" was being committed: ${result.lost.reason}`
        ),
    Option.none()
  )
}

/** The outcome of a step, which the observer gets before anything can interrupt the run, or its failure. */
const concluded = (
  run: SeedRun,
  id: string,
  result: StepResult<SeedSteps.Done, SeedSteps.WorkError>,
  restore: Restore
): Effect.Effect<SeedOutcome, SeedSteps.WorkError | RefusedCommit | CommitUnknown, Requirements> => {
  switch (result._tag) {
    case "Committed":
      return Effect.zipRight(observeWait(result.value), observed(run, result.value.outcome))
    case "RolledBack":
      return Effect.zipRight(run.observer.undone?.(id) ?? Effect.void, Effect.failCause(result.cause))
    case "Unanswered":
      return restore(LostCommit.settle(result.value, result.lost)).pipe(
        Effect.onInterrupt(() => Effect.logWarning(unknownWarning(id))),
        Effect.flatMap((outcome) => observed(run, outcome))
      )
  }
}

const unknownWarning = (id: string): string =>
  `"${id}" was being committed when the run was interrupted, and the server has not answered: whether it is applied is not known here; seed:status tells`

const observed = ({ observer }: SeedRun, outcome: SeedOutcome): Effect.Effect<SeedOutcome> =>
  Effect.as(Effect.zipRight(counted(outcome), observer.outcome(outcome)), outcome)

/** Counts what became of one seed. */
const counted = (outcome: SeedOutcome): Effect.Effect<void> => {
  const through = Metric.modify(SeedMetrics.pending, -1)
  switch (outcome._tag) {
    case "Applied":
      return through.pipe(
        Effect.zipRight(Metric.increment(SeedMetrics.applied)),
        Effect.zipRight(Metric.incrementBy(SeedMetrics.events, outcome.events)),
        Effect.zipRight(Metric.update(SeedMetrics.duration, outcome.durationMs))
      )
    case "Skipped":
      return Effect.zipRight(through, Metric.increment(SeedMetrics.skipped))
    case "Raced":
      return Effect.zipRight(through, Metric.increment(SeedMetrics.raced))
  }
}

const observeWait = ({ attempt: { waitedMs } }: SeedSteps.Done): Effect.Effect<void> =>
  Option.match(waitedMs, {
    onNone: () => Effect.void,
    onSome: (waited) =>
      Effect.zipRight(Metric.update(SeedMetrics.lockWait, waited), Effect.annotateCurrentSpan("waitedMs", waited))
  })

const attributesOf = (outcome: SeedOutcome) => ({
  outcome: outcome._tag,
  ...(outcome._tag === "Applied" ? { events: outcome.events, durationMs: outcome.durationMs } : {})
})

/** What is half done must not be hidden behind the record of a skip. */
const skip = (loaded: LoadedSeed, run: SeedRun) =>
  Effect.gen(function* () {
    const { id } = loaded.entry
    const sourceHash = yield* loaded.sourceHash
    const step: SeedStep = { loaded, run, sourceHash, beganAt: yield* Clock.currentTimeMillis }
    if (!run.halfDone.has(id)) {
      const attempt = yield* SeedSteps.attempt(step, undefined, "skipped", { durationMs: 0 })
      yield* SkipRecord.record(attempt, run.unrecorded)
    }
    return yield* observed(run, SeedOutcome.Skipped({ id, flag: loaded.flag.name }))
  })

/** Records the skips for which there was no table before. */
const recordSkips = ({ unrecorded }: SeedRun): Effect.Effect<void, never, OperationLog> =>
  Effect.flatMap(Ref.get(unrecorded), (skips) => (skips.length === 0 ? Effect.void : SkipRecord.catchUp(unrecorded)))

/** What else was applied meanwhile is read once for all that the other replicas did: it spares attempts at the lock, and is no reason to fail. */
const raced = (id: string, run: SeedRun) =>
  Effect.gen(function* () {
    const log = yield* OperationLog
    const before = Option.getOrElse(yield* Ref.get(run.others), () => ReplicaProgress.unseen(run.startedAt))
    if (!before.applied.has(id))
      yield* Effect.ignoreLogged(
        Effect.flatMap(Effect.zip(log.applied, Clock.currentTimeMillis), ([applied, at]) =>
          Ref.set(run.others, Option.some(ReplicaProgress.seen(before, applied, at, run.ids)))
        )
      )
    yield* Ref.set(run.lostRace, true)
    return yield* observed(run, SeedOutcome.Raced({ id }))
  })

/**
 * The attempt, made again while another holds the lock. A replica that waits, or has just lost a race, asks first whether the lock is free: that
 * takes nothing from the one at work.
 */
const whileHeld = <A, E, R>(
  { beganAt, loaded, run }: SeedStep,
  attempt: Effect.Effect<A, E | LockHeld | AlreadyApplied, R>
) =>
  Effect.gen(function* () {
    const { id } = loaded.entry
    const lock = yield* OperationLock
    const transactor = yield* Transactor
    const createTables = Effect.suspend(() => Transactors.run(transactor, lock.claim(id), id)).pipe(
      Effect.catchTag("CommitLost", (cause) =>
        DatabaseError.because("creating the tables", cause.message, { connectionLost: true, cause })
      )
    )
    const tables = Effect.suspend(() => Effect.unlessEffect(createTables, lock.ready(id))).pipe(
      Effect.zipLeft(recordSkips(run))
    )
    const later = tables.pipe(
      Effect.flatMap(() => lock.probe(id)),
      Effect.zipRight(attempt)
    )
    const next = Option.match(yield* Ref.get(run.others), {
      onNone: () => ReplicaProgress.soonest,
      onSome: (seen) => seen.next
    })
    const lost = yield* Ref.getAndSet(run.lostRace, false)
    return yield* Effect.catchIf(lost ? later : Effect.zipRight(tables, attempt), LockWait.isLockHeld, (held) =>
      LockWait.afterHeld(
        id,
        held,
        later,
        (again) => Effect.zipRight(Ref.set(run.waited, true), run.observer.waiting(id, again)),
        // An attempt that took long did so as others were at work on this machine: one that comes too soon only adds to that.
        Effect.map(Clock.currentTimeMillis, (now) => ReplicaProgress.delayed(next, now - beganAt))
      )
    )
  })

/**
 * Runs the pending seeds for real, one after another in one transaction under the lock, and rolls all of it back: each outcome has a
 * preview of the events that would be appended. Stops at the first failure, like the real thing.
 */
export const dryRun = (options: ApplyOptions): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    if (yield* SkipFlag.skipsAll) return { ...nothing, dryRun: true, skippedAll: Option.some(SkipFlag.all) }
    if (options.retry !== undefined) yield* SeedSelection.known(options.retry)
    const { halfDone, seeds } = yield* SeedSelection.prepare
    const upToThere = yield* SeedSelection.upTo(seeds, options.to)
    // What is outside any transaction cannot be rolled back.
    const [selected, outside] = Arr.partition(upToThere.selected, ({ seed }) => seed.transaction === "none")
    const rest = [...outside.map(({ entry }): string => entry.id), ...upToThere.rest].toSorted(order)
    yield* Effect.forEach(
      outside.filter((loaded) => !loaded.isSkipped),
      ({ entry: { id }, seed }) =>
        Effect.logWarning(
          halfDone.has(id) && !seed.idempotent && options.retry !== id ? refusedWarning(id) : unrunWarning(id)
        ),
      { discard: true }
    )
    const observer = options.observer ?? logging
    if (selected.length > 0) {
      yield* checkWriter(true)
      yield* observer.planned(
        selected.map(({ entry }) => entry.id),
        rest
      )
    }
    const outcomes = yield* DryRun.run({ seeds: selected, rest }, observer)
    return { ...nothing, dryRun: true, outcomes, notAttempted: rest }
  }).pipe(Effect.withSpan("SeedRunner.dryRun"))

const unrunWarning = (id: string): string =>
  `"${id}" runs outside any transaction and cannot be rolled back: it is not run here, and the others are shown without what it does`

const refusedWarning = (id: string): string =>
  `"${id}" was interrupted half-way: seed:apply stops there, before what follows it, unless it is told --retry ${id}`

/**
 * Whether writes join the seeds' transactions. A dispatcher that cannot tell is believed. The transaction in which that is asked has no body that
 * could fail on its own.
 */
const checkWriter = (dryRun: boolean) =>
  Effect.catchTags(
    Effect.flatMap(WriteDispatcher, ({ transactionId }) =>
      transactionId === undefined ? Effect.succeed(true) : WriterCheck.check({ dryRun, transactionId })
    ),
    {
      AlreadyApplied: writerUnknown,
      CommitLost: writerUnknown,
      CommitRefused: writerUnknown,
      SwallowedSqlError: writerUnknown,
      TransactionControl: writerUnknown
    }
  )

const writerUnknown = (cause: Error): DatabaseError =>
  DatabaseError.because("looking at the dispatcher", cause.message, { cause })

const nothing: SeedReport = { outcomes: [], notAttempted: [], skippedAll: Option.none(), dryRun: false }
