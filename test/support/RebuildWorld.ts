/**
 * A feature whose read tables are rebuilt in tests, and programs that write to it as strangers do: events and rows by hand.
 */
import type { SqlClient } from "@effect/sql"
import { Effect, Layer, Option, Schema } from "effect"
import { EsOps, EventType, Feature, Operation, OperationLock, Projection, Transactor } from "effect-es-ops"
import type { Client } from "pg"
import * as Database from "./TestDatabase.js"

export const added = EventType.make({ type: "counter.added", payload: Schema.Struct({ by: Schema.Int }) })

const closed = EventType.make({ type: "counter.closed", payload: Schema.Struct({}) })

export const counters = Feature.table({
  name: "read_counters",
  columns: [
    { name: "id", type: "uuid" },
    { name: "total", type: "integer" },
    { name: "note", type: "text", nullable: true },
    { name: "inserted_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, total: Schema.Int, note: Schema.optional(Schema.NullOr(Schema.String)) })
})

/** One row an aggregate: the sum of what was added. */
export const sums = Projection.fold({
  name: "sums",
  table: counters,
  version: 2,
  on: [
    [
      added,
      (row, event) =>
        Option.some({
          id: event.aggregateId,
          total: Option.match(row, { onNone: () => 0, onSome: ({ total }) => total }) + event.payload.by,
          note: null
        })
    ],
    [closed, () => Option.none()]
  ]
})

export const feature = Feature.make({ name: "counters", tables: [counters], projections: [sums], handlers: [] })

/** Rows of a table that no pure function folds. */
export const anyRow = Schema.Struct({ id: Schema.String, n: Schema.Int })

type Found = EsOps.Base | SqlClient.SqlClient

/** Everything over a fresh database whose tables are there. */
export const layerOf = (own: Feature.Feature<Found>) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const lock = yield* OperationLock.OperationLock
      const transactor = yield* Transactor.Transactor
      yield* Transactor.run(
        transactor,
        lock.claim(Operation.OperationId.make("create-the-tables")),
        "create-the-tables"
      )
    })
  ).pipe(
    Layer.provideMerge(EsOps.layer({ seeds: {}, features: [own], lockTimeout: "20 seconds" })),
    Layer.provideMerge(Database.client({ maxConnections: 6 })),
    Layer.provideMerge(Database.layer)
  )

/** The same, for the sums. */
export const layer = () => layerOf(feature)

export const tenant = "00000000-0000-4000-8000-0000000000aa"

/** The id of the n-th aggregate. */
export const idOf = (n: number): string => `00000000-0000-4000-9000-${n.toString(16).padStart(12, "0")}`

/** Appends an event behind the last of its stream, as a program that knows nothing of us. */
export const append = (client: Client, id: string, by: number, type = "counter.added", of = tenant) =>
  client.query(
    `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
    SELECT $1::uuid, 'counter', $2::uuid, coalesce((SELECT max(version) FROM kumiko_events WHERE aggregate_id = $1::uuid AND tenant_id = $2::uuid), 0) + 1,
      $3, $4::jsonb, '{"userId":"x"}', 'x'`,
    [id, of, type, JSON.stringify(type === "counter.added" ? { by } : {})]
  )

/** Adds to a row, or makes it. */
export const upsert = (client: Client, id: string, by: number) =>
  client.query(
    `INSERT INTO read_counters AS t (id, total) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET total = t.total + EXCLUDED.total`,
    [id, by]
  )

/** The rows that are not what their events add up to. */
export const wrongRows = `WITH sums AS (
    SELECT e.aggregate_id AS id, sum((e.payload->>'by')::int) AS total FROM kumiko_events e
    WHERE NOT EXISTS (SELECT FROM kumiko_archived_streams a WHERE a.aggregate_id = e.aggregate_id AND a.tenant_id = e.tenant_id)
    GROUP BY e.aggregate_id HAVING bool_and(e.type <> 'counter.closed'))
  SELECT coalesce(s.id, r.id) AS id, s.total::int AS expected, r.total AS found
  FROM sums s FULL JOIN read_counters r ON r.id = s.id WHERE s.total IS DISTINCT FROM r.total`

/** `streams` streams of `length` events each, without rows. */
export const fill = (client: Client, streams: number, length: number) =>
  client.query(
    `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
    SELECT ('00000000-0000-4000-9000-' || lpad(to_hex(s), 12, '0'))::uuid, 'counter', '${tenant}', v, 'counter.added', '{"by":1}', '{"userId":"x"}', 'x'
    FROM generate_series(1, ${streams}) AS s, generate_series(1, ${length}) AS v ORDER BY v, s`
  )
