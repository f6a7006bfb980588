/**
 * Applies seeds: looks without the lock, plans, checks everything, then runs each pending seed in one transaction.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { WriteDispatcher } from "../event/WriteDispatcher.js"
import type { Directory } from "../identity/Directory.js"
import type { AppliedBy } from "../operation/Operation.js"
import type { ConfigError } from "../operation/OperationConfig.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { CommitUnknown, LockTimeout } from "../operation/OperationError.js"
import { DatabaseError } from "../operation/OperationError.js"
import { OperationLock } from "../operation/OperationLock.js"
import { OperationLog } from "../operation/OperationLog.js"
import type { Replica } from "../operation/Replica.js"
import { Transactor } from "../operation/Transactor.js"
import * as SeedCheck from "./SeedCheck.js"
import type { SeedPlan } from "./SeedPlan.js"
import * as Plan from "./SeedPlan.js"
import { SeedsInconsistent } from "./SeedProblem.js"
import type { SeedFailedElsewhere, SeedReport } from "./SeedReport.js"
import { idsOf, SeedFailed, SeedOutcome, UnknownSeed } from "./SeedReport.js"
import { SeedSource } from "./SeedSource.js"
import * as SeedStep from "./SeedStep.js"
import * as SkipFlag from "./SkipFlag.js"

/** What applying needs. */
export type Requirements =
  SeedSource | Transactor | OperationLock | OperationLog | OperationConfig | Replica | WriteDispatcher | Directory

/** Why not everything was applied. */
export type ApplyError =
  | SeedsInconsistent
  | SeedFailed
  | SeedFailedElsewhere
  | UnknownSeed
  | LockTimeout
  | CommitUnknown
  | DatabaseError
  | ConfigError

/** Told what happens while it happens. */
export interface Observer {
  /** The ids that will be run, in order. */
  readonly planned: (ids: ReadonlyArray<string>) => Effect.Effect<void>
  readonly outcome: (outcome: SeedOutcome) => Effect.Effect<void>
}

export interface ApplyOptions {
  readonly appliedBy: AppliedBy
  /** Up to and including this id. Default: all. */
  readonly to?: string | undefined
  /** Default: outcomes are logged. */
  readonly observer?: Observer | undefined
}

/** The seeds with their states, and what forbids to apply them. Loads pending seeds; writes nothing. */
export const plan: Effect.Effect<SeedPlan, SeedsInconsistent | DatabaseError | ConfigError, Requirements> = Effect.map(
  Effect.suspend(() => prepare),
  ({ plan }) => plan
).pipe(Effect.withSpan("SeedRunner.plan"))

/** Applies the pending seeds in order, each exactly once, and stops at the first that fails. */
export const apply = (options: ApplyOptions): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    if (yield* skipsAll) return { ...nothing, skippedAll: Option.some(SkipFlag.all) }
    const { seeds } = yield* prepare
    const { rest, selected } = yield* upTo(seeds, options.to)
    if (selected.length === 0) return { ...nothing, notAttempted: rest }
    return yield* applyAll(selected, rest, options)
  }).pipe(Effect.withSpan("SeedRunner.apply", { attributes: { appliedBy: options.appliedBy } }))

/**
 * One seed: the lock and the marker, the body, marker and attempt, in one transaction; tried again while the lock is held; a lost race and a
 * skip are outcomes, everything else is the failure that ends the run.
 */
const applyOne = (step: SeedStep.SeedStep) =>
  Effect.gen(function* () {
    const lock = yield* OperationLock
    const log = yield* OperationLog
    const transactor = yield* Transactor
    const once = transactor.run(
      lock.claim(step.id).pipe(
        Effect.zipRight(step.refuseFailedElsewhere),
        Effect.zipRight(step.body),
        Effect.tap((done) => log.mark(done.marker, done.attempt))
      ),
      { name: step.id, trace: step.trace }
    )
    return yield* Effect.zipRight(step.unlessSkipped, step.whileLockHeld(once)).pipe(
      Effect.map((done) => done.outcome),
      Effect.catchTag("CommitLost", step.settle),
      Effect.catchTags({
        AlreadyApplied: ({ id }) => Effect.succeed(SeedOutcome.Raced({ id })),
        SeedSkipped: ({ flag, id }) => Effect.succeed(SeedOutcome.Skipped({ flag, id }))
      }),
      Effect.mapError(step.failure)
    )
  }).pipe(Effect.withSpan("SeedRunner.applyOne", { attributes: { seed: step.id } }))

