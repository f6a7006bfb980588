/**
 * What there is to do: what is there and what is recorded, loaded, checked and planned; and which of it a run is asked for.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Attempt } from "../../operation/Attempt.js"
import { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import type { SettingError } from "../../operation/OperationConfig.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout, LockHolder } from "../../operation/OperationError.js"
import { seedMigration } from "../../operation/Operation.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import * as EditedSeeds from "./EditedSeeds.js"
import * as RenamedSeeds from "./RenamedSeeds.js"
import * as SeedCheck from "./SeedCheck.js"
import * as RunningSeeds from "./RunningSeed.js"
import type { Planned, RenamedSeed, RunningSeed, SeedPlan } from "./SeedPlan.js"
import * as SeedStates from "./SeedStates.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { SeedProblem } from "../SeedProblem.js"
import { refuse } from "../SeedRefusal.js"
import { UnknownSeed } from "../SeedReport.js"
import type { SeedEntry } from "../source/SeedEntry.js"
import { SeedSource } from "../source/SeedSource.js"
import * as SkipFlag from "./SkipFlag.js"
import * as TableCheck from "./TableCheck.js"

/** What was looked at. */
interface Looked {
  readonly plan: SeedPlan
  /** The seed that another process is in, where it was asked who holds the lock. */
  readonly running: Option.Option<RunningSeed>
  /** The seeds that are not applied and load. */
  readonly seeds: ReadonlyArray<SeedCheck.LoadedSeed>
  /** Those that were renamed, most likely. */
  readonly renamed: ReadonlyArray<RenamedSeed>
  /** Those whose last attempt did not end. */
  readonly halfDone: ReadonlySet<string>
  /** The newest attempt at each, when it was looked. */
  readonly lastAttempts: ReadonlyMap<string, Attempt>
}

type LookError = SeedsInconsistent | LockTimeout | DatabaseError | SettingError

type Looks = SeedSource | OperationLog | OperationConfig | DatabaseHealth | WriteDispatcher

/** What is there, and what is recorded: read without the lock, the file system and the database at once. */
const compare = Effect.gen(function* () {
  const source = yield* SeedSource
  const log = yield* OperationLog
  const asking = yield* Effect.fork(log.applied)
  const discovery = yield* source.discover
  const applied = yield* Fiber.join(asking)
  for (const warning of discovery.warnings) yield* Effect.logWarning(warning)
  const ids = discovery.ids ?? discovery.entries.map(({ id }): string => id)
  // Then there is nothing to plan.
  const isExactlyApplied = applied.isExactly(seedMigration, ids)
  return { discovery, applied, isExactlyApplied }
})

type Compared = Effect.Effect.Success<typeof compare>

/** Everything of what was seen: pending seeds are loaded and checked, and all are planned. */
const inspect = (
  { discovery, ...found }: Compared,
  holder: Option.Option<LockHolder> = Option.none()
): Effect.Effect<Looked, LookError, Looks> =>
  Effect.gen(function* () {
    const log = yield* OperationLog
    const { entries, problems } = discovery
    const applied = new Map(found.applied)
    const open = SeedStates.pending(entries, applied)
    const config = yield* OperationConfig
    const nothing = open.length === 0
    const checked = nothing ? noneChecked : yield* SeedCheck.check(open)
    const strangers = nothing ? [] : yield* SkipFlag.strangers([...entries.map(({ id }) => id), ...applied.keys()])
    const warnings = [...checked.warnings, ...strangers.map(SkipFlag.strange)]
    for (const warning of warnings) yield* Effect.logWarning(warning)
    // A first start has no history, and no table that could be of another shape.
    const noTable = nothing || (applied.size === 0 && !(yield* log.hasTables))
    const lastAttempts: ReadonlyMap<string, Attempt> = noTable ? new Map() : yield* log.lastAttempts
    const skipped = new Set(checked.seeds.filter(({ isSkipped }) => isSkipped).map(({ entry }): string => entry.id))
    const running = Option.isNone(holder) ? Option.none() : RunningSeeds.find(idsOf(open), lastAttempts, holder)
    const plan = SeedStates.make({
      seeds: entries,
      running: Option.getOrUndefined(Option.map(running, ({ id }) => id)),
      applied,
      lastAttempts,
      skipped: (id) => skipped.has(id),
      late: config.late
    })
    const tables = noTable ? [] : yield* Effect.flatMap(DatabaseHealth, ({ mismatches }) => mismatches)
    const renamed = plan.seeds.some(({ state }) => state === "orphan")
      ? yield* RenamedSeeds.find(plan.seeds, checked.seeds, lastAttempts)
      : []
    const refused = renamed.length === 0 ? [] : RenamedSeeds.problems(renamed, config.renamed, checked.seeds)
    const all: SeedPlan = {
      ...plan,
      problems: [...problems, ...tables.map(TableCheck.problemOf), ...checked.problems, ...plan.problems, ...refused]
    }
    const halfDone = new Set(plan.seeds.filter(({ state }) => state === "interrupted").map(({ id }) => id))
    return { plan: all, running, seeds: checked.seeds, renamed, halfDone, lastAttempts }
  })

const idsOf = (entries: ReadonlyArray<SeedEntry>): ReadonlyArray<string> => entries.map(({ id }): string => id)

const noneChecked: SeedCheck.Checked = { seeds: [], problems: [], warnings: [] }

