/**
 * The events that rebuilds are measured on, and what is rebuilt from them: for this process, and for programs of their own.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime, Option, Redacted, Schema } from "effect"
import { EsOps, EventType, Feature, Projection, ProjectionRebuild, ProjectionStatus, WriteHandler } from "effect-es-ops"

/** How many events a stream has. */
export const length = 20

const changed = EventType.make({
  type: "order.changed",
  payload: Schema.Struct({ amount: Schema.Int, customer: Schema.String, note: Schema.String })
})

const orders = Feature.table({
  name: "read_orders",
  columns: [
    { name: "id", type: "uuid" },
    { name: "amount", type: "integer" },
    { name: "customer", type: "text" }
  ],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, amount: Schema.Int, customer: Schema.String })
})

const customers = Feature.table({
  name: "read_customers",
  columns: [
    { name: "customer", type: "text" },
    { name: "amount", type: "integer" }
  ],
  primaryKey: ["customer"],
  row: Schema.Struct({ customer: Schema.String, amount: Schema.Int })
})

/** One row an event, with three indexes. */
const changes = Feature.table({
  name: "read_changes",
  columns: [
    { name: "event_id", type: "bigint" },
    { name: "order_id", type: "uuid" },
    { name: "customer", type: "text" },
    { name: "amount", type: "integer" }
  ],
  primaryKey: ["event_id"],
  indexes: [["order_id"], ["customer"]],
  row: Schema.Struct({
    event_id: Schema.BigInt,
    order_id: Schema.String,
    customer: Schema.String,
    amount: Schema.Int
  })
})

const amountOf = (row) => Option.match(row, { onNone: () => 0, onSome: ({ amount }) => amount })

export const byOrder = Projection.fold({
  name: "by-order",
  table: orders,
  on: [
    [
      changed,
      (row, { aggregateId, payload }) =>
        Option.some({ id: aggregateId, amount: amountOf(row) + payload.amount, customer: payload.customer })
    ]
  ]
})

export const byCustomer = Projection.fold({
  name: "by-customer",
  table: customers,
  key: ({ payload }) => ({ customer: payload.customer }),
  on: [
    [changed, (row, { payload }) => Option.some({ customer: payload.customer, amount: amountOf(row) + payload.amount })]
  ]
})

export const byEvent = Projection.rows({
  name: "by-event",
  table: changes,
  on: [
    [
      changed,
      ({ aggregateId, id, payload }) => [
        { event_id: id, order_id: aggregateId, customer: payload.customer, amount: payload.amount }
      ]
    ]
  ]
})

/** A row by hand, as an application writes it that has no fold. */
export const upsert =
  "INSERT INTO read_orders AS t (id, amount, customer) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET amount = t.amount + EXCLUDED.amount, customer = EXCLUDED.customer"

const byHand = Projection.make({
  name: "by-order",
  events: ["order.changed"],
  tables: [orders],
  apply: (events) =>
    Effect.flatMap(SqlClient, (sql) =>
      Effect.forEach(
        events,
        ({ aggregateId, payload }) => sql.unsafe(upsert, [aggregateId, payload.amount, payload.customer]),
        { discard: true }
      )
    )
})

/** The statements of a fold by hand: the row is read and locked, and written with what was added. */
const byHandLocked = Projection.make({
  name: "by-order",
  events: ["order.changed"],
  tables: [orders],
  apply: (events) =>
    Effect.flatMap(SqlClient, (sql) =>
      Effect.forEach(
        events,
        ({ aggregateId, payload, version }) =>
          Effect.flatMap(
            version === 1
              ? Effect.succeed([])
              : sql.unsafe("SELECT id::text, amount, customer FROM read_orders WHERE id = $1 FOR UPDATE", [
                  aggregateId
                ]),
            ([row]) => sql.unsafe(put, [aggregateId, (row?.amount ?? 0) + payload.amount, payload.customer])
          ),
        { discard: true }
      )
    )
})

const put =
  "INSERT INTO read_orders AS t (id, amount, customer) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount, customer = EXCLUDED.customer"

const change = WriteHandler.make({
  name: "orders:write:change",
  payload: Schema.Struct({ id: Schema.UUID, version: Schema.Int, amount: Schema.Int }),
  access: ["system"],
  handle: ({ amount, id, version }) => ({
    events: [
      {
        aggregateId: id,
        aggregateType: "order",
        version,
        type: "order.changed",
        payload: { amount, customer: "one", note: "n" }
      }
    ],
    data: { id }
  })
})

/** What is rebuilt. */
export const feature = Feature.make({
  name: "orders",
  handlers: [change],
  tables: [orders, customers, changes],
  projections: [byOrder, byCustomer, byEvent]
})

const ways = { fold: byOrder, upsert: byHand, locked: byHandLocked }

/** What is written through, with the one projection. */
export const writing = (way) =>
  Feature.make({ name: "orders", handlers: [change], tables: [orders], projections: [ways[way]] })

/** An application that is up. */
export const application = (url, features = [feature], seeds = {}) => {
  const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 4 })
  const layer = EsOps.layer({ seeds, features, lockTimeout: "1 minute" }).pipe(Layer.provideMerge(client))
  return ManagedRuntime.make(Layer.merge(layer, Logger.minimumLogLevel(LogLevel.Error)))
}

/** Rebuilds a projection, and answers with the report. */
export const rebuild = async (app, name, options = {}) => {
  const [report] = await app.runPromise(ProjectionRebuild.run({ projections: [name], ...options }))
  if (report === undefined) throw new Error("nothing was rebuilt")
  return report
}

export const status = (app) => app.runPromise(ProjectionStatus.status)
