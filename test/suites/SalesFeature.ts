/**
 * What else hangs on orders: an aggregate, a subscriber and a backfill.
 */
import { Effect, Schema } from "effect"
import { Aggregate, Backfill, Feature, Subscriber } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { placed } from "./ArchiveSuite.js"

const source = Backfill.table({
  table: "legacy",
  key: "id",
  row: Schema.Struct({ sku: Schema.String, at: Schema.DateFromSelf })
})

export const sales = Feature.make({
  name: "sales",
  handlers: [],
  aggregates: [
    Aggregate.make({
      type: "order",
      state: Schema.Struct({ events: Schema.Number }),
      initial: { events: 0 },
      on: [[placed, ({ events }) => ({ events: events + 1 })]]
    })
  ],
  subscribers: [Subscriber.make({ name: "mail", events: [placed], handle: () => Effect.void })],
  backfills: [
    Backfill.make({
      name: "legacy",
      aggregateType: "order",
      source,
      toEvents: ({ at, sku }) => [Backfill.event(placed, { payload: { sku }, occurredAt: at, createdBy: randomUUID() })]
    })
  ]
})
