/**
 * Every seed with its state, from what is there and what is recorded. Writes nothing, takes no lock.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Attempt } from "../../operation/Attempt.js"
import type { Marker } from "../../operation/Operation.js"
import { seedMigration } from "../../operation/Operation.js"
import type { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import type { SettingError } from "../../operation/OperationConfig.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import type { Run } from "../../operation/Run.js"
import { StepCursor } from "../../operation/StepCursor.js"
import * as EditedSeeds from "../plan/EditedSeeds.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import * as RenamedSeeds from "../plan/RenamedSeeds.js"
import * as SeedCheck from "../plan/SeedCheck.js"
import * as RunningSeed from "../plan/RunningSeed.js"
import type * as SeedPlan from "../plan/SeedPlan.js"
import type { SeedState } from "../plan/SeedPlan.js"
import * as SeedStates from "../plan/SeedStates.js"
import { editedWarning } from "../HalfDoneSeed.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { SeedProblem } from "../SeedProblem.js"
import type { SeedEntry } from "../source/SeedEntry.js"
import { SeedSource } from "../source/SeedSource.js"
import * as SkipFlag from "../plan/SkipFlag.js"
import * as TableCheck from "../plan/TableCheck.js"

/** One seed with its state and everything that is known of it. */
export interface SeedStatusEntry {
  readonly id: string
  readonly state: SeedState
  /** Applied, but its source is not the one that was recorded. */
  readonly changed: boolean
  /** Where and since when it runs, if it does. */
  readonly running: Option.Option<SeedPlan.RunningSeed>
  /** How far it is, where it is in batches and half done. */
  readonly progress: Option.Option<Run>
  /** The id of the applied seed without a file whose source it has, where it is to be run: most often it was renamed. */
  readonly renamedFrom: Option.Option<string>
  /** The module's for a seed that is loaded, the marker's notes for an applied one. */
  readonly description: Option.Option<string>
  /** Known for loaded seeds only: those that are not applied. */
  readonly skippable: Option.Option<boolean>
  /** The name of its flag, where it is skippable. */
  readonly flag: Option.Option<string>
  readonly flagSet: boolean
  /** Whether it is one transaction, runs outside any, or is one a batch; where it is loaded. */
  readonly transaction: Option.Option<"one" | "none" | "batches">
  readonly marker: Option.Option<Marker>
  readonly lastAttempt: Option.Option<Attempt>
  readonly problem: Option.Option<SeedProblem>
}

/** All seeds, what is wrong, and how many there are of each state. */
export interface Status {
  /** In run order. */
  readonly seeds: ReadonlyArray<SeedStatusEntry>
  /** Of the source as a whole, and of seeds; a seed's own are at the seed as well. */
  readonly problems: ReadonlyArray<SeedProblem>
  /** A running seed is counted among the pending ones, as it may come to nothing; a changed one among the applied. */
  readonly counts: { readonly [state in Exclude<SeedState, "running"> | "changed"]: number }
}

/**
 * Reads the status; loads the seeds that are not applied, so that their problems show. Tables that cannot be read for their shape are
 * `SeedsInconsistent`.
 */
export const status: Effect.Effect<
  Status,
  DatabaseError | LockTimeout | SettingError | SeedsInconsistent,
  SeedSource | OperationLog | OperationLock | DatabaseHealth | OperationConfig | StepCursor | WriteDispatcher