/** All seeds with their states, and the applied ones that were edited since. */
export const look: Effect.Effect<Planned, LookError, Looks | OperationLock> = Effect.gen(function* () {
  const found = yield* compare
  const holder = found.isExactlyApplied ? Option.none() : yield* Effect.flatMap(OperationLock, (lock) => lock.holder)
  const { plan, renamed, running } = yield* inspect(found, holder)
  const applied = new Set(plan.seeds.filter(({ state }) => state === "applied").map(({ id }) => id))
  const entries = found.discovery.entries.filter(({ id }) => applied.has(id))
  const changed = entries.length === 0 ? [] : yield* EditedSeeds.changed(entries, yield* attempts)
  return { ...plan, running, renamed, changed: [...changed] }
}).pipe(TableCheck.explain)

/** All attempts; none for a role that may read the markers only (insufficient_privilege). */
const attempts: Effect.Effect<
  ReadonlyArray<Attempt>,
  DatabaseError | LockTimeout | SeedsInconsistent,
  OperationLog | DatabaseHealth
> = Effect.flatMap(OperationLog, (log) => TableCheck.explain(log.attempts({}))).pipe(
  Effect.catchIf(
    (error) => error._tag === "DatabaseError" && Option.contains(error.code, "42501"),
    () => Effect.succeed([])
  )
)

/** What there is to do, if nothing forbids it. Where everything is applied, no plan is made. */
export const prepare: Effect.Effect<Omit<Looked, "plan" | "running">, LookError, Looks> = Effect.gen(function* () {
  const found = yield* compare
  if (found.isExactlyApplied) return yield* Effect.as(refuseListing(found), noneLeft)
  const { plan, running: _, ...looked } = yield* inspect(found)
  if (plan.problems.length > 0) yield* refuse(plan.problems)
  const late = plan.seeds.filter(({ state }) => state === "late")
  for (const { id } of late) yield* Effect.logWarning(lateWarning(id))
  for (const one of looked.renamed) yield* Effect.logWarning(RenamedSeeds.warning(one))
  return looked
}).pipe(TableCheck.explain)

const noneLeft: Omit<Looked, "plan" | "running"> = {
  seeds: [],
  renamed: [],
  halfDone: new Set(),
  lastAttempts: new Map()
}

/** The ids of what is neither applied nor skipped by a flag, if nothing forbids to apply it. */
export const unapplied: Effect.Effect<ReadonlyArray<string>, LookError, Looks> = Effect.gen(function* () {
  const found = yield* compare
  if (found.isExactlyApplied) return yield* Effect.as(refuseListing(found), [])
  const { plan, seeds } = yield* inspect(found)
  yield* refuse(plan.problems)
  const skipped = new Set(seeds.filter(({ isSkipped }) => isSkipped).map(({ entry }): string => entry.id))
  return plan.seeds.flatMap(({ id, state }) =>
    state === "applied" || state === "orphan" || skipped.has(id) ? [] : [id]
  )
}).pipe(TableCheck.explain)

/** Where exactly what is listed is applied: markers are of different ids, hence those that are the same as theirs are too. */
const refuseListing = ({ discovery }: Compared): Effect.Effect<void, SeedsInconsistent> =>
  discovery.ids === undefined ? refuse(discovery.problems) : Effect.void

const lateWarning = (id: string): string =>
  `"${id}" is late: it sorts before a seed that is applied already, and runs after it all the same`

/** What runs outside any transaction holds the lock for its session, which a pooler may take from it. */
export const refusePoolers = (
  selected: ReadonlyArray<SeedCheck.LoadedSeed>
): Effect.Effect<void, SeedsInconsistent | DatabaseError, DatabaseHealth> =>
  Effect.gen(function* () {
    const outside = selected.filter(({ isSkipped, seed }) => seed.transaction === "none" && !isSkipped)
    if (outside.length === 0) return
    const health = yield* DatabaseHealth
    if (yield* health.hasSessions) return
    const problems = outside.map(({ entry: { id, path } }) => {
      const message = `${path} runs outside any transaction, which needs a session of its own: connect to the server itself, not to a pooler in transaction mode`
      return new SeedProblem({ _tag: "PoolerUnsupported", id, path, message })
    })
    return yield* refuse(problems)
  })

/** Fails with `UnknownSeed` unless there is a seed of this id. */
export const known = (id: string): Effect.Effect<void, UnknownSeed, SeedSource> =>
  Effect.flatMap(
    Effect.flatMap(SeedSource, ({ discover }) => discover),
    ({ entries }) => {
      const ids = entries.map((entry): string => entry.id)
      return ids.includes(id) ? Effect.void : new UnknownSeed({ id, known: ids })
    }
  )

/** The seeds up to and including `to`, and the ids after it. */
export const upTo = (
  seeds: ReadonlyArray<SeedCheck.LoadedSeed>,
  to: string | undefined
): Effect.Effect<
  { readonly selected: ReadonlyArray<SeedCheck.LoadedSeed>; readonly rest: ReadonlyArray<string> },
  UnknownSeed,
  SeedSource
> =>
  Effect.gen(function* () {
    if (to === undefined) return { selected: seeds, rest: [] }
    const { entries } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
    const known = entries.map(({ id }): string => id)
    const end = known.indexOf(to)
    if (end === -1) return yield* new UnknownSeed({ id: to, known })
    const selected = seeds.filter(({ entry }) => known.indexOf(entry.id) <= end)
    return { selected, rest: seeds.slice(selected.length).map(({ entry }): string => entry.id) }
  })
