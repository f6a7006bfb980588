import { SqlClient } from "@effect/sql"
import { Effect, Schema } from "effect"
import { EventStore, Feature, Projection, WriteHandler } from "effect-es-ops"

export const NewOrder = Schema.Struct({ id: Schema.UUID, total: Schema.Int.pipe(Schema.positive()) })

export const OrderId = Schema.Struct({ id: Schema.UUID })

/** A new stream: its first event has version 1, and a second order of the same id is a `version_conflict`. */
export const place = WriteHandler.make({
  name: "orders:write:place",
  payload: NewOrder,
  access: ["system", "Customer"],
  handle: (order) => ({
    events: [
      { aggregateId: order.id, aggregateType: "order", version: 1, type: "order.placed", payload: { ...order } }
    ],
    data: { ...order }
  })
})

/** The next event of a stream that is there: the handler reads the stream first. */
export const cancel = WriteHandler.make({
  name: "orders:write:cancel",
  payload: OrderId,
  access: ["Customer"],
  handle: ({ id }, { actor }) =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const events = yield* store.load({ tenantId: actor.tenantId, aggregateId: id })
      const last = events.at(-1)
      if (last === undefined) return yield* WriteHandler.reject("not_found", `there is no order ${id}`)
      if (last.type === "order.cancelled") return yield* WriteHandler.reject("conflict", "it is cancelled already")
      return {
        events: [
          {
            aggregateId: id,
            aggregateType: "order",
            version: last.version + 1,
            type: "order.cancelled",
            payload: { id }
          }
        ],
        data: { id }
      }
    })
})

/** The list that requests read: one row for each order that is not cancelled. */
const openOrders = Projection.make({
  name: "read_open_orders",
  events: ["order.placed", "order.cancelled"],
  apply: (events) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      for (const { payload, tenantId, type } of events) {
        if (type === "order.cancelled") {
          yield* sql`DELETE FROM read_open_orders WHERE id = ${String(payload["id"])}`
        } else {
          const { id, total } = yield* Schema.decodeUnknown(NewOrder)(payload)
          yield* sql`INSERT INTO read_open_orders ${sql.insert({ id, tenant_id: tenantId, total })}`
        }
      }
    })
})

export const orders = Feature.make({
  name: "orders",
  handlers: [place, cancel],
  projections: [openOrders],
  tables: [
    {
      name: "read_open_orders",
      columns: [
        { name: "id", type: "uuid" },
        { name: "tenant_id", type: "uuid" },
        { name: "total", type: "integer" }
      ],
      primaryKey: ["id"],
      indexes: [["tenant_id"]]
    }
  ]
})
