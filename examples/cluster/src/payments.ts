import { Either, Option, Schema } from "effect"
import { EventType, Feature, Projection, WriteHandler } from "effect-es-ops"

const Paid = Schema.Struct({ cents: Schema.Int })

const paid = EventType.make({ type: "account.paid", payload: Paid })

const table = Feature.table({
  name: "read_balances",
  columns: [
    { name: "id", type: "uuid" },
    { name: "cents", type: "bigint" }
  ],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, cents: Schema.BigInt })
})

const balances = Projection.fold({
  name: "balances",
  table,
  on: [
    [
      paid,
      (row, { aggregateId, payload }) =>
        Option.some({
          id: aggregateId,
          cents: Option.match(row, { onNone: () => 0n, onSome: ({ cents }) => cents }) + BigInt(payload.cents)
        })
    ]
  ]
})

export const pay = WriteHandler.make({
  name: "payments:write:pay",
  payload: Schema.Struct({ account: Schema.UUID, version: Schema.Int, ...Paid.fields }),
  access: ["system"],
  handle: ({ account, cents, version }) =>
    Either.map(
      EventType.event(paid, { aggregateId: account, aggregateType: "account", version, payload: { cents } }),
      (event) => ({ events: [event], data: { id: account } })
    )
})

export const payments = Feature.make({ name: "payments", handlers: [pay], projections: [balances], tables: [table] })
