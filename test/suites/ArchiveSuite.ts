/**
 * What archiving and restoring streams does, whatever the database.
 */
import { assert, layer } from "@effect/vitest"
import type { Layer } from "effect"
import { Effect, Option, Predicate, Schema } from "effect"
import {
  ArchiveMarks,
  Event,
  EventStore,
  EventType,
  Feature,
  Projection,
  ProjectionRecords,
  ReadTables,
  StreamArchive,
  StreamRestore
} from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { randomUUID } from "node:crypto"

export const placed = EventType.make({ type: "order.placed", payload: Schema.Struct({ sku: Schema.String }) })
export const shipped = EventType.make({ type: "order.shipped", payload: Schema.Struct({}) })

export const orders = Feature.table({
  name: "read_orders",
  columns: [
    { name: "id", type: "uuid" },
    { name: "tenant_id", type: "uuid" },
    { name: "sku", type: "text" },
    { name: "shipped", type: "boolean" },
    { name: "inserted_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["sku"]],
  row: Schema.Struct({
    id: Schema.String,
    tenant_id: Schema.String,
    sku: Schema.String,
    shipped: Schema.Boolean
  })
})

const skus = Feature.table({
  name: "read_skus",
  columns: [{ name: "sku", type: "text" }],
  primaryKey: ["sku"],
  row: Schema.Struct({ sku: Schema.String })
})

export const kept = Feature.table({
  name: "read_kept_orders",
  columns: [{ name: "id", type: "uuid" }],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String })
})

/** A feature whose tables follow orders: by their ids, by another key, and with the rows of archived ones. */
export const shop = Feature.make({
  name: "shop",
  handlers: [],
  projections: [
    Projection.fold({
      name: "orders",
      table: orders,
      on: [
        [
          placed,
          (_, { aggregateId, payload, tenantId }) =>
            Option.some({ id: aggregateId, tenant_id: tenantId, sku: payload.sku, shipped: false })
        ],
        [shipped, (row, { tenantId }) => Option.map(row, (known) => ({ ...known, tenant_id: tenantId, shipped: true }))]
      ]
    }),
    Projection.rows({ name: "skus", table: skus, on: [[placed, ({ payload }) => [{ sku: payload.sku }]]] }),
    Projection.fold({
      name: "kept",
      table: kept,
      archived: "keep",
      on: [[placed, (_, { aggregateId }) => Option.some({ id: aggregateId })]]
    })
  ],
  tables: [orders, skus, kept]
})

/** Appends an order's events and folds them, as a write does. */
export const order = (
  events: ReadonlyArray<typeof placed.type | typeof shipped.type>,
  more: Partial<Event.StreamId & { readonly sku: string; readonly version: number; readonly key: string }> = {}
) =>
  Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    const { aggregateId = randomUUID(), key, sku = randomUUID(), tenantId = randomUUID(), version = 0 } = more
    const [first, ...others] = events.map((type, at): Event.NewEvent => ({
      tenantId,
      aggregateId,
      aggregateType: "order",
      version: version + at + 1,
      type,
      eventVersion: 1,
      payload: type === "order.placed" ? { sku } : {},
      metadata: { userId: Event.systemUserId, ...(key === undefined ? {} : { idempotencyKey: `${key}-${at}` }) }
    }))
    if (first === undefined) return { tenantId, aggregateId, sku }
    const stored = yield* store.append([first, ...others])
    for (const projection of shop.projections) {
      const [some, ...rest] = stored.filter(({ type }) => projection.events.includes(type))
      if (some !== undefined) yield* projection.apply([some, ...rest])
    }
    return { tenantId, aggregateId, sku }
  })

/** The row of an order, if it has one. */
export const rowOf = (aggregateId: string) =>
  Effect.gen(function* () {
    const tables = yield* ReadTables.ReadTables
    return (yield* tables.load(orders, [{ id: aggregateId }]))[0]
  })

