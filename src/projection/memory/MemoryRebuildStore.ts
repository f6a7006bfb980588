/**
 * `RebuildStore` in memory: one batch computes the rows, compares and writes them, and is undone as a whole where it fails.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { streamKey } from "../../event/AppendRules.js"
import type { Event } from "../../event/Event.js"
import { EventFeed } from "../../event/EventFeed.js"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import { MemoryProjections } from "../../event/memory/MemoryProjections.js"
import * as MemoryReadTables from "../../event/memory/MemoryReadTables.js"
import { ProjectionRecords } from "../../event/ProjectionRecords.js"
import { keyOf, ReadTables } from "../../event/ReadTables.js"
import type { Key, StoredRow, Table } from "../../event/Table.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import type { RunHandle } from "../../operation/OperationRun.js"
import type { RebuildPolicy } from "../RebuildOptions.js"
import type { RebuildProblem } from "../RebuildProblem.js"
import type { RebuildDiff, RebuildReport, RowCounts } from "../RebuildReport.js"
import type { RebuildFailure } from "../RebuildStore.js"
import { RebuildStore } from "../RebuildStore.js"
import type { RebuildTarget } from "../RebuildTarget.js"
import { isByAggregate } from "../RebuildTarget.js"
import * as MemoryApply from "./MemoryApply.js"
import type { Computation, Differences } from "./MemoryComputation.js"
import * as MemoryComputation from "./MemoryComputation.js"
import { gaps, ghostProblems, incomplete, sharedKey, notRebuildable } from "./MemoryProblems.js"

type Requirements = MemoryDatabase.MemoryDatabase | EventFeed | ReadTables | ProjectionRecords

/** Rebuilds in a `MemoryDatabase`. */
export const layer: Layer.Layer<RebuildStore, never, Requirements> = Layer.effect(
  RebuildStore,
  Effect.gen(function* () {
    const services = yield* Effect.context<Requirements>()
    return RebuildStore.of({
      inspect: (target, policy) => Effect.provide(inspection(target, policy), services),
      rebuild: (run, target, policy) => Effect.provide(rebuilt(run, target, policy), services),
      diff: (run, target, policy) => Effect.provide(compared(run, target, policy), services),
      // A rebuild in memory is one batch, without lanes.
      lane: () => Effect.void,
      drop: () => Effect.void
    })
  })
)

/** A table with what its events give, and how its live rows differ. */
interface Found {
  readonly table: Table
  readonly live: ReadonlyArray<StoredRow>
  readonly computation: Computation
  readonly differences: Differences
}

/** The events of a target: those that count, and all, which tell whether streams are whole and rows have any. */
const eventsOf = (target: RebuildTarget) =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const database = yield* MemoryDatabase.MemoryDatabase
    const { events: all } = yield* MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty).get
    const counted = yield* feed.page(
      { types: target.events, withoutArchived: target.archived === "drop" },
      Number.MAX_SAFE_INTEGER
    )
    return { all, counted }
  })

const found = (target: RebuildTarget, policy: RebuildPolicy) =>
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const { purged } = yield* MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty).get
    const tables = MemoryReadTables.viewOf(database)
    const { all, counted } = yield* eventsOf(target)
    const whole = incomplete(all, counted)
    const usable = counted.filter((event) => !whole.has(streamKey(event)))
    const broken = counted.filter((event) => whole.has(streamKey(event)))
    const { work } = target
    const computed =
      work._tag === "Apply"
        ? yield* MemoryApply.compute(target, usable, policy)
        : [[work.table, MemoryComputation.compute(work, usable, MemoryComputation.keysOf(work, broken))] as const]
    return yield* Effect.forEach(computed, ([table, computation]) =>
      Effect.map(tables.rows(table), (live): Found => ({
        table,
        live,
        computation,
        differences: withoutPurged(
          MemoryComputation.compare(table, live, computation, hasEvents(target, table, all)),
          table,
          new Set([...purged.keys()].map((key) => key.slice(key.indexOf("/") + 1)))
        )
      }))
    )
  })

/** Rows of purged streams are known, and stay. */
const withoutPurged = (differences: Differences, { primaryKey }: Table, ids: ReadonlySet<string>): Differences => ({
  ...differences,
  surplus: differences.surplus.filter(
    ({ isGhost, key }) =>
      !(isGhost && primaryKey.length === 1 && ids.has(String(key[primaryKey[0] ?? ""]).toLowerCase()))
  )
})

const hasEvents = (target: RebuildTarget, table: Table, all: ReadonlyArray<Event>) => {
  const ids = new Set(
    all.filter(({ type }) => target.events.includes(type)).map(({ aggregateId }) => aggregateId.toLowerCase())
  )
  const [column = ""] = table.primaryKey
  return (key: Key): boolean => isByAggregate(target) && ids.has(String(key[column]).toLowerCase())
}

const inspection = (target: RebuildTarget, policy: RebuildPolicy) =>
  Effect.gen(function* () {
    const { all, counted } = yield* eventsOf(target)
    const problems: ReadonlyArray<RebuildProblem> = [
      ...notRebuildable(target, policy),
      ...sharedKey(target, counted),
      ...(policy.onPoison === "quarantine" ? [] : gaps(target, incomplete(all, counted)))
    ]
    // Events that cannot be folded end the rebuild, and not its plan.
    const tables = Arr.isNonEmptyReadonlyArray(problems)
      ? []
      : yield* Effect.orElseSucceed(found(target, { ...policy, onPoison: "quarantine" }), () => [])
    const keys = tables.flatMap(ghostsOf)
    return {
      problems: isByAggregate(target) ? [...problems, ...ghostProblems(target, policy, keys)] : problems,
      notes: [],
      events: counted.length,
      aggregateTypes: [...new Set(counted.map(({ aggregateType }) => aggregateType))],
      rows: tables.reduce((sum, { live }) => sum + live.length, 0),
      ghosts: keys.length,
      bytes: 0,
      shape: ""
    }
  })

