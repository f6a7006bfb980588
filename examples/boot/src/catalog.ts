import { SqlClient } from "@effect/sql"
import { Effect, Schema } from "effect"
import { Feature, Projection, WriteHandler } from "effect-es-ops"

const Product = Schema.Struct({ id: Schema.UUID, name: Schema.NonEmptyString })

/** Decides which event happens. Seeds act as `system`, so that role must be among those that may. */
export const addProduct = WriteHandler.make({
  name: "catalog:write:add-product",
  payload: Product,
  access: ["system", "Editor"],
  handle: (product) => ({
    events: [
      { aggregateId: product.id, aggregateType: "product", version: 1, type: "product.added", payload: { ...product } }
    ],
    data: { ...product }
  })
})

/** Keeps a table of products, in the transaction that appends the events. */
const products = Projection.make({
  name: "read_products",
  events: ["product.added"],
  apply: (events) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const rows = yield* Effect.forEach(events, ({ payload }) => Schema.decodeUnknown(Product)(payload))
      yield* sql`INSERT INTO read_products ${sql.insert(rows)}`
    })
})

export const catalog = Feature.make({
  name: "catalog",
  handlers: [addProduct],
  projections: [products],
  tables: [
    {
      name: "read_products",
      columns: [
        { name: "id", type: "uuid" },
        { name: "name", type: "text" }
      ],
      primaryKey: ["id"]
    }
  ]
})
