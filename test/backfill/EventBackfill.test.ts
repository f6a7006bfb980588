/**
 * Backfills in memory: each row once, with its date, and rows that fail by themselves.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema, Stream, TestClock } from "effect"
import {
  Backfill,
  EsOps,
  EventBackfill,
  EventStore,
  EventType,
  Feature,
  Projection,
  ReadTables,
  RunObserver,
  WriteHandler
} from "effect-es-ops"
import type { Event } from "effect-es-ops"

const placed = EventType.make({ type: "order.placed", payload: Schema.Struct({ sku: Schema.String }) })

interface Row {
  readonly id: string
  readonly sku: string
  readonly at: Date
}

const Row = Schema.Struct({ id: Schema.String, sku: Schema.String, at: Schema.DateFromSelf })

const at = new Date("2020-02-03T04:05:06.789Z")

const stored = (rows: ReadonlyArray<Row>, after: Option.Option<string>) =>
  Stream.fromIterable(rows).pipe(
    Stream.filter(({ id }) => Option.match(after, { onNone: () => true, onSome: (key) => id > key }))
  )

const world = (
  rows: () => ReadonlyArray<Row>,
  more: Partial<Parameters<typeof Backfill.make<Row>>[0]> = {},
  folded: Array<Event.Event> = [],
  others: ReadonlyArray<Feature.Feature<EsOps.Base>> = []
) => {
  const backfill = Backfill.make({
    name: "orders",
    aggregateType: "order",
    source: Backfill.rows({ row: Row, key: ({ id }) => id, rows: (after) => stored(rows(), after) }),
    toEvents: ({ at, sku }: Row) => [
      Backfill.event(placed, { payload: { sku }, occurredAt: at, createdBy: "clerk" }),
      {
        type: "order.counted",
        payload: { total: Backfill.json("9007199254740993.10") },
        occurredAt: at,
        createdBy: "clerk"
      }
    ],
    ...more
  })
  const projection = Projection.make({
    name: "seen",
    events: ["order.placed"],
    apply: (events) =>
      Effect.suspend(() => {
        if (events.some(({ payload }) => payload["sku"] === "taken"))
          return WriteHandler.reject("conflict", "sku is taken")
        folded.push(...events)
        return Effect.void
      })
  })
  return EsOps.layerMemory({
    seeds: {},
    features: [Feature.make({ name: "f", handlers: [], projections: [projection], backfills: [backfill] }), ...others]
  })
}

const backfill = EventBackfill.run({ backfill: "orders", appliedBy: "cli", observer: RunObserver.silent }).pipe(
  Effect.map(({ value }) => Option.getOrThrow(value))
)

const today = TestClock.setTime(new Date("2026-01-01").getTime())

const load = (key: string) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    store.load({ tenantId: "00000000-0000-4000-8000-000000000000", aggregateId: Backfill.streamId("orders", key) })
  )

describe("a backfill", () => {
  it.effect("begins no stream twice, and its plan says so", () =>
    Effect.gen(function* () {
      yield* today
      const { locksRows: _, ...plan } = yield* EventBackfill.plan("orders")
      const report = yield* backfill
      assert.deepInclude(report, { rows: 2, appended: 1, failed: 1 })
      assert.deepStrictEqual({ ...plan, failures: [] }, { ...report, failures: [] })
    }).pipe(
      Effect.provide(
        world(() => ["1", "2"].map((id) => ({ id, sku: "a", at })), {
          aggregateIdOf: () => Backfill.streamId("orders", "0")
        })
      )
    )
  )

  it.effect("makes one stream of each row, dated as the row says, and its projections see the events", () => {
    const folded: Array<Event.Event> = []
    return Effect.gen(function* () {
      yield* today
      assert.deepInclude(yield* backfill, { rows: 2, appended: 2, events: 4, done: 0, changed: 0, failed: 0 })
      const [first, second] = yield* load("1")
      assert.deepInclude(first, { version: 1, type: "order.placed", payload: { sku: "a" }, createdBy: "clerk" })
      assert.strictEqual(String(first?.createdAt), "DateTime.Utc(2020-02-03T04:05:06.789Z)")
      assert.strictEqual(first?.metadata.headers?.["backfill"], "orders")
      assert.strictEqual(second?.version, 2)
      assert.strictEqual(folded.length, 2)
    }).pipe(
      Effect.provide(
        world(
          () => [
            { id: "1", sku: "a", at },
            { id: "2", sku: "b", at }
          ],
          {},
          folded
        )
      )
    )
  })

  it.effect("finds what it has done, lists what was changed since, and takes what is new", () => {
    let rows: ReadonlyArray<Row> = [
      { id: "1", sku: "a", at },
      { id: "2", sku: "b", at }
    ]
    return Effect.gen(function* () {
      yield* today
      yield* backfill
      assert.deepInclude(yield* backfill, { rows: 2, appended: 0, events: 0, done: 2 })
      rows = [
        { id: "0", sku: "new", at },
        { id: "1", sku: "a", at },
        { id: "2", sku: "changed", at }
      ]
      assert.deepInclude(yield* backfill, { appended: 1, done: 1, changed: 1, changedKeys: ["2"] })
      assert.strictEqual((yield* load("2")).length, 2)
    }).pipe(Effect.provide(world(() => rows)))
  })

  it.effect("leaves out the rows that fail, and goes on with the others", () =>
    Effect.gen(function* () {
      yield* today
      const { locksRows, ...plan } = yield* EventBackfill.plan("orders")
      assert.deepStrictEqual([locksRows, yield* load("1")], [false, []])
      const report = yield* backfill
      assert.deepInclude(report, { rows: 4, appended: 2, failed: 2, eventTypes: ["order.counted", "order.placed"] })
      assert.deepStrictEqual(plan, report)
      assert.deepStrictEqual(
        report.failures.map(({ error, key }) => [key, error.message]),
        [
          ["2", "sku is taken"],
          ["3", "the date of order.placed is in the future: 2031-01-01T00:00:00.000Z"]
        ].toSorted()
      )
      assert.deepStrictEqual(yield* load("2"), [])
    }).pipe(
      Effect.provide(
        world(() => [
          { id: "1", sku: "a", at },
          { id: "2", sku: "taken", at },
          { id: "3", sku: "c", at: new Date("2031-01-01") },
          { id: "4", sku: "d", at }
        ])
      )
    )
  )

  it.effect("compares the read tables that it feeds, in a second run too, and says of which nothing is known", () => {
    const table = Feature.table({
      name: "read_orders",
      columns: [
        { name: "id", type: "uuid" },
        { name: "sku", type: "text" }
      ],
      primaryKey: ["id"],
      row: Schema.Struct({ id: Schema.String, sku: Schema.String })
    })
    const orders = Projection.fold({
      name: "orders",
      table,
      on: [[placed, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, sku: payload.sku })]]
    })
    const verified = Effect.map(
      EsOps.verifiedBackfill({ backfill: "orders", appliedBy: "cli", observer: RunObserver.silent }),
      ({ report, verification: { diffs, equal, unverified } }) => ({
        appended: report.appended,
        equal,
        unverified,
        differing: diffs.flatMap(({ tables }) =>
          tables.map(({ different, missing }) => [different.count, missing.count])
        )
      })
    )
    return Effect.gen(function* () {
      yield* today
      const right = { equal: true, unverified: ["seen"], differing: [[0, 0]] }
      assert.deepStrictEqual(yield* verified, { appended: 2, ...right })
      assert.deepStrictEqual(yield* verified, { appended: 0, ...right })
      const rows = yield* ReadTables.ReadTables
      yield* rows.put(table, [{ id: Backfill.streamId("orders", "1"), sku: "wrong" }])
      yield* rows.remove(table, [{ id: Backfill.streamId("orders", "2") }])
      assert.deepStrictEqual(yield* verified, { appended: 0, ...right, equal: false, differing: [[1, 1]] })
    }).pipe(
      Effect.provide(
        world(
          () => ["1", "2"].map((id) => ({ id, sku: id, at })),
          {},
          [],
          [Feature.make({ name: "shop", handlers: [], tables: [table], projections: [orders] })]
        )
      )
    )
  })

  it.effect("refuses a stream that is there and not its own, an archived id, and functions that are not pure", () => {
    let asked = 0
    return Effect.gen(function* () {
      yield* today
      const store = yield* EventStore.EventStore
      const stream = (key: string) => ({
        tenantId: "00000000-0000-4000-8000-000000000000",
        aggregateId: Backfill.streamId("orders", key),
        aggregateType: "order"
      })
      yield* store.append([
        {
          ...stream("2"),
          version: 1,
          type: "order.placed",
          eventVersion: 1,
          payload: { sku: "x" },
          metadata: { userId: "u" }
        }
      ])
      yield* store.archive({ ...stream("3"), archivedBy: "u" })
      const { failures } = yield* backfill
      assert.deepStrictEqual(
        failures.map(({ error, key }) => `${key}: ${error.message.replaceAll(/[\da-f-]{36}/g, "…")}`),
        [
          "1: toEvents gives different events each time it is asked: it has to be pure",
          '2: stream … exists and is not of this row of backfill "orders"',
          "3: stream … is archived"
        ]
      )
    }).pipe(
      Effect.provide(
        world(() => ["1", "2", "3"].map((id) => ({ id, sku: "a", at })), {
          toEvents: ({ id, at }) => [
            { type: "order.placed", payload: { n: id === "1" ? ++asked : 0 }, occurredAt: at, createdBy: "u" }
          ]
        })
      )
    )
  })
})