const ghostsOf = ({ differences }: Found): ReadonlyArray<Key> =>
  differences.surplus.flatMap(({ isGhost, key }) => (isGhost ? [key] : []))

const rebuilt = (
  run: RunHandle,
  target: RebuildTarget,
  policy: RebuildPolicy
): Effect.Effect<RebuildReport, RebuildFailure, Requirements> =>
  Effect.gen(function* () {
    const upTo = yield* (yield* EventFeed).settled(policy.lockTimeout)
    return yield* run.batch(
      Effect.gen(function* () {
        const { counted } = yield* eventsOf(target)
        const tables = yield* found(target, policy)
        yield* refusePoison(tables, policy)
        const keys = tables.flatMap(ghostsOf)
        const [refused] = ghostProblems(target, policy, keys)
        if (refused !== undefined) return yield* refused
        const rows = yield* Effect.forEach(tables, (table) => merged(table, policy))
        const deadLetters = tables.reduce((sum, { computation }) => sum + computation.poison.length, 0)
        yield* recorded(run, target, deadLetters)
        const report: RebuildReport = {
          projections: target.projections.map(({ name }) => name),
          tables: target.tables.map(({ name }) => name),
          runId: run.id,
          mode: policy.mode === "auto" ? "merge" : policy.mode,
          events: counted.length,
          rows: rows.reduce(added, noRows),
          ghosts: {
            kept: policy.ghosts === "keep" ? keys.length : 0,
            deleted: policy.ghosts === "delete" ? keys.length : 0,
            keys: MemoryComputation.keyTexts(keys)
          },
          mended: 0,
          unsettled: [],
          deadLetters,
          cutOver: { tries: 1, stalledMs: 0 },
          anew: 0,
          notes: []
        }
        const { length: done } = counted
        return { value: report, phase: "settled", cursor: `${upTo}`, done, total: done, counters: { events: done } }
      })
    )
  })

/** Fails with the first event that cannot be read or folded, unless such events are left out. */
const refusePoison = (tables: ReadonlyArray<Found>, { onPoison }: RebuildPolicy) => {
  const failure = Arr.findFirst(tables, ({ computation }) => MemoryComputation.firstFailure(computation))
  return onPoison === "fail" && Option.isSome(failure) ? Effect.fail(failure.value) : Effect.void
}

const noRows: RowCounts = { inserted: 0, updated: 0, deleted: 0 }

const added = (a: RowCounts, b: RowCounts): RowCounts => ({
  inserted: a.inserted + b.inserted,
  updated: a.updated + b.updated,
  deleted: a.deleted + b.deleted
})

/** Writes what differs. Changed rows are removed first, as they may exchange unique values. */
const merged = ({ differences: { different, missing, surplus }, table }: Found, { ghosts }: RebuildPolicy) =>
  Effect.gen(function* () {
    const tables = yield* ReadTables
    const gone = surplus.flatMap(({ isGhost, key }) => (isGhost && ghosts === "keep" ? [] : [key]))
    const removed = [...gone, ...different.map((row) => keyOf(table, row))]
    const put = [...different, ...missing]
    if (Arr.isNonEmptyReadonlyArray(removed)) yield* tables.remove(table, removed)
    // Rows of which each was folded by itself may take one another's unique values: nothing of this rebuild is kept then.
    if (Arr.isNonEmptyReadonlyArray(put))
      yield* Effect.catchTag(tables.put(table, put), "UniqueTaken", (taken) =>
        Effect.fail(MemoryComputation.notStored(table, taken.message))
      )
    return { inserted: missing.length, updated: different.length, deleted: gone.length }
  })

const recorded = ({ id }: RunHandle, { projections }: RebuildTarget, deadLetters: number) =>
  Effect.gen(function* () {
    const records = yield* ProjectionRecords
    const database = yield* MemoryDatabase.MemoryDatabase
    yield* records.built(
      Arr.map(projections, ({ name, version = 1 }) => ({ name, version })),
      id
    )
    const names = new Set(projections.map(({ name }) => name))
    yield* MemoryDatabase.view(database, MemoryProjections, MemoryProjections.empty).update(
      (all) =>
        new Map(
          [...all].map(([name, record]) => [name, names.has(name) ? { ...record, deadLetters } : record] as const)
        )
    )
  })

const compared = (
  run: RunHandle,
  target: RebuildTarget,
  policy: RebuildPolicy
): Effect.Effect<RebuildDiff, RebuildFailure, Requirements> =>
  Effect.gen(function* () {
    yield* (yield* EventFeed).settled(policy.lockTimeout)
    return yield* run.batch(
      Effect.gen(function* () {
        const { counted } = yield* eventsOf(target)
        const tables = yield* found(target, policy)
        yield* refusePoison(tables, policy)
        const diff: RebuildDiff = {
          projections: target.projections.map(({ name }) => name),
          events: counted.length,
          tables: tables.map(({ differences, table }) => MemoryComputation.ofTable(table, differences)),
          deadLetters: tables.reduce((sum, { computation }) => sum + computation.poison.length, 0)
        }
        return { value: diff, phase: "compared", done: counted.length, total: counted.length }
      })
    )
  })
