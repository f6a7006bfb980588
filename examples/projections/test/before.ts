/** The features as the release before had them: without the columns that came since. */
import { Option, Schema } from "effect"
import { Feature, Projection } from "effect-es-ops"
import * as Orders from "../src/orders.js"
import * as Shipments from "../src/shipments.js"

const orderTable = Feature.table({
  name: "read_orders",
  columns: [
    { name: "id", type: "uuid" },
    { name: "number", type: "text" },
    { name: "cents", type: "integer" },
    { name: "currency", type: "text" },
    { name: "shipped", type: "boolean" },
    { name: "placed_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["number"]],
  row: Schema.Struct({
    id: Schema.String,
    number: Schema.String,
    cents: Schema.Int,
    currency: Schema.String,
    shipped: Schema.Boolean
  })
})

export const orders = Feature.make({
  name: "orders",
  handlers: [Orders.place, Orders.ship, Orders.cancel],
  projections: [
    Projection.fold({
      name: "orders",
      table: orderTable,
      on: [
        [Orders.placed, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, ...payload, shipped: false })],
        [Orders.shipped, (row) => Option.map(row, (order) => ({ ...order, shipped: true }))],
        [Orders.cancelled, () => Option.none()]
      ]
    })
  ]
})

const parcelTable = Feature.table({
  name: "read_parcels",
  columns: [
    { name: "tenant_id", type: "uuid" },
    { name: "parcels", type: "integer" }
  ],
  primaryKey: ["tenant_id"],
  row: Schema.Struct({ tenant_id: Schema.String, parcels: Schema.Int })
})

export const shipments = Feature.make({
  name: "shipments",
  handlers: [],
  projections: [
    Shipments.shipments,
    Projection.fold({
      name: "parcels",
      table: parcelTable,
      key: ({ tenantId }) => ({ tenant_id: tenantId }),
      on: [
        [
          Orders.shipped,
          (row, { payload, tenantId }) =>
            Option.some({
              tenant_id: tenantId,
              parcels: Option.match(row, { onNone: () => 0, onSome: ({ parcels }) => parcels }) + payload.parcels
            })
        ]
      ]
    })
  ]
})