const applyAll = (
  selected: ReadonlyArray<SeedCheck.LoadedSeed>,
  rest: ReadonlyArray<string>,
  options: ApplyOptions
): Effect.Effect<SeedReport, ApplyError, Requirements> =>
  Effect.gen(function* () {
    const observer = options.observer ?? logging
    const outcomes = yield* Ref.make<ReadonlyArray<SeedOutcome>>([])
    const run = yield* SeedStep.startRun(options.appliedBy)
    yield* observer.planned(selected.map(({ entry }) => entry.id))
    for (const [index, loaded] of selected.entries()) {
      const step = yield* SeedStep.make(loaded, run)
      const outcome = yield* applyOne(step).pipe(
        Effect.catchTag("SeedStepFailed", ({ cause, id }) =>
          Effect.flatMap(Ref.get(outcomes), (done) =>
            Effect.fail(
              new SeedFailed({
                id,
                cause,
                applied: idsOf(done, "Applied"),
                skipped: idsOf(done, "Skipped"),
                raced: idsOf(done, "Raced"),
                notAttempted: [...selected.slice(index + 1).map(({ entry }) => entry.id), ...rest]
              })
            )
          )
        ),
        Effect.annotateLogs({ seed: loaded.entry.id })
      )
      yield* Ref.update(outcomes, (done) => [...done, outcome])
      yield* observer.outcome(outcome)
    }
    return { ...nothing, outcomes: yield* Ref.get(outcomes), notAttempted: rest }
  })

/** Discover, peek without the lock, and only if there is something to do: load, check, plan. */
const prepare = Effect.gen(function* () {
  const source = yield* SeedSource
  const log = yield* OperationLog
  const config = yield* OperationConfig
  const { entries, problems, warnings } = yield* source.discover
  yield* Effect.forEach(warnings, (warning) => Effect.logWarning(warning), { discard: true })
  const applied = yield* log.applied
  const open = Plan.pending(entries, applied)
  const checked = yield* open.length === 0
    ? Effect.succeed<SeedCheck.Checked>({ seeds: [], problems: [], warnings: [] })
    : SeedCheck.check(open)
  yield* Effect.forEach(checked.warnings, (warning) => Effect.logWarning(warning), { discard: true })
  const plan = Plan.make({
    seeds: entries,
    applied,
    lastAttempts: open.length === 0 ? new Map() : yield* log.lastAttempts,
    skipped: (id) => checked.seeds.some((loaded) => loaded.entry.id === id && SeedCheck.isSkipped(loaded)),
    late: config.late
  })
  const [problem, ...others] = [...problems, ...checked.problems, ...plan.problems]
  if (problem !== undefined) return yield* new SeedsInconsistent({ problems: [problem, ...others] })
  const late = plan.seeds.filter(({ state }) => state === "late")
  yield* Effect.forEach(late, ({ id }) => Effect.logWarning(lateWarning(id)), { discard: true })
  return { plan, seeds: checked.seeds }
})

const lateWarning = (id: string): string =>
  `"${id}" is late: it sorts before a seed that is applied already, and runs after it all the same`

const skipsAll = Effect.gen(function* () {
  const flag = yield* SkipFlag.read(SkipFlag.all)
  if (flag === "mistaken") yield* Effect.logWarning(SkipFlag.mistaken(SkipFlag.all))
  if (flag === "set") yield* Effect.logWarning(`${SkipFlag.all}=1: no seed is applied`)
  return flag === "set"
})

/** The seeds up to and including `to`, and the ids after it. */
const upTo = (seeds: ReadonlyArray<SeedCheck.LoadedSeed>, to: string | undefined) =>
  Effect.gen(function* () {
    if (to === undefined) return { selected: seeds, rest: [] }
    const { entries } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
    const known = entries.map(({ id }): string => id)
    const end = known.indexOf(to)
    if (end === -1) return yield* new UnknownSeed({ id: to, known })
    const selected = seeds.filter(({ entry }) => known.indexOf(entry.id) <= end)
    return { selected, rest: seeds.slice(selected.length).map(({ entry }): string => entry.id) }
  })

const nothing: SeedReport = { outcomes: [], notAttempted: [], skippedAll: Option.none(), dryRun: false }

const logging: Observer = {
  planned: (ids) => Effect.logInfo(`${ids.length} ${ids.length === 1 ? "seed" : "seeds"} to apply`),
  outcome: SeedOutcome.$match({
    Applied: ({ durationMs, events, id }) => Effect.logInfo(`"${id}" applied in ${durationMs} ms, ${events} events`),
    Skipped: ({ flag, id }) => Effect.logWarning(`"${id}" skipped by ${flag}`),
    Raced: ({ id }) => Effect.logInfo(`"${id}" was applied by another replica`)
  })
}
