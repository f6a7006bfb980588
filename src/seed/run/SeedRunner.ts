/**
 * Applies seeds: looks without the lock, plans, checks everything, then runs each pending seed in one transaction.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Directory } from "../../identity/Directory.js"
import type { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import type { AppliedBy } from "../../operation/Operation.js"
import { order } from "../../operation/Operation.js"
import type { SettingError } from "../../operation/OperationConfig.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type { CommitUnknown, LockTimeout } from "../../operation/OperationError.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import type { Replica } from "../../operation/Replica.js"
import { Transactor, untraced } from "../../operation/Transactor.js"
import * as DryRun from "./DryRun.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import { isSkipped } from "../plan/SeedCheck.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import type { SeedFailedElsewhere, SeedInterrupted, SeedReport } from "../SeedReport.js"
import type { SeedFailed, UnknownSeed } from "../SeedReport.js"
import { SeedOutcome } from "../SeedReport.js"
import type { Observer } from "../Observer.js"
import { logging } from "../Observer.js"
import * as SeedSequence from "./SeedSequence.js"
import * as SeedSelection from "../plan/SeedSelection.js"
import type { SeedSource } from "../source/SeedSource.js"
import * as SeedStep from "./SeedStep.js"
import * as SkipFlag from "../plan/SkipFlag.js"
import * as WriterCheck from "../plan/WriterCheck.js"

/** What applying needs. */
export type Requirements =
  | SeedSource
  | Transactor
  | OperationLock
  | OperationLog
  | DatabaseHealth
  | OperationConfig
  | Replica
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
  /** Default: outcomes are logged. */
  readonly observer?: Observer | undefined
}

/** The seeds with their states, and everything that forbids to apply them. Loads pending seeds; writes nothing. */
export const plan: Effect.Effect<
  SeedSelection.Planned,
  SeedsInconsistent | DatabaseError | SettingError,
  Requirements
> = Effect.suspend(() => SeedSelection.look).pipe(Effect.withSpan("SeedRunner.plan"))

/** Applies the pending seeds in order, each exactly once, and stops at the first that fails. */
export const apply = (options: ApplyOptions): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    if (yield* SeedSelection.skipsAll) return { ...nothing, skippedAll: Option.some(SkipFlag.all) }
    if (options.retry !== undefined) yield* SeedSelection.known(options.retry)
    const { seeds, ...found } = yield* SeedSelection.prepare
    const { rest, selected } = yield* SeedSelection.upTo(seeds, options.to)
    if (selected.length === 0) return { ...nothing, notAttempted: rest }
    yield* SeedSelection.refusePoolers(selected)
    return yield* applyAll(selected, rest, found, options)
  }).pipe(
    Effect.withSpan("SeedRunner.apply", { attributes: { appliedBy: options.appliedBy }, captureStackTrace: false })
  )

/**
 * One seed, once the tables are there: the lock and the marker, the body, marker and attempt, in one transaction (or outside any, where the
 * seed says so); tried again while the lock is held; a lost race and a skip are outcomes, everything else is the failure that ends the run.
 */
const applyOne = (step: SeedStep.SeedStep, { lock, log, transactor }: Ports, parent: Tracer.Span) => {
  const tables = Effect.unlessEffect(transactor.run(lock.claim(step.id), untraced(step.id)), lock.ready(step.id))
  const inTransaction = step.claim.pipe(
    Effect.zipRight(step.refuse),
    Effect.zipRight(step.body),
    Effect.tap((done) => log.mark(done.marker, done.attempt))
  )
  const outside = step.claim.pipe(Effect.zipRight(step.refuse), Effect.zipRight(step.outside))
  const once = step.isTransactional
    ? transactor.run(inTransaction, { name: step.id, trace: step.trace, committed: step.committed, parent })
    : transactor.session(Effect.withParentSpan(outside, parent), step.id)
  return step.unlessSkipped.pipe(
    Effect.zipRight(step.unlessRaced),
    Effect.zipRight(step.whileLockHeld(tables, once)),
    Effect.map((done) => done.outcome),
    Effect.catchTag("CommitLost", step.settle),
    Effect.catchTags({
      AlreadyApplied: () => step.raced,
      SeedSkipped: ({ flag, id }) => Effect.succeed(SeedOutcome.Skipped({ flag, id }))
    }),
    Effect.mapError(step.failure),
    Effect.onInterrupt(() => step.tellKept)
  )
}

