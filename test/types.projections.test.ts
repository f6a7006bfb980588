/**
 * What the compiler knows of event types, projections and their rows: each line that must not compile says so.
 */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import type { EventFeed, ReadTables } from "effect-es-ops"
import { EventStore, EventType, Feature, Projection, Subscriber, WriteDispatcher } from "effect-es-ops"

const placed = EventType.make({
  type: "order.placed",
  version: 2,
  payload: Schema.Struct({ sku: Schema.String, at: Schema.Date }),
  upcasts: [(first) => ({ ...first, at: "2026-01-01T00:00:00Z" })]
})
const cancelled = EventType.make({ type: "order.cancelled", payload: Schema.Struct({}) })

const columns = [
  { name: "id", type: "uuid" },
  { name: "sku", type: "text" },
  { name: "at", type: "timestamptz", nullable: true },
  { name: "added_at", type: "timestamptz", default: "now" }
] as const

const Order = Schema.Struct({ id: Schema.String, sku: Schema.String, at: Schema.NullOr(Schema.DateTimeUtc) })

const table = Feature.table({ name: "read_orders", columns, primaryKey: ["id"], row: Order })

const perTenant = Feature.table({
  name: "read_counts",
  columns: [
    { name: "tenant_id", type: "uuid" },
    { name: "sku", type: "text" },
    { name: "n", type: "integer" }
  ],
  primaryKey: ["tenant_id", "sku"],
  row: Schema.Struct({ tenant_id: Schema.String, sku: Schema.String, n: Schema.Int })
})

describe("the types of an event type", () => {
  it("are those of its payload, decoded for who reads it, and of its name", () => {
    expectTypeOf<EventType.Of<typeof placed>["payload"]>().toEqualTypeOf<{ readonly sku: string; readonly at: Date }>()
    expectTypeOf<EventType.Of<typeof placed>["type"]>().toEqualTypeOf<"order.placed">()
    const decided = { aggregateId: "a", aggregateType: "order", version: 1 }
    EventType.event(placed, { ...decided, payload: { sku: "a", at: new Date(0) } })
    // @ts-expect-error a payload without a field
    EventType.event(placed, { ...decided, payload: { sku: "a" } })
    // @ts-expect-error a payload as JSON, which is not how a handler gives it
    EventType.event(placed, { ...decided, payload: { sku: "a", at: "2026-01-01" } })
  })

  it("take as many upcasts as a version needs", () => {
    const payload = Schema.Struct({})
    const same = (value: { readonly [key: string]: unknown }) => value
    EventType.make({ type: "a", version: 3, payload, upcasts: [same, same] })
    // @ts-expect-error one too few
    EventType.make({ type: "a", version: 3, payload, upcasts: [same] })
    // @ts-expect-error one too many
    EventType.make({ type: "a", version: 2, payload, upcasts: [same, same] })
    // @ts-expect-error none at all
    EventType.make({ type: "a", version: 2, payload })
    // @ts-expect-error version 1 needs none
    EventType.make({ type: "a", payload, upcasts: [same] })
    // A version that is not known before the program runs is looked at when it is loaded.
    EventType.make({ type: "a", version: Number("2"), payload, upcasts: [same] })
  })
})

describe("the types of a table", () => {
  it("hold the Schema of its rows to its columns", () => {
    const named = { name: "t", columns, primaryKey: ["id"] } as const
    // @ts-expect-error a row that lacks a column
    Feature.table({ ...named, row: Schema.Struct({ id: Schema.String, sku: Schema.String }) })
    // @ts-expect-error a row with a column too many
    Feature.table({ ...named, row: Schema.Struct({ ...Order.fields, more: Schema.String }) })
    // @ts-expect-error a column of another type
    Feature.table({ ...named, row: Schema.Struct({ ...Order.fields, sku: Schema.Int }) })
    // @ts-expect-error null where the column takes none
    Feature.table({ ...named, row: Schema.Struct({ ...Order.fields, sku: Schema.NullOr(Schema.String) }) })
    // @ts-expect-error a key that is no column
    Feature.table({ ...named, primaryKey: ["no"], row: Order })
    // A column with a default may be in the rows, or not.
    Feature.table({ ...named, row: Schema.Struct({ ...Order.fields, added_at: Schema.DateTimeUtc }) })
  })
})