const streamOf = ({ aggregateId, tenantId }: Event.StreamId) => ({ tenantId, aggregateId })

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`archiving streams: ${name}`, (it) => {
    it.effect(
      "takes the rows of a stream out of the tables that drop archived streams, and restoring brings them back",
      () =>
        Effect.gen(function* () {
          const made = yield* order(["order.placed", "order.shipped"])
          const before = yield* rowOf(made.aggregateId)
          assert.isDefined(before)
          const archived = yield* StreamArchive.run({ streams: [made], reason: "closed" })
          assert.deepStrictEqual([archived.changed, archived.failed], [[streamOf(made)], []])
          assert.deepStrictEqual(archived.rows, [
            { projection: "orders", table: "read_orders", written: 0, removed: 1 }
          ])
          assert.isUndefined(yield* rowOf(made.aggregateId))
          const refused = yield* Effect.flip(order(["order.shipped"], { ...made, version: 2 }))
          assert.isTrue(Predicate.isTagged(refused, "StreamArchived"))
          const tables = yield* ReadTables.ReadTables
          assert.lengthOf(yield* tables.load(kept, [{ id: made.aggregateId }]), 1)

          const restored = yield* StreamRestore.run({ streams: [made] })
          assert.deepStrictEqual(restored.changed, [streamOf(made)])
          const { inserted_at: insertedAt, ...row } = yield* Effect.orDie(
            Effect.fromNullable(yield* rowOf(made.aggregateId))
          )
          const { inserted_at: at, ...same } = before ?? {}
          assert.deepStrictEqual(row, same)
          const [first] = yield* (yield* EventStore.EventStore).load(made)
          assert.strictEqual(
            Date.parse(String(insertedAt)),
            Number(first === undefined || typeof first.createdAt === "string" ? NaN : first.createdAt.epochMillis),
            `the date of the first event, which is about ${String(at)}`
          )
          yield* order(["order.shipped"], { ...made, version: 2 })
        })
    )

    it.effect("marks tables whose key is not the aggregate as outdated, and names their projections", () =>
      Effect.gen(function* () {
        const records = yield* ProjectionRecords.ProjectionRecords
        const asked = shop.projections.map(ProjectionRecords.asked)
        const made = yield* order(["order.placed"])
        const { outdated } = yield* StreamArchive.run({ streams: [made] })
        assert.deepStrictEqual(outdated, ["skus"])
        const versions = new Map((yield* records.of(asked)).map((record) => [record.name, record.version]))
        assert.strictEqual(versions.get("skus"), 0)
        assert.strictEqual(versions.get("kept"), 1)
      })
    )

    it.effect("leaves what is archived, or is not, as it is", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"])
        assert.deepStrictEqual((yield* StreamRestore.run({ streams: [made] })).unchanged, [streamOf(made)])
        yield* StreamArchive.run({ streams: [made] })
        const again = yield* StreamArchive.run({ streams: [made] })
        assert.deepStrictEqual([again.changed, again.unchanged, again.leftRows], [[], [streamOf(made)], 0])
      })
    )

    it.effect("says so when it finds rows of a stream that another program archived, and removes them", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"])
        const marks = yield* ArchiveMarks.ArchiveMarks
        yield* marks.set([{ ...streamOf(made), aggregateType: "order", archivedBy: "other", reason: Option.none() }])
        assert.isDefined(yield* rowOf(made.aggregateId))
        const { leftRows, unchanged } = yield* StreamArchive.run({ streams: [made] })
        assert.deepStrictEqual([unchanged.length, leftRows], [1, 1])
        assert.isUndefined(yield* rowOf(made.aggregateId))
      })
    )

    it.effect("refuses streams that do not exist, and one of many that fails does not stop the others", () =>
      Effect.gen(function* () {
        const [made, missing] = [yield* order(["order.placed"]), { tenantId: randomUUID(), aggregateId: randomUUID() }]
        const refused = yield* Effect.flip(StreamArchive.run({ streams: [missing, { ...missing, aggregateId: "x" }] }))
        assert.strictEqual(refused._tag, "StreamsRefused")
        if (refused._tag === "StreamsRefused") {
          assert.sameMembers(
            refused.problems.map(({ _tag }) => _tag),
            ["StreamNotFound", "InvalidStreamId"]
          )
        }
        const { changed, failed } = yield* StreamArchive.run({ streams: [missing, made] })
        assert.deepStrictEqual(changed, [streamOf(made)])
        assert.deepStrictEqual(
          failed.map(({ aggregateId, error }) => [aggregateId, error._tag]),
          [[missing.aggregateId, "StreamNotFound"]]
        )
      })
    )

    it.effect("does not restore a stream whose unique value is another row's, and restores the others", () =>
      Effect.gen(function* () {
        const [taken, other] = [yield* order(["order.placed"]), yield* order(["order.placed"])]
        yield* StreamArchive.run({ streams: [taken, other] })
        yield* order(["order.placed"], { sku: taken.sku })
        const { changed, failed } = yield* StreamRestore.run({ streams: [taken, other] })
        assert.deepStrictEqual(changed, [streamOf(other)])
        assert.deepStrictEqual(
          failed.map(({ error }) => error._tag),
          ["UniqueTaken"]
        )
        const [state] = yield* (yield* ArchiveMarks.ArchiveMarks).look([taken])
        assert.isTrue(state?.isArchived)
      })
    )

    it.effect("plans exactly what it would do, and changes nothing", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"])
        const planned = yield* StreamArchive.plan({ streams: [made] })
        assert.isDefined(yield* rowOf(made.aggregateId))
        const [state] = yield* (yield* ArchiveMarks.ArchiveMarks).look([made])
        assert.isFalse(state?.isArchived)
        assert.deepStrictEqual(yield* StreamArchive.run({ streams: [made] }), planned)
      })
    )

    it.effect("is what the event store does with a stream that it archives", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"])
        const store = yield* EventStore.EventStore
        yield* store.archive({ ...streamOf(made), aggregateType: "order", archivedBy: Event.systemUserId })
        assert.isUndefined(yield* rowOf(made.aggregateId))
        const tables = yield* ReadTables.ReadTables
        assert.lengthOf(yield* tables.load(kept, [{ id: made.aggregateId }]), 1)
      })
    )
  })
