/**
 * `RebuildStore` on PostgreSQL: the order of a rebuild, and of a comparison.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { EventFeed } from "../../event/EventFeed.js"
import { EventStore } from "../../event/EventStore.js"
import type { ProjectionRecords } from "../../event/ProjectionRecords.js"
import type { RunHandle } from "../../operation/OperationRun.js"
import type { RebuildPolicy } from "../../projection/RebuildOptions.js"
import { RebuildUnsettled } from "../../projection/RebuildProblem.js"
import type { RebuildDiff, RebuildReport } from "../../projection/RebuildReport.js"
import type { RebuildTarget } from "../../projection/RebuildTarget.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import type { RebuildFailure } from "../../projection/RebuildStore.js"
import { RebuildStore } from "../../projection/RebuildStore.js"
import { PgSql } from "../client/PgSql.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as Applying from "./Applying.js"
import * as ApplyRebuild from "./ApplyRebuild.js"
import * as Bulk from "./Bulk.js"
import * as BulkByAggregate from "./BulkByAggregate.js"
import { Outdated } from "./CutOver.js"
import * as DeadLetters from "./DeadLetters.js"
import * as Differing from "./Differing.js"
import * as Inspection from "./Inspection.js"
import type { Done } from "./RebuildState.js"
import * as RebuildState from "./RebuildState.js"
import * as PurgedRows from "./PurgedRows.js"
import * as Quarantine from "./Quarantine.js"
import * as Rounds from "./Rounds.js"
import * as Settling from "./Settling.js"
import type { Shadow } from "./Shadow.js"
import * as Shadows from "./Shadow.js"
import * as Swap from "./Swap.js"
import * as TakeOver from "./TakeOver.js"

type Requirements = PgSql | PgSchema | EventFeed | EventStore | ProjectionRecords

/** How often a rebuild begins anew, as what it was built for has changed. */
const mostAnew = 3

/** Rebuilds in the tables that the search path finds. */
export const make: Effect.Effect<RebuildStore["Type"], never, Requirements> = Effect.gen(function* () {
  const services = yield* Effect.context<Requirements>()
  return RebuildStore.of({
    inspect: (target, policy) => Effect.provide(Inspection.make(target, policy), services),
    rebuild: (run, target, policy) => Effect.provide(passes(run, target, policy, rebuilt), services),
    lane: (run, target, policy, lane) => Effect.provide(inLane(run, target, policy, lane), services),
    diff: (run, target, policy) => Effect.provide(passes(run, target, policy, compared), services),
    drop: (runId) => Effect.provide(Effect.zipRight(Shadows.drop(runId), DeadLetters.drop(runId)), services)
  })
})

/** `RebuildStore` on PostgreSQL. */
export const layer: Layer.Layer<RebuildStore, never, Requirements> = Layer.effect(RebuildStore, make)

/** Works on from where a run stands, and begins anew where what was built is not what is needed any more. */
const passes = <A, E>(
  run: RunHandle,
  target: RebuildTarget,
  policy: RebuildPolicy,
  toItsEnd: (standing: Standing) => Effect.Effect<A, E | Outdated, Requirements>
): Effect.Effect<A, Exclude<E, Outdated> | RebuildFailure, Requirements> => {
  const pass = (
    found: Option.Option<Standing>,
    anew: number
  ): Effect.Effect<A, Exclude<E, Outdated> | RebuildFailure, Requirements> =>
    Effect.gen(function* () {
      const standing = Option.isSome(found) ? found.value : yield* begun(run, target, policy, anew)
      return yield* toItsEnd(standing)
    }).pipe(
      Effect.catchIf(
        (error): error is Outdated => error instanceof Outdated,
        ({ reason }) =>
          anew >= mostAnew
            ? new RebuildUnsettled({ projection: target.name, reason })
            : Effect.zipRight(Effect.logWarning(`begins anew, as ${reason}`), pass(Option.none(), anew + 1))
      )
    )
  return Effect.flatMap(standingOf(run, target, policy), (found) =>
    pass(found, Option.match(found, { onNone: () => 0, onSome: ({ state }) => state.anew }))
  )
}