/** What a step goes through. */
interface Ports {
  readonly lock: OperationLock["Type"]
  readonly log: OperationLog["Type"]
  readonly transactor: Transactor["Type"]
}

const applyAll = (
  selected: ReadonlyArray<LoadedSeed>,
  rest: ReadonlyArray<string>,
  found: Pick<SeedStep.Run, "halfDone" | "lastAttempts">,
  options: ApplyOptions
): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    const observer = options.observer ?? logging
    const atomic = yield* checkWriter(false)
    const { appliedBy, retry } = options
    const ids = selected.map(({ entry }): string => entry.id)
    const run = yield* SeedStep.startRun({ appliedBy, observer, atomic, retry, ids, ...found })
    yield* observer.planned(ids, rest)
    const ports = { lock: yield* OperationLock, log: yield* OperationLog, transactor: yield* Transactor }
    const outcomes = yield* SeedSequence.run(selected, rest, observer, (loaded) =>
      Effect.useSpan(
        "SeedRunner.applyOne",
        { attributes: { seed: loaded.entry.id }, captureStackTrace: false },
        (span) =>
          Effect.flatMap(Clock.currentTimeMillis, (beganAt) =>
            applyOne(SeedStep.make(loaded, run, beganAt), ports, span)
          )
      )
    )
    return { ...nothing, outcomes, notAttempted: rest }
  })

/**
 * Runs the pending seeds for real, one after another in one transaction under the lock, and rolls all of it back: each outcome has a
 * preview of the events that would be appended. Stops at the first failure, like the real thing.
 */
export const dryRun = (options: ApplyOptions): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    if (yield* SeedSelection.skipsAll) return { ...nothing, dryRun: true, skippedAll: Option.some(SkipFlag.all) }
    if (options.retry !== undefined) yield* SeedSelection.known(options.retry)
    const { halfDone, seeds } = yield* SeedSelection.prepare
    const upToThere = yield* SeedSelection.upTo(seeds, options.to)
    // What is outside any transaction cannot be rolled back.
    const [selected, outside] = Arr.partition(upToThere.selected, ({ seed }) => seed.transaction === "none")
    const rest = [...outside.map(({ entry }): string => entry.id), ...upToThere.rest].toSorted(order)
    yield* Effect.forEach(
      outside.filter((loaded) => !isSkipped(loaded)),
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
    const outcomes = yield* DryRun.run(selected, rest, observer)
    return { ...nothing, dryRun: true, outcomes, notAttempted: rest }
  }).pipe(Effect.withSpan("SeedRunner.dryRun"))

const unrunWarning = (id: string): string =>
  `"${id}" runs outside any transaction and cannot be rolled back: it is not run here, and the others are shown without what it does`

const refusedWarning = (id: string): string =>
  `"${id}" was interrupted half-way: seed:apply stops there, before what follows it, unless it is told --retry ${id}`

/** Whether writes join the seeds' transactions; nothing of this has a body that could fail on its own. */
const checkWriter = (dryRun: boolean) =>
  Effect.catchTags(WriterCheck.check({ dryRun }), {
    AlreadyApplied: writerUnknown,
    CommitLost: writerUnknown,
    CommitRefused: writerUnknown,
    SwallowedSqlError: writerUnknown,
    TransactionControl: writerUnknown
  })

const writerUnknown = (cause: Error): DatabaseError =>
  new DatabaseError({
    action: "looking at the dispatcher",
    id: Option.none(),
    code: Option.none(),
    reason: cause.message,
    connectionLost: false,
    cause
  })

const nothing: SeedReport = { outcomes: [], notAttempted: [], skippedAll: Option.none(), dryRun: false }
