/**
 * Every kind of operation on an events table that is partitioned by tenant, as an application with many tenants may have it.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import {
  Backfill,
  EsOps,
  EventBackfill,
  EventReplay,
  ProjectionRebuild,
  RunObserver,
  SnapshotRebuild,
  SnapshotReport,
  StreamArchive,
  StreamMove,
  StreamPurge,
  StreamRestore
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { order, placed, rowOf, shop } from "../../suites/ArchiveSuite.js"
import { sales } from "../../suites/SalesFeature.js"
import { tables } from "../../support/services.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const backfills = [
  Backfill.make({
    name: "legacy",
    aggregateType: "order",
    source: Backfill.table({ table: "legacy", key: "id", row: Schema.Struct({ sku: Schema.String }) }),
    toEvents: ({ sku }) => [
      Backfill.event(placed, { payload: { sku }, occurredAt: new Date("2020-01-01"), createdBy: "clerk" })
    ]
  })
]

const features = [shop, { ...sales, backfills }]

/** Our own statements, but that the events are in three parts by the hash of their tenant. */
const partitioned = Effect.gen(function* () {
  const { query } = yield* TestDatabase
  const events = (yield* EsOps.ddl({ seeds: {} })).filter((each) => each.includes("kumiko_events"))
  for (const each of events) {
    yield* Effect.promise(() =>
      query(
        each.startsWith("CREATE TABLE") ? `${each.replace(" PRIMARY KEY", "")} PARTITION BY HASH (tenant_id)` : each
      )
    )
  }
  yield* Effect.promise(() =>
    query(`ALTER TABLE kumiko_events ADD PRIMARY KEY (id, tenant_id);
      CREATE TABLE legacy (id bigint PRIMARY KEY, sku text NOT NULL);
      ${[0, 1, 2].map((n) => `CREATE TABLE events_${n} PARTITION OF kumiko_events FOR VALUES WITH (MODULUS 3, REMAINDER ${n})`).join("; ")}`)
  )
})

const services = tables.pipe(
  Layer.provideMerge(EsOps.layer({ seeds: {}, features })),
  Layer.provideMerge(Layer.effectDiscard(partitioned)),
  Layer.provideMerge(Database.client({ maxConnections: 12 })),
  Layer.provideMerge(Database.layer)
)

const { silent: observer } = RunObserver

const differing = Effect.map(ProjectionRebuild.diff({ projections: ["orders"] }), (diffs) =>
  diffs.flatMap(({ tables }) =>
    tables.map(({ different, missing, surplus }) => [missing.count, surplus.count, different.count])
  )
)

layer(services, { excludeTestServices: true })("an events table with partitions", (it) => {
  it.effect("is folded by rebuilds, compared, and folded into snapshots", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const made = yield* Effect.forEach(Array.from({ length: 9 }), () => order(["order.placed", "order.shipped"]))
      const parts = yield* Effect.promise(() => query("SELECT DISTINCT tableoid::regclass::text FROM kumiko_events"))
      assert.isAbove(parts.length, 1)
      assert.deepStrictEqual(yield* differing, [[0, 0, 0]])
      for (const mode of ["merge", "gradual", "swap"] as const) {
        yield* Effect.promise(() =>
          query("UPDATE read_orders SET shipped = false WHERE id = $1", [made[0]?.aggregateId])
        )
        assert.deepStrictEqual(yield* differing, [[0, 0, 1]])
        yield* ProjectionRebuild.run({ projections: ["orders"], mode })
        assert.deepStrictEqual(yield* differing, [[0, 0, 0]])
      }
      const { value } = yield* SnapshotRebuild.run({ aggregate: "order", lanes: 2, appliedBy: "cli", observer })
      assert.deepInclude(Option.getOrThrow(value), { streams: 9, events: 18, missing: 9 })
      assert.isTrue(SnapshotReport.isClean(yield* SnapshotRebuild.verify("order")))
    })
  )

  it.effect("is moved in from one partition to another, split streams included", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      for (const to of Array.from({ length: 4 }, () => randomUUID())) {
        const made = yield* order(["order.placed", "order.shipped"])
        const move = { aggregateId: made.aggregateId, from: made.tenantId, to }
        yield* Effect.promise(() =>
          query(
            `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
            VALUES ($1, 'order', $2, 1, 'order.shipped', '{}', '{"userId": "u"}', 'u')`,
            [made.aggregateId, to]
          )
        )
        assert.deepInclude(yield* StreamMove.run({ moves: [move], merge: true }), { moved: 1, stragglers: [] })
        const found = yield* Effect.promise(() =>
          query(
            `SELECT tenant_id::text AS tenant, array_agg(version ORDER BY id) AS versions FROM kumiko_events WHERE aggregate_id = $1 GROUP BY 1`,
            [made.aggregateId]
          )
        )
        assert.deepStrictEqual(found, [{ tenant: to, versions: [1, 2, 3] }])
        assert.deepInclude(yield* rowOf(made.aggregateId), { tenant_id: to })
      }
    })
  )

  it.effect("loses streams that are purged, and keeps those that were restored", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const made = yield* Effect.forEach(Array.from({ length: 6 }), () => order(["order.placed", "order.shipped"]))
      assert.lengthOf((yield* StreamArchive.run({ streams: made })).changed, 6)
      const [kept = yield* order([]), ...others] = made
      assert.lengthOf((yield* StreamRestore.run({ streams: [kept] })).changed, 1)
      assert.isDefined(yield* rowOf(kept.aggregateId))
      const purge = StreamPurge.run({ archivedBefore: 0, types: ["order"], acceptProjectionLoss: true })
      assert.deepInclude(yield* purge, { streams: 5, events: 10, failed: [], leftover: [] })
      const left = yield* Effect.promise(() =>
        query("SELECT count(*)::integer AS count FROM kumiko_events WHERE aggregate_id = ANY ($1)", [
          others.map(({ aggregateId }) => aggregateId)
        ])
      )
      assert.deepStrictEqual(left, [{ count: 0 }])
      const refused = yield* Effect.flip(order(["order.placed"], { ...others[0], sku: "again" }))
      assert.propertyVal(refused, "_tag", "StreamPurged")
    })
  )

  it.effect("is backfilled, and replayed", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() => query("INSERT INTO legacy SELECT g, 'legacy-' || g FROM generate_series(1, 30) g"))
      const backfill = EventBackfill.run({ backfill: "legacy", lanes: 2, appliedBy: "cli", observer })
      assert.deepInclude(Option.getOrThrow((yield* backfill).value), { appended: 30, failed: 0 })
      assert.deepInclude(Option.getOrThrow((yield* backfill).value), { appended: 0, done: 30 })
      const { events } = yield* EventReplay.plan({ subscriber: "mail", bounds: { all: true } })
      const replay = EventReplay.run({
        subscriber: "mail",
        bounds: { all: true },
        lanes: 2,
        appliedBy: "cli",
        observer
      })
      assert.deepInclude(Option.getOrThrow((yield* replay).value), { delivered: events, failed: 0 })
    })
  )
})
