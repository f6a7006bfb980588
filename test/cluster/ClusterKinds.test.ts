/**
 * Kinds of operation beside rebuilds whose lanes are worked on by a cluster: each row and each event is done once.
 */
import { TestRunner } from "@effect/cluster"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Schema, Tracer } from "effect"
import { Backfill, EsOps, EventBackfill, EventReplay, EventType, Feature, RunObserver, Subscriber } from "effect-es-ops"
import { layerCluster } from "../../src/cluster/EsOpsCluster.js"
import * as Database from "../support/TestDatabase.js"
import { TestDatabase } from "../support/TestDatabase.js"

const rows = 600

const orders = Backfill.make({
  name: "orders",
  aggregateType: "order",
  source: Backfill.query({
    query: "SELECT id, sku FROM legacy",
    key: "id",
    row: Schema.Struct({ sku: Schema.String })
  }),
  toEvents: ({ sku }) => [{ type: "placed", payload: { sku }, occurredAt: new Date(0), createdBy: "clerk" }]
})

const placed = EventType.make({ type: "placed", payload: Schema.Struct({ sku: Schema.String }) })

/** A subscriber that counts what it is given, by the values of the rows. */
const counting = (given: Map<string, number>) =>
  Subscriber.make({
    name: "mail",
    events: [placed],
    replay: "allowed",
    handle: ({ payload: { sku } }) => Effect.sync(() => void given.set(sku, (given.get(sku) ?? 0) + 1))
  })

const featuresOf = (given: Map<string, number>) => [
  Feature.make({ name: "orders", handlers: [], projections: [], backfills: [orders], subscribers: [counting(given)] })
]

/** A cluster of one runner, in this process. */
const cluster = layerCluster.pipe(Layer.provide(TestRunner.layer))

/** How many messages of lanes an effect sends, and its value. */
const sentBy = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tracerWith((tracer) => {
    let sent = 0
    const noting: Tracer.Tracer = {
      ...tracer,
      span: (...args) => {
        if (args[0].startsWith("effect-es-ops/Lane.client.")) sent++
        return tracer.span(...args)
      }
    }
    return Effect.map(Effect.withTracer(effect, noting), (value) => ({ sent, value }))
  })

const world = (given: Map<string, number>) =>
  EsOps.layer({ seeds: {}, features: featuresOf(given) }).pipe(
    Layer.provide(Database.client()),
    Layer.provideMerge(Database.layer)
  )

const options = { appliedBy: "cli", observer: RunObserver.silent, lanes: 4 } as const

describe("the lanes of a cluster", () => {
  it.live("backfill each row once, and replay each event once", () => {
    const given = new Map<string, number>()
    return Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const statements = yield* EsOps.ddl({ features: featuresOf(given) })
      yield* Effect.promise(() => query(statements.filter((text) => /kumiko_/.test(text)).join(";")))
      yield* Effect.promise(() =>
        query(`CREATE TABLE legacy (id bigint PRIMARY KEY, sku text NOT NULL);
          INSERT INTO legacy SELECT g, 's' || g FROM generate_series(1, ${rows}) g`)
      )
      const filled = yield* sentBy(EventBackfill.run({ backfill: "orders", ...options }))
      assert.isAtLeast(filled.sent, 4)
      assert.deepInclude(Option.getOrThrow(filled.value.value), { rows, appended: rows, events: rows, failed: 0 })
      const found = yield* Effect.promise(() =>
        query("SELECT count(*)::int AS events, count(DISTINCT payload->>'sku')::int AS rows FROM kumiko_events")
      )
      assert.deepStrictEqual(found, [{ events: rows, rows }])
      const replayed = yield* sentBy(EventReplay.run({ subscriber: "mail", bounds: { all: true }, ...options }))
      assert.isAtLeast(replayed.sent, 4)
      assert.strictEqual(given.size, rows)
      assert.deepStrictEqual([...new Set(given.values())], [1])
    }).pipe(Effect.provide(cluster), Effect.scoped, Effect.provide(world(given)))
  })
})
