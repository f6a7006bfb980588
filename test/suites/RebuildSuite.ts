/**
 * What every rebuild of a fold does, and every comparison with its events.
 */
import { assert, layer } from "@effect/vitest"
import type { Layer } from "effect"
import { Effect, Option, Ref, Schema } from "effect"
import type { EsOps, Run } from "effect-es-ops"
import {
  Event,
  EventStore,
  EventType,
  Feature,
  Projection,
  ProjectionRebuild,
  ProjectionStatus,
  ReadTables,
  RebuildReport,
  RunObserver
} from "effect-es-ops"
import { randomUUID } from "node:crypto"

const placed = EventType.make({ type: "order.placed", payload: Schema.Struct({ sku: Schema.String }) })
const shipped = EventType.make({ type: "order.shipped", payload: Schema.Struct({}) })
const cancelled = EventType.make({ type: "order.cancelled", payload: Schema.Struct({}) })

const table = Feature.table({
  name: "read_orders",
  columns: [
    { name: "id", type: "uuid" },
    { name: "sku", type: "text" },
    { name: "shipped", type: "boolean" },
    { name: "placed_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["sku"]],
  row: Schema.Struct({ id: Schema.String, sku: Schema.String, shipped: Schema.Boolean })
})

const orders = Projection.fold({
  name: "orders",
  table,
  on: [
    [placed, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, sku: payload.sku, shipped: false })],
    [shipped, (row) => Option.map(row, (found) => ({ ...found, shipped: true }))],
    [cancelled, () => Option.none()]
  ]
})

const skuTable = Feature.table({
  name: "read_skus",
  columns: [{ name: "sku", type: "text" }],
  primaryKey: ["sku"],
  row: Schema.Struct({ sku: Schema.String })
})

const skus = Projection.rows({
  name: "skus",
  table: skuTable,
  on: [[placed, ({ payload: { sku } }) => [{ sku }]]]
})

/** The feature whose tables are rebuilt. */
export const feature = Feature.make({ name: "orders", handlers: [], projections: [orders, skus], tables: [table] })

const stream = (aggregateId: string, tenantId: string, types: ReadonlyArray<string>) =>
  types.map((type, at): Event.NewEvent => ({
    tenantId,
    aggregateId,
    aggregateType: "order",
    version: at + 1,
    type,
    eventVersion: 1,
    payload: type === "order.placed" ? { sku: aggregateId.slice(0, 8) } : {},
    metadata: { userId: Event.systemUserId }
  }))

const tenantId = randomUUID()

/** Appends without any projection, so that the table lacks what the events say. */
const append = (aggregateId: string, types: ReadonlyArray<string>, tenant = tenantId) =>
  Effect.gen(function* () {
    const [first, ...others] = stream(aggregateId, tenant, types)
    if (first !== undefined) yield* (yield* EventStore.EventStore).append([first, ...others])
    return aggregateId
  })

/** The rows as they stand, without the column that has a default. */
const rowsNow = Effect.gen(function* () {
  const tables = yield* ReadTables.ReadTables
  const rows = yield* tables.page(table, undefined, 100)
  return rows.map(({ id, shipped: isShipped, sku }) => [id, sku, isShipped])
})

const put = (id: string, sku: string, isShipped: boolean) =>
  Effect.flatMap(ReadTables.ReadTables, (tables) => tables.put(table, [{ id, sku, shipped: isShipped }]))

