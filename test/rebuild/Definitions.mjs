/**
 * The projections that are rebuilt beside writers, for this process and for those that are killed.
 */
import { SqlClient } from "@effect/sql"
import { Effect, Option, Schema } from "effect"
import { EventType, Feature, Projection } from "effect-es-ops"

const added = EventType.make({ type: "counter.added", payload: Schema.Struct({ by: Schema.Int, kind: Schema.String }) })

const totals = Feature.table({
  name: "read_totals",
  columns: [
    { name: "id", type: "uuid" },
    { name: "total", type: "integer" }
  ],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, total: Schema.Int })
})

const kinds = Feature.table({
  name: "read_kinds",
  columns: [
    { name: "kind", type: "text" },
    { name: "total", type: "integer" }
  ],
  primaryKey: ["kind"],
  row: Schema.Struct({ kind: Schema.String, total: Schema.Int })
})

const entries = Feature.table({
  name: "read_entries",
  columns: [
    { name: "event_id", type: "bigint" },
    { name: "by", type: "integer" }
  ],
  primaryKey: ["event_id"],
  row: Schema.Struct({ event_id: Schema.BigInt, by: Schema.Int })
})

const hands = Feature.table({
  name: "read_hands",
  columns: [
    { name: "id", type: "uuid" },
    { name: "total", type: "integer" }
  ],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, total: Schema.Int })
})

/** What a function does by hand. */
const addByHand = (events) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.forEach(
      events,
      ({ aggregateId, payload }) => sql`INSERT INTO read_hands AS t (id, total) VALUES (${aggregateId}, ${payload.by})
        ON CONFLICT (id) DO UPDATE SET total = t.total + EXCLUDED.total`,
      { discard: true }
    )
  )

const plus = (row, by) => Option.match(row, { onNone: () => 0, onSome: ({ total }) => total }) + by

export const feature = Feature.make({
  name: "arena",
  handlers: [],
  tables: [totals, kinds, entries, hands],
  projections: [
    Projection.fold({
      name: "totals",
      table: totals,
      on: [[added, (row, event) => Option.some({ id: event.aggregateId, total: plus(row, event.payload.by) })]]
    }),
    Projection.fold({
      name: "kinds",
      table: kinds,
      archived: "keep",
      key: (event) => ({ kind: event.payload.kind }),
      on: [[added, (row, event) => Option.some({ kind: event.payload.kind, total: plus(row, event.payload.by) })]]
    }),
    Projection.rows({
      name: "entries",
      table: entries,
      archived: "keep",
      on: [[added, (event) => [{ event_id: event.id, by: event.payload.by }]]]
    }),
    Projection.make({
      name: "hands",
      events: ["counter.added"],
      tables: [hands],
      archived: "keep",
      apply: addByHand
    })
  ]
})
