import { Effect, Either, Option, Schema } from "effect"
import { EventStore, EventType, Feature, Projection, WriteHandler } from "effect-es-ops"

/** Version 2 has a currency: an order from before was in euros. */
export const placed = EventType.make({
  type: "order.placed",
  version: 2,
  payload: Schema.Struct({ number: Schema.NonEmptyString, cents: Schema.Int, currency: Schema.String }),
  upcasts: [(first) => ({ ...first, currency: "EUR" })]
})

export const shipped = EventType.make({ type: "order.shipped", payload: Schema.Struct({ parcels: Schema.Int }) })

export const cancelled = EventType.make({ type: "order.cancelled", payload: Schema.Struct({}) })

export const table = Feature.table({
  name: "read_orders",
  columns: [
    { name: "id", type: "uuid" },
    { name: "number", type: "text" },
    { name: "cents", type: "integer" },
    { name: "currency", type: "text" },
    { name: "shipped", type: "boolean" },
    // Came with version 2 of the projection: rows of before have none until they are rebuilt.
    { name: "parcels", type: "integer", nullable: true },
    { name: "placed_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["number"]],
  row: Schema.Struct({
    id: Schema.String,
    number: Schema.String,
    cents: Schema.Int,
    currency: Schema.String,
    shipped: Schema.Boolean,
    parcels: Schema.NullOr(Schema.Int)
  })
})

/** A row an order; an order that is cancelled has none. */
const orders = Projection.fold({
  name: "orders",
  table,
  version: 2,
  on: [
    [
      placed,
      (_, { aggregateId, payload }) => Option.some({ id: aggregateId, ...payload, shipped: false, parcels: null })
    ],
    [
      shipped,
      (row, { payload }) => Option.map(row, (order) => ({ ...order, shipped: true, parcels: payload.parcels }))
    ],
    [cancelled, () => Option.none()]
  ]
})

const order = (id: string, version: number) => ({ aggregateId: id, aggregateType: "order", version })

export const place = WriteHandler.make({
  name: "orders:write:place",
  payload: Schema.Struct({ id: Schema.UUID, number: Schema.String, cents: Schema.Int, currency: Schema.String }),
  access: ["Shop"],
  handle: ({ id, ...payload }) =>
    Either.map(EventType.event(placed, { ...order(id, 1), payload }), (event) => ({ events: [event], data: { id } }))
})

/** Appends an event as the stream's next one. */
const next = <A, I>(type: EventType.EventType<string, A, I>, id: string, tenantId: string, payload: A) =>
  Effect.gen(function* () {
    const version = yield* (yield* EventStore.EventStore).version({ tenantId, aggregateId: id })
    if (version === 0) return yield* WriteHandler.reject("not_found", `there is no order ${id}`)
    const event = yield* EventType.event(type, { ...order(id, version + 1), payload })
    return { events: [event] as const, data: { id } }
  })

export const ship = WriteHandler.make({
  name: "orders:write:ship",
  payload: Schema.Struct({ id: Schema.UUID, parcels: Schema.Int }),
  access: ["Shop"],
  handle: ({ id, parcels }, { actor }) => next(shipped, id, actor.tenantId, { parcels })
})

export const cancel = WriteHandler.make({
  name: "orders:write:cancel",
  payload: Schema.Struct({ id: Schema.UUID }),
  access: ["Shop"],
  handle: ({ id }, { actor }) => next(cancelled, id, actor.tenantId, {})
})

export const feature = Feature.make({ name: "orders", handlers: [place, ship, cancel], projections: [orders] })