const differences = Effect.map(ProjectionRebuild.diff({ projections: ["orders"] }), ([diff]) => {
  const [found] = diff?.tables ?? []
  return [found?.missing.count, found?.surplus.count, found?.different.count]
})

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`RebuildStore: ${name}`, (it) => {
    it.effect("makes the table the fold of its events, says what differed, and finds nothing the second time", () =>
      Effect.gen(function* () {
        const missing = yield* append(randomUUID(), ["order.placed", "order.shipped"])
        const right = yield* append(randomUUID(), ["order.placed"])
        const wrong = yield* append(randomUUID(), ["order.placed", "order.shipped"])
        const surplus = yield* append(randomUUID(), ["order.placed", "order.cancelled"])
        yield* put(right, right.slice(0, 8), false)
        yield* put(wrong, "other", false)
        yield* put(surplus, "surplus", true)
        assert.deepStrictEqual(yield* differences, [1, 1, 1])
        const [report] = yield* ProjectionRebuild.run({ projections: ["orders"] })
        assert.deepInclude(report, {
          projections: ["orders"],
          tables: ["read_orders"],
          mode: "merge",
          rows: { inserted: 1, updated: 1, deleted: 1 },
          mended: 0,
          deadLetters: 0
        })
        const expected = [
          [missing, missing.slice(0, 8), true],
          [right, right.slice(0, 8), false],
          [wrong, wrong.slice(0, 8), true]
        ]
        assert.sameDeepMembers([...(yield* rowsNow)], expected)
        assert.deepStrictEqual(yield* differences, [0, 0, 0])
        const [again] = yield* ProjectionRebuild.run({ projections: ["orders"] })
        assert.deepInclude(again, { rows: { inserted: 0, updated: 0, deleted: 0 } })
        const [status] = yield* ProjectionStatus.status
        assert.isTrue(Option.isSome(status?.lastRebuild ?? Option.none()))
        assert.deepInclude(status, { builtVersion: 1, outdated: false, run: Option.none(), deadLetters: 0 })
      })
    )

    it.effect("tells from its beginning how many events there are, and ends with all of them done", () =>
      Effect.gen(function* () {
        yield* append(randomUUID(), ["order.placed", "order.shipped"])
        yield* append(randomUUID(), ["order.placed"])
        const seen = yield* Ref.make<ReadonlyArray<Run.Run>>([])
        const observer = { ...RunObserver.silent, progress: (run: Run.Run) => Ref.update(seen, (all) => [...all, run]) }
        for (const operation of [ProjectionRebuild.run, ProjectionRebuild.diff]) {
          yield* Ref.set(seen, [])
          for (const projection of ["orders", "skus"]) {
            yield* operation({ projections: [projection], observer })
            const [first, ...others] = yield* Ref.getAndSet(seen, [])
            const last = others.at(-1) ?? first
            assert.isAbove(
              Option.getOrElse(first?.total ?? Option.none(), () => 0),
              2
            )
            assert.deepStrictEqual(Option.some(last?.done), last?.total)
          }
        }
      })
    )

    it.effect("exchanges unique values between rows", () =>
      Effect.gen(function* () {
        const [a, b] = [yield* append(randomUUID(), ["order.placed"]), yield* append(randomUUID(), ["order.placed"])]
        yield* put(a, b.slice(0, 8), false)
        yield* put(b, a.slice(0, 8), false)
        yield* ProjectionRebuild.run({ projections: ["orders"] })
        assert.deepStrictEqual(yield* differences, [0, 0, 0])
      })
    )

    it.effect("leaves rows of archived streams out, as their events do not count", () =>
      Effect.gen(function* () {
        const id = yield* append(randomUUID(), ["order.placed"])
        yield* ProjectionRebuild.run({ projections: ["orders"] })
        const store = yield* EventStore.EventStore
        yield* store.archive({ tenantId, aggregateId: id, aggregateType: "order", archivedBy: "me" })
        yield* put(id, id.slice(0, 8), false)
        assert.deepStrictEqual(yield* differences, [0, 1, 0])
        const [planned] = yield* ProjectionRebuild.plan({ projections: ["orders"] })
        const [report] = yield* ProjectionRebuild.run({ projections: ["orders"] })
        assert.strictEqual(planned?.events, report?.events)
        assert.notInclude(
          (yield* rowsNow).map(([row]) => row),
          id
        )
      })
    )

    it.effect("refuses rows without any event, unless they are to be kept or so many are to be deleted", () =>
      Effect.gen(function* () {
        const ghost = randomUUID()
        yield* put(ghost, "ghost", false)
        const refused = yield* Effect.flip(ProjectionRebuild.run({ projections: ["orders"] }))
        assert.deepInclude(refused, { _tag: "RebuildRefused" })
        assert.include(refused.message, ghost)
        const [kept] = yield* ProjectionRebuild.run({ projections: ["orders"], ghosts: "keep" })
        assert.deepInclude(kept?.ghosts, { kept: 1, deleted: 0 })
        const unexpected = yield* Effect.flip(
          ProjectionRebuild.run({ projections: ["orders"], ghosts: "delete", expect: 2 })
        )
        assert.include(unexpected.message, "UnexpectedGhosts")
        const [plan] = yield* ProjectionRebuild.plan({ projections: ["orders"], ghosts: "delete", expect: 1 })
        assert.deepInclude(plan, { projections: ["orders"], tables: ["read_orders"], ghosts: 1, problems: [] })
        const [deleted] = yield* ProjectionRebuild.run({ projections: ["orders"], ghosts: "delete", expect: 1 })
        assert.deepInclude(deleted?.ghosts, { kept: 0, deleted: 1 })
        assert.deepStrictEqual(yield* differences, [0, 0, 0])
      })
    )

    it.effect("counts rows without any event once it has computed them, where the key is not the aggregate", () =>
      Effect.gen(function* () {
        yield* ProjectionRebuild.run({ projections: ["skus"] })
        yield* (yield* ReadTables.ReadTables).put(skuTable, [{ sku: "nobody's" }])
        const deleting = { projections: ["skus"], ghosts: "delete" } as const
        const unexpected = yield* Effect.flip(ProjectionRebuild.run({ ...deleting, expect: 2 }))
        assert.deepInclude({ ...unexpected }, { _tag: "UnexpectedGhosts", expected: 2, found: 1 })
        const [plan] = yield* ProjectionRebuild.plan({ ...deleting, expect: 1 })
        assert.deepStrictEqual(plan?.problems, [])
        const [deleted] = yield* ProjectionRebuild.run({ ...deleting, expect: 1 })
        assert.deepInclude(deleted?.ghosts, { kept: 0, deleted: 1 })
      })
    )

    it.effect("leaves the table as it is where an event cannot be read, or keeps the row of its key", () =>
      Effect.gen(function* () {
        const poisoned = randomUUID()
        const store = yield* EventStore.EventStore
        const [bad] = stream(poisoned, tenantId, ["order.placed"])
        if (bad !== undefined) yield* store.append([{ ...bad, payload: { sku: 1 } }])
        yield* put(poisoned, "as it was", true)
        const other = yield* append(randomUUID(), ["order.placed"])
        const failed = yield* Effect.flip(ProjectionRebuild.run({ projections: ["orders"] }))
        assert.strictEqual(failed._tag, "EventUnreadable")
        assert.notInclude(
          (yield* rowsNow).map(([id]) => id),
          other
        )
        const [report] = yield* ProjectionRebuild.run({ projections: ["orders"], onPoison: "quarantine" })
        assert.deepInclude(report, { deadLetters: 1, rows: { inserted: 1, updated: 0, deleted: 0 } })
        assert.deepInclude(yield* rowsNow, [poisoned, "as it was", true])
        assert.strictEqual((yield* ProjectionStatus.status)[0]?.deadLetters, 1)
      })
    )

    it.effect("refuses an aggregate id that two tenants have, before anything is written", () =>
      Effect.gen(function* () {
        const id = yield* append(randomUUID(), ["order.placed"])
        yield* append(id, ["order.shipped"], randomUUID())
        const refused = yield* Effect.flip(
          ProjectionRebuild.run({ projections: ["orders"], onPoison: "quarantine", ghosts: "keep" })
        )
        assert.strictEqual(refused._tag, "RebuildRefused")
        assert.include(refused.message, `SharedKey: projection "orders"`)
        const unknown = yield* Effect.flip(ProjectionRebuild.run({ projections: ["odrers"] }))
        assert.deepInclude(unknown, { _tag: "UnknownProjection", known: ["orders", "skus"] })
        assert.deepStrictEqual(yield* ProjectionRebuild.run(), [])
        assert.isTrue(RebuildReport.isEqual({ projections: [], events: 0, tables: [], deadLetters: 0 }))
      })
    )
  })