> = Effect.gen(function* () {
  const { entries, problems, warnings } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
  const record = yield* readMoment(entries.map(({ id }) => id))
  const checked = yield* SeedCheck.check(SeedStates.pending(entries, record.applied))
  const flags = yield* flagWarnings([...entries.map(({ id }) => id), ...record.markers.keys()])
  const loaded = new Map(checked.seeds.map((seed): [string, LoadedSeed] => [seed.entry.id, seed]))
  const halfDone = yield* halfDoneAmong(checked.seeds)
  const plan = yield* planOf(entries, record, loaded, halfDone)
  const { renamed: policy } = yield* OperationConfig
  const renamed = yield* RenamedSeeds.find(plan.seeds, checked.seeds, record.lastAttempts)
  const refused = RenamedSeeds.problems(renamed, policy, checked.seeds)
  const renames = policy === "run" ? renamed.map(RenamedSeeds.warning) : []
  yield* Effect.forEach([...warnings, ...checked.warnings, ...flags, ...renames], (text) => Effect.logWarning(text), {
    discard: true
  })
  // The server looks at the tables while the sources are read and parsed.
  const [tables, changed] = yield* Effect.all([TableCheck.problems, editedOf(entries, plan, record)], {
    concurrency: 2
  })
  const found = [...problems, ...tables, ...checked.problems, ...plan.problems, ...refused]
  const seeds = plan.seeds.map((seed) =>
    entryOf(seed, { ...record, loaded, changed, renamed, halfDone, problems: found })
  )
  return { seeds, problems: found, counts: count(seeds) }
}).pipe(Effect.withSpan("SeedStatus.status"))

/** Those of these seeds that are half done; asked only where there is one in batches. Says which were edited since they were begun. */
const halfDoneAmong = (
  seeds: ReadonlyArray<LoadedSeed>
): Effect.Effect<ReadonlyMap<string, Run>, DatabaseError, StepCursor> =>
  Effect.gen(function* () {
    const inBatches = seeds.filter(({ seed }) => seed.transaction === "batches")
    if (inBatches.length === 0) return new Map()
    const halfDone = yield* Effect.flatMap(StepCursor, (cursors) => cursors.halfDone(seedMigration))
    for (const { entry, sourceHash } of inBatches) {
      const half = halfDone.get(entry.id)
      if (half !== undefined && half.definition !== Option.getOrElse(yield* sourceHash, () => ""))
        yield* Effect.logWarning(editedWarning(entry.id))
    }
    return halfDone
  })

/** What the database has on record. */
interface OnRecord {
  readonly markers: ReadonlyMap<string, Marker>
  /** The types of the markers' operations. */
  readonly applied: ReadonlyMap<string, string>
  /** The newest first. */
  readonly attempts: ReadonlyArray<Attempt>
  /** The newest attempt at each operation. */
  readonly lastAttempts: ReadonlyMap<string, Attempt>
}

const readRecord: Effect.Effect<
  OnRecord,
  DatabaseError | LockTimeout | SeedsInconsistent,
  OperationLog | DatabaseHealth
> = Effect.gen(function* () {
  const log = yield* OperationLog
  const markers = yield* log.markers
  const attempts = yield* log.attempts({})
  return {
    markers: new Map(markers.map((marker): [string, Marker] => [marker.id, marker])),
    applied: new Map(markers.map(({ id, operationType }): [string, string] => [id, operationType])),
    attempts,
    lastAttempts: new Map(attempts.toReversed().map((attempt): [string, Attempt] => [attempt.operationId, attempt]))
  }
}).pipe(TableCheck.explain)