/** A shadow, and how far its rebuild is. */
interface Standing {
  readonly shadow: Shadow
  readonly state: RebuildState.RebuildState
}

/** Where a run stands that is gone on with; none where its shadow is not what it was built for, or lost with a crash of the server. */
const standingOf = (run: RunHandle, target: RebuildTarget, policy: RebuildPolicy) =>
  Effect.gen(function* () {
    const state = RebuildState.of(run)
    if (Option.isNone(state)) return Option.none<Standing>()
    const shadow = yield* Shadows.make(run, target, policy)
    const isUsable =
      state.value.stage === "settling" ||
      (Shadows.shapeOf(shadow) === state.value.shape && (yield* Shadows.isWhole(shadow)))
    return isUsable ? Option.some<Standing>({ shadow, state: state.value }) : Option.none<Standing>()
  })

/** A lane of a run whose shadow stands; where the shadow is gone, so is the run's claim to it. */
const inLane = (run: RunHandle, target: RebuildTarget, policy: RebuildPolicy, lane: string) =>
  Effect.gen(function* () {
    const found = yield* standingOf(run, target, policy)
    if (Option.isNone(found)) return yield* new RebuildUnsettled({ projection: target.name, reason: Bulk.notWhole })
    const { shadow, state } = found.value
    const { table, work } = yield* folded(shadow)
    if (work._tag === "Fold") yield* Bulk.lane(shadow, table, work, state, lane)
  })

/** Begins with an empty shadow, and the id up to which every event is settled. */
const begun = (run: RunHandle, target: RebuildTarget, policy: RebuildPolicy, anew: number) =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const upTo = yield* feed.settled(policy.lockTimeout)
    const { done } = yield* run.current
    // What is begun anew is done once more.
    const total = done === 0 ? undefined : done + (yield* Inspection.eventsOf(target)).count
    const lanes = isByAggregate(target)
      ? BulkByAggregate.between(yield* feed.boundaries({ types: target.events }, policy.lanes))
      : []
    return yield* run.batch(
      Effect.gen(function* () {
        yield* DeadLetters.drop(run.id)
        yield* Shadows.complete(target)
        const shadow = yield* Shadows.make(run, target, policy)
        yield* Shadows.create(shadow)
        yield* Quarantine.incompleteStreams(shadow)
        yield* PurgedRows.keep(shadow)
        const state: RebuildState.RebuildState = {
          stage: "bulk",
          at: 0n,
          upTo,
          isIndexed: false,
          anew,
          shape: Shadows.shapeOf(shadow),
          lanes: lanes.map(({ from, name, to }) => ({ name: `${run.epoch}.${anew}.${name}`, from, to }))
        }
        return { value: { shadow, state }, phase: "bulk", cursor: RebuildState.cursorOf(state), total }
      })
    )
  })

/** From where it stands: bulk, rounds and cut-over, settling. */
const rebuilt = ({ shadow, state: from }: Standing) =>
  Effect.gen(function* () {
    const { state, settled } = yield* isApplied(shadow) ? appliedAll(shadow, from) : foldedAll(shadow, from)
    yield* dropped(shadow)
    return yield* reportOf(shadow, state, settled)
  })

const isApplied = ({ target }: Shadow): boolean => target.work._tag === "Apply"

const foldedAll = (shadow: Shadow, from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const { table, work } = yield* folded(shadow)
    let state = from
    if (state.stage === "bulk") state = yield* Bulk.run(shadow, table, work, state)
    if (state.stage === "rounds") {
      const taken = yield* TakeOver.run(shadow, table, work, state)
      state = { ...taken.state, done: { ...taken.done, tries: taken.tries } }
    }
    return { state, settled: yield* settledOf(shadow, Settling.settle(shadow, table, work, state.at)) }
  })