describe("the types of a projection", () => {
  it("flow from the events to the rows", () => {
    const fold = Projection.fold({
      name: "orders",
      table,
      on: [
        [
          placed,
          (row, event) => {
            expectTypeOf(row).toEqualTypeOf<Option.Option<typeof Order.Type>>()
            expectTypeOf(event.payload.at).toEqualTypeOf<Date>()
            expectTypeOf(event.type).toEqualTypeOf<"order.placed">()
            return Option.some({ id: event.aggregateId, sku: event.payload.sku, at: null })
          }
        ],
        [cancelled, () => Option.none()]
      ]
    })
    expectTypeOf<Feature.Requires<typeof fold>>().toEqualTypeOf<ReadTables.ReadTables | EventFeed.EventFeed>()
    const rows = Projection.rows({
      name: "rows",
      table,
      on: [[placed, ({ aggregateId, payload }) => [{ id: aggregateId, sku: payload.sku, at: null }]]]
    })
    expectTypeOf<Feature.Requires<typeof rows>>().toEqualTypeOf<ReadTables.ReadTables>()
    expectTypeOf<Effect.Effect.Context<ReturnType<typeof rows.apply>>>().toEqualTypeOf<ReadTables.ReadTables>()
    assert.deepStrictEqual(fold.events, ["order.placed", "order.cancelled"])
  })

  it("refuse a row that lacks a column, a field that the payload does not have, and a row of another table", () => {
    Projection.fold({
      name: "a",
      table,
      // @ts-expect-error without `sku`
      on: [[placed, (_, { aggregateId }) => Option.some({ id: aggregateId, at: null })]]
    })
    Projection.fold({
      name: "b",
      table,
      // @ts-expect-error no such field
      on: [[placed, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, sku: payload.no, at: null })]]
    })
    Projection.fold({
      name: "c",
      table,
      // @ts-expect-error a field of another type
      on: [[placed, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, sku: payload.at, at: null })]]
    })
    Projection.rows({
      name: "d",
      table,
      // @ts-expect-error without `sku`
      on: [[placed, ({ aggregateId }) => [{ id: aggregateId, at: null }]]]
    })
  })

  it("want every column of the primary key in a key of their own", () => {
    Projection.fold({
      name: "a",
      table: perTenant,
      key: ({ payload, tenantId }) => ({ tenant_id: tenantId, sku: payload.sku }),
      on: [[placed, (row) => row]]
    })
    Projection.fold({
      name: "b",
      table: perTenant,
      // @ts-expect-error a column of the key is missing
      key: ({ tenantId }) => ({ tenant_id: tenantId }),
      on: [[placed, (row) => row]]
    })
  })
})

describe("the types of a subscriber", () => {
  it("keep one that writes from being given past events, and not one that reads", () => {
    const actor = { id: "u", tenantId: "t", roles: [] }
    const write = () =>
      Effect.flatMap(WriteDispatcher.WriteDispatcher, (writes) =>
        Effect.asVoid(writes.write({ handler: "a:write:b", actor, correlationId: "c", payload: {} }))
      )
    const read = () =>
      Effect.flatMap(EventStore.EventStore, (store) => Effect.asVoid(store.load({ tenantId: "t", aggregateId: "a" })))
    const named = { name: "mail", events: [placed] } as const
    const reading = Subscriber.make({ ...named, handle: read })
    expectTypeOf<Feature.Requires<typeof reading>>().toEqualTypeOf<EventStore.EventStore>()
    const writing = Subscriber.make({ ...named, replay: "never", handle: write })
    expectTypeOf<Feature.Requires<typeof writing>>().toEqualTypeOf<WriteDispatcher.WriteDispatcher>()
    // @ts-expect-error a replay refuses to write
    Subscriber.make({ ...named, handle: write })
    // @ts-expect-error the same by word
    Subscriber.make({ ...named, replay: "allowed", handle: write })
    // @ts-expect-error one that reads and writes
    Subscriber.make({ ...named, handle: () => Effect.zipRight(read(), write()) })
    assert.deepStrictEqual([reading.replay, writing.replay], ["allowed", "never"])
  })
})