/** What there is to say about flags that are no one seed's. */
const flagWarnings = (ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>, SettingError> =>
  Effect.gen(function* () {
    const strangers = yield* SkipFlag.strangers(ids)
    const all = yield* SkipFlag.read(SkipFlag.all)
    return [
      ...strangers.map(SkipFlag.strange),
      ...(all === "mistaken" ? [SkipFlag.mistaken(SkipFlag.all)] : []),
      ...(all === "set" ? [`${SkipFlag.all}=1 is set: no seed is applied while it is`] : [])
    ]
  })

/** The record, and the one of these seeds that a process is in, at one moment. */
interface Moment extends OnRecord {
  readonly running: Option.Option<SeedPlan.RunningSeed>
}

/**
 * Who holds the lock is asked behind the record, and only where something is not applied. An attempt that has not ended while nobody holds the lock
 * may have ended in between, which the record tells when it is read again.
 */
const readMoment = (
  ids: ReadonlyArray<string>
): Effect.Effect<
  Moment,
  DatabaseError | LockTimeout | SeedsInconsistent,
  OperationLog | OperationLock | DatabaseHealth
> =>
  Effect.gen(function* () {
    const lock = yield* OperationLock
    const record = yield* readRecord
    const open = ids.filter((id) => !record.applied.has(id))
    const holder = open.length === 0 ? Option.none() : yield* lock.holder
    const running = RunningSeed.find(open, record.lastAttempts, holder)
    const mayHaveEnded = Option.isNone(running) && open.some((id) => record.lastAttempts.get(id)?.outcome === "running")
    return mayHaveEnded ? { ...(yield* readRecord), running } : { ...record, running }
  })

/** The seeds with their states. */
const planOf = (
  seeds: ReadonlyArray<SeedEntry>,
  { applied, lastAttempts, running }: Moment,
  loaded: ReadonlyMap<string, LoadedSeed>,
  halfDone: ReadonlyMap<string, Run>
): Effect.Effect<SeedPlan.SeedPlan, never, OperationConfig> =>
  Effect.map(OperationConfig, ({ late }) =>
    SeedStates.make({
      seeds,
      applied,
      lastAttempts,
      skipped: (id) => Option.exists(Option.fromNullable(loaded.get(id)), ({ isSkipped }) => isSkipped),
      late,
      halfDone,
      running: Option.getOrUndefined(Option.map(running, ({ id }) => id))
    })
  )

/** The ids of the applied seeds that were edited since. */
const editedOf = (
  entries: ReadonlyArray<SeedEntry>,
  { seeds }: SeedPlan.SeedPlan,
  { attempts }: OnRecord
): Effect.Effect<ReadonlySet<string>> => {
  const done = new Set(seeds.filter(({ state }) => state === "applied").map(({ id }) => id))
  return EditedSeeds.changed(
    entries.filter(({ id }) => done.has(id)),
    attempts
  )
}

/** Everything that is known of seeds, by their ids. */
interface Known extends Moment {
  readonly loaded: ReadonlyMap<string, LoadedSeed>
  readonly changed: ReadonlySet<string>
  readonly renamed: ReadonlyArray<SeedPlan.RenamedSeed>
  readonly halfDone: ReadonlyMap<string, Run>
  readonly problems: ReadonlyArray<SeedProblem>
}

const entryOf = ({ id, state }: SeedPlan.PlannedSeed, known: Known): SeedStatusEntry => {
  const loaded = Option.fromNullable(known.loaded.get(id))
  const marker = Option.fromNullable(known.markers.get(id))
  const skippable = Option.filter(loaded, ({ seed }) => seed.skippable)
  return {
    id,
    state,
    changed: known.changed.has(id),
    running: Option.filter(known.running, (running) => running.id === id),
    progress: Option.fromNullable(known.halfDone.get(id)),
    renamedFrom: Option.map(Option.fromNullable(known.renamed.find((one) => one.id === id)), ({ from }) => from),
    description: Option.orElse(
      Option.map(loaded, ({ seed }) => seed.description),
      () => Option.flatMap(marker, ({ notes }) => notes)
    ),
    skippable: Option.map(loaded, ({ seed }) => seed.skippable),
    flag: Option.map(skippable, ({ flag }) => flag.name),
    flagSet: Option.exists(loaded, ({ isSkipped }) => isSkipped),
    transaction: Option.map(loaded, ({ seed }) => seed.transaction),
    marker: Option.filter(marker, ({ operationType }) => operationType === seedMigration),
    lastAttempt: Option.fromNullable(known.lastAttempts.get(id)),
    problem: problemOf(known.problems.filter((problem) => problem.id === id))
  }
}

/** Several problems of one seed as one, of the first one's kind. */
const problemOf = ([first, ...others]: ReadonlyArray<SeedProblem>): Option.Option<SeedProblem> =>
  Option.map(Option.fromNullable(first), (problem) =>
    others.length === 0
      ? problem
      : new SeedProblem({ ...problem, message: [problem, ...others].map(({ message }) => message).join("\n") })
  )

const count = (seeds: ReadonlyArray<SeedStatusEntry>): Status["counts"] => {
  const of = (state: SeedState) => seeds.filter((seed) => seed.state === state).length
  return {
    applied: of("applied"),
    pending: of("pending") + of("running"),
    late: of("late"),
    interrupted: of("interrupted"),
    orphan: of("orphan"),
    changed: seeds.filter(({ changed }) => changed).length
  }
}
