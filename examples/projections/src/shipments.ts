import { Option, Schema } from "effect"
import { Feature, Projection } from "effect-es-ops"
import { shipped } from "./orders.js"

export const table = Feature.table({
  name: "read_shipments",
  columns: [
    { name: "event_id", type: "bigint" },
    { name: "order_id", type: "uuid" },
    { name: "parcels", type: "integer" }
  ],
  primaryKey: ["event_id"],
  indexes: [["order_id"]],
  row: Schema.Struct({ event_id: Schema.BigInt, order_id: Schema.String, parcels: Schema.Int })
})

/** A row a shipment: the event alone says what is in it. */
export const shipments = Projection.rows({
  name: "shipments",
  table,
  on: [[shipped, ({ aggregateId, id, payload }) => [{ event_id: id, order_id: aggregateId, parcels: payload.parcels }]]]
})

export const totals = Feature.table({
  name: "read_parcels",
  columns: [
    { name: "tenant_id", type: "uuid" },
    { name: "parcels", type: "integer" },
    { name: "shipments", type: "integer", nullable: true }
  ],
  primaryKey: ["tenant_id"],
  row: Schema.Struct({ tenant_id: Schema.String, parcels: Schema.Int, shipments: Schema.NullOr(Schema.Int) })
})

/** A row a tenant, which events of many orders change: the sum is the same in whichever order they come. */
const parcels = Projection.fold({
  name: "parcels",
  table: totals,
  version: 2,
  key: ({ tenantId }) => ({ tenant_id: tenantId }),
  on: [
    [
      shipped,
      (row, { payload, tenantId }) => {
        const before = Option.getOrElse(row, () => ({ parcels: 0, shipments: 0 }))
        return Option.some({
          tenant_id: tenantId,
          parcels: before.parcels + payload.parcels,
          shipments: (before.shipments ?? 0) + 1
        })
      }
    ]
  ]
})

export const feature = Feature.make({ name: "shipments", handlers: [], projections: [shipments, parcels] })