const appliedAll = (shadow: Shadow, from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const store = Applying.readOnly(yield* EventStore)
    const state =
      from.stage === "settling"
        ? from
        : yield* ApplyRebuild.takeOver(shadow, store, yield* ApplyRebuild.settledRounds(shadow, store, from))
    return { state, settled: yield* settledOf(shadow, ApplyRebuild.settle(shadow, store, state)) }
  })

/** From where it stands: bulk, rounds, and the comparison. */
const compared = ({ shadow, state: from }: Standing) =>
  Effect.gen(function* () {
    const tables = yield* isApplied(shadow) ? comparedApplied(shadow, from) : comparedFolded(shadow, from)
    yield* dropped(shadow)
    const { counters } = yield* shadow.run.current
    const diff: RebuildDiff = {
      projections: shadow.target.projections.map(({ name }) => name),
      events: counters["events"] ?? 0,
      tables,
      deadLetters: yield* DeadLetters.count(shadow)
    }
    yield* DeadLetters.drop(shadow.run.id)
    return diff
  })

const comparedFolded = (shadow: Shadow, from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const { table, work } = yield* folded(shadow)
    const bulk = from.stage === "bulk" ? yield* Bulk.run(shadow, table, work, from) : from
    const state = yield* Rounds.run(shadow, table, work, bulk)
    return [yield* Differing.of(shadow, table, state.at)]
  })

const comparedApplied = (shadow: Shadow, from: RebuildState.RebuildState) =>
  Effect.gen(function* () {
    const store = Applying.readOnly(yield* EventStore)
    return yield* ApplyRebuild.diff(shadow, store, yield* ApplyRebuild.settledRounds(shadow, store, from))
  })

/** A live table that is missing was created when the run began: one is always there. */
const folded = ({ tables: [table], target: { work } }: Shadow) =>
  table === undefined || work._tag === "Apply"
    ? Effect.dieMessage("a fold has a table of its own")
    : Effect.succeed({ table, work })

const dropped = (shadow: Shadow) =>
  shadow.run.batch(Effect.as(Shadows.drop(shadow.run.id), { value: undefined, phase: "settled" }))

/** Puts right what was written over; where the server crashed since, no transaction of before is left. */
const settledOf = <E, R>(shadow: Shadow, settle: Effect.Effect<Settling.Settled, E, R>) =>
  Effect.flatMap(Shadows.isWhole(shadow), (isWhole): Effect.Effect<Settling.Settled, E, R> =>
    isWhole
      ? settle
      : Effect.succeed({
          mended: 0,
          unsettled: ["the server was started again before the rebuild had settled: run es-ops projection:diff"]
        })
  )

const nothing: Done = {
  mode: "merge",
  rows: { inserted: 0, updated: 0, deleted: 0 },
  ghosts: { kept: 0, deleted: 0, keys: [] },
  tries: 1,
  stalledMs: 0
}

const reportOf = (shadow: Shadow, { anew, done = nothing }: RebuildState.RebuildState, settled: Settling.Settled) =>
  Effect.gen(function* () {
    const { counters } = yield* shadow.run.current
    const report: RebuildReport = {
      projections: shadow.target.projections.map(({ name }) => name),
      tables: shadow.target.tables.map(({ name }) => name),
      runId: shadow.run.id,
      mode: done.mode,
      events: counters["events"] ?? 0,
      // Those of a gradual rebuild are put right before its cut-over as well.
      rows: { ...done.rows, updated: done.rows.updated + (counters["corrected"] ?? 0) },
      ghosts: done.ghosts,
      mended: counters["mended"] ?? settled.mended,
      unsettled: settled.unsettled,
      deadLetters: yield* DeadLetters.count(shadow),
      cutOver: { tries: done.tries, stalledMs: done.stalledMs },
      anew,
      notes: done.mode === "swap" ? [Swap.cost] : []
    }
    return report
  })
