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
import type { DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import * as EditedSeeds from "../plan/EditedSeeds.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import * as SeedCheck from "../plan/SeedCheck.js"
import type { SeedState } from "../plan/SeedPlan.js"
import * as SeedPlan from "../plan/SeedPlan.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { SeedProblem } from "../SeedProblem.js"
import { SeedSource } from "../source/SeedSource.js"
import * as SkipFlag from "../plan/SkipFlag.js"
import * as TableCheck from "../plan/TableCheck.js"

/** One seed with its state and everything that is known of it. */
export interface SeedStatusEntry {
  readonly id: string
  readonly state: SeedState
  /** Applied, but its source is not the one that was recorded. */
  readonly changed: boolean
  /** The module's for a seed that is loaded, the marker's notes for an applied one. */
  readonly description: Option.Option<string>
  /** Known for loaded seeds only: those that are not applied. */
  readonly skippable: Option.Option<boolean>
  /** The name of its flag, where it is skippable. */
  readonly flag: Option.Option<string>
  readonly flagSet: boolean
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
  readonly counts: { readonly [state in SeedState | "changed"]: number }
}

/**
 * Reads the status; loads the seeds that are not applied, so that their problems show. Tables that cannot be read for their shape are
 * `SeedsInconsistent`.
 */
export const status: Effect.Effect<
  Status,
  DatabaseError | SettingError | SeedsInconsistent,
  SeedSource | OperationLog | OperationLock | DatabaseHealth | OperationConfig | WriteDispatcher
> = Effect.gen(function* () {
  const source = yield* SeedSource
  const log = yield* OperationLog
  const lock = yield* OperationLock
  const config = yield* OperationConfig
  const { entries, problems, warnings } = yield* source.discover
  const markers = new Map(
    (yield* TableCheck.explain(log.markers)).map((marker): [string, Marker] => [marker.id, marker])
  )
  const attempts = yield* TableCheck.explain(log.attempts({}))
  const applied = new Map([...markers].map(([id, { operationType }]): [string, string] => [id, operationType]))
  const checked = yield* SeedCheck.check(SeedPlan.pending(entries, applied))
  const strangers = yield* SkipFlag.strangers([...entries.map(({ id }) => id), ...markers.keys()])
  yield* Effect.forEach(
    [...warnings, ...checked.warnings, ...strangers.map(SkipFlag.strange)],
    (warning) => Effect.logWarning(warning),
    { discard: true }
  )
  const all = yield* SkipFlag.read(SkipFlag.all)
  if (all === "mistaken") yield* Effect.logWarning(SkipFlag.mistaken(SkipFlag.all))
  if (all === "set") yield* Effect.logWarning(`${SkipFlag.all}=1 is set: no seed is applied while it is`)
  const loaded = new Map(checked.seeds.map((seed): [string, LoadedSeed] => [seed.entry.id, seed]))
  const lastAttempts = new Map(
    attempts.toReversed().map((attempt): [string, Attempt] => [attempt.operationId, attempt])
  )
  const plan = SeedPlan.make({
    seeds: entries,
    applied,
    lastAttempts,
    skipped: (id) => Option.exists(Option.fromNullable(loaded.get(id)), SeedCheck.isSkipped),
    late: config.late,
    lockHeld:
      [...lastAttempts.values()].some(({ outcome }) => outcome === "running") && Option.isSome(yield* lock.holder)
  })
  const found = [...problems, ...(yield* TableCheck.problems), ...checked.problems, ...plan.problems]
  const done = new Set(plan.seeds.filter(({ state }) => state === "applied").map(({ id }) => id))
  const changed = yield* EditedSeeds.changed(
    entries.filter(({ id }) => done.has(id)),
    attempts
  )
  const seeds = plan.seeds.map(({ id, state }): SeedStatusEntry => {
    const seed = Option.fromNullable(loaded.get(id))
    const marker = Option.fromNullable(markers.get(id))
    return {
      id,
      state,
      changed: changed.has(id),
      description: Option.orElse(
        Option.map(seed, (found) => found.seed.description),
        () => Option.flatMap(marker, ({ notes }) => notes)
      ),
      skippable: Option.map(seed, (found) => found.seed.skippable),
      flag: Option.map(
        Option.filter(seed, (found) => found.seed.skippable),
        ({ flag }) => flag.name
      ),
      flagSet: Option.exists(seed, SeedCheck.isSkipped),
      marker: Option.filter(marker, ({ operationType }) => operationType === seedMigration),
      lastAttempt: Option.fromNullable(lastAttempts.get(id)),
      problem: problemOf(found.filter((problem) => problem.id === id))
    }
  })
  return { seeds, problems: found, counts: count(seeds) }
}).pipe(Effect.withSpan("SeedStatus.status"))

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
    pending: of("pending"),
    late: of("late"),
    interrupted: of("interrupted"),
    orphan: of("orphan"),
    changed: seeds.filter(({ changed }) => changed).length
  }
}
