/**
 * Backfills on a server: digits, locked rows, rows that fail by themselves, and nobody notified.
 */
import { assert, describe, it } from "@effect/vitest"
import { SqlClient } from "@effect/sql"
import { Effect, Exit, Layer, Option, Schema } from "effect"
import {
  Backfill,
  EsOps,
  Event,
  EventBackfill,
  Feature,
  Projection,
  RunObserver,
  StreamMove,
  WriteHandler
} from "effect-es-ops"
import * as Database from "../support/TestDatabase.js"
import { TestDatabase } from "../support/TestDatabase.js"

const orders = Backfill.make({
  name: "orders",
  aggregateType: "order",
  source: Backfill.query({
    query: "SELECT id, sku, doc::text AS doc, at FROM legacy",
    key: "id",
    row: Schema.Struct({ sku: Schema.String, doc: Schema.String, at: Schema.DateFromSelf })
  }),
  toEvents: ({ at, doc, sku }) => [
    { type: "placed", payload: { sku, doc: Backfill.json(doc) }, occurredAt: at, createdBy: "clerk" },
    { type: "counted", payload: { sku }, occurredAt: at, createdBy: "clerk" }
  ]
})

const picky = Projection.make({
  name: "picky",
  events: ["placed"],
  apply: (events) =>
    events.some(({ payload }) => payload["sku"] === "bad") ? WriteHandler.reject("conflict", "bad sku") : Effect.void
})

/** The server refuses it, whichever the row. */
const refused = (statement: string) =>
  Projection.make({
    name: "refused",
    events: ["placed"],
    apply: () => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(statement))
  })

const worldOf = (projection: Projection.Projection<unknown, SqlClient.SqlClient>) =>
  EsOps.layer({
    seeds: {},
    features: [Feature.make({ name: "f", handlers: [], projections: [projection], backfills: [orders] })]
  }).pipe(Layer.provide(Database.client()), Layer.provideMerge(Database.layer))

const world = worldOf(picky)

const seeded = (rows: string) =>
  Effect.gen(function* () {
    const { query } = yield* TestDatabase
    const statements = yield* EsOps.ddl({ features: [Feature.make({ name: "f", handlers: [] })] })
    yield* Effect.promise(() => query(statements.filter((text) => /kumiko_/.test(text)).join(";")))
    yield* Effect.promise(() =>
      query(`CREATE TABLE legacy (id bigint PRIMARY KEY, sku text NOT NULL, doc jsonb NOT NULL, at timestamptz NOT NULL);
        INSERT INTO legacy ${rows}`)
    )
    return (text: string) => Effect.promise(() => query(text))
  })

const run = (more: Partial<EventBackfill.BackfillOptions> = {}) =>
  EventBackfill.run({ backfill: "orders", appliedBy: "cli", observer: RunObserver.silent, ...more })

describe("a backfill on a server", () => {
  it.scopedLive(
    "that was begun in one lane goes on in one behind its last batch, however many are asked for then",
    () =>
      Effect.gen(function* () {
        yield* seeded(
          `SELECT g, CASE g WHEN 3 THEN 'bad' ELSE 's' || g END, '{}', '2020-01-01Z' FROM generate_series(1, 700) g`
        )
        const stopped = yield* Effect.exit(
          run({ observer: { ...RunObserver.silent, progress: () => Effect.interrupt } })
        )
        assert.isTrue(Exit.isInterrupted(stopped))
        const { run: ended, value } = yield* run({ lanes: 2 })
        const { failed, failures, ...counts } = Option.getOrThrow(value)
        assert.deepInclude(counts, { rows: 700, appended: 699, events: 1398, done: 0 })
        assert.deepStrictEqual([failed, failures.map(({ key }) => key)], [1, ["3"]])
        assert.deepStrictEqual([ended.done, ended.total], [700, Option.some(700)])
      }).pipe(Effect.provide(world))
  )

  it.scopedLive(
    "finds the rows whose streams were moved to another tenant or merged there, and appends none again",
    () =>
      Effect.gen(function* () {
        const query = yield* seeded(`SELECT g, 's' || g, '{}', '2020-01-01Z' FROM generate_series(1, 4) g`)
        yield* run()
        const [from, to] = [Event.systemTenantId, "00000000-0000-4000-8000-0000000000bb"]
        const [first, second, third] = [1, 2, 3].map((key) => Backfill.streamId("orders", `${key}`))
        // The second one meets a stream of its id there, which comes first; the third begins anew where it was.
        const event = (id: unknown, tenant: string) =>
          query(`INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_at, created_by)
          VALUES ('${String(id)}', 'order', '${tenant}', 1, 'closed', '{}', '{"userId": "u"}', '2019-01-01Z', 'u')`)
        yield* event(second, to)
        yield* StreamMove.run({
          moves: [first, second, third].map((aggregateId = "") => ({ aggregateId, from, to })),
          merge: true,
          appliedBy: "cli",
          observer: RunObserver.silent
        })
        yield* event(third, from)
        yield* query("UPDATE legacy SET sku = 'other' WHERE id = 1")
        const events = "SELECT tenant_id, aggregate_id, version, id FROM kumiko_events ORDER BY id"
        const before = yield* query(events)
        const plan = yield* EventBackfill.plan("orders")
        const again = Option.getOrThrow((yield* run()).value)
        for (const found of [plan, again]) {
          const { appended, changedKeys, done, failed } = found
          assert.deepStrictEqual([appended, changedKeys, done, failed], [0, ["1"], 3, 0])
        }
        assert.deepStrictEqual(yield* query(events), before)
      }).pipe(Effect.provide(world))
  )

  it.scopedLive("keeps digits and dates, leaves out the rows that fail, notifies nobody, and finds itself again", () =>
    Effect.gen(function* () {
      const query = yield* seeded(
        `SELECT g, CASE g WHEN 3 THEN 'bad' ELSE 's' || g END, '{"big":9007199254740993,"exact":1.10}', '2020-01-01Z'::timestamptz + g * interval '1 day' FROM generate_series(1, 9) g`
      )
      const { connect } = yield* TestDatabase
      const listener = yield* Effect.promise(connect)
      let heard = 0
      listener.on("notification", () => heard++)
      yield* Effect.promise(() => listener.query("LISTEN kumiko_events_new"))
      const report = Option.getOrThrow((yield* run()).value)
      assert.deepInclude(report, { rows: 9, appended: 8, events: 16, failed: 1 })
      assert.deepStrictEqual(
        report.failures.map(({ error, key }) => [key, error.message]),
        [["3", "bad sku"]]
      )
      yield* Effect.promise(() => listener.query("SELECT 1"))
      assert.strictEqual(heard, 0)
      const [first] = yield* query(
        `SELECT payload->>'doc' AS doc, created_at = '2020-01-02Z' AS dated, metadata->'headers'->>'backfill' AS backfill FROM kumiko_events ORDER BY id LIMIT 1`
      )
      assert.deepStrictEqual(first, {
        doc: '{"big": 9007199254740993, "exact": 1.10}',
        dated: true,
        backfill: "orders"
      })
      const [markers] = yield* query(
        "SELECT count(*)::int AS n FROM kumiko_es_operations WHERE operation_type = 'event-backfill'"
      )
      assert.deepStrictEqual(markers, { n: 1 })
      yield* query("UPDATE legacy SET doc = '{\"exact\":1.1}' WHERE id = 5")
      assert.deepInclude(Option.getOrThrow((yield* run()).value), {
        appended: 0,
        done: 7,
        changed: 1,
        changedKeys: ["5"]
      })
    }).pipe(Effect.provide(world))
  )

  for (const [what, code, statement] of [
    ["a right is missing", "42501", "DO 'BEGIN RAISE insufficient_privilege; END'"],
    ["a table is missing", "42P01", "INSERT INTO nowhere VALUES (1)"],
    ["the server only reads", "25006", "DO 'BEGIN RAISE read_only_sql_transaction; END'"]
  ] as const)
    it.scopedLive(`blames no row, and ends with the first batch, where ${what}`, () =>
      Effect.gen(function* () {
        const query = yield* seeded("SELECT g, 's' || g, '{}', '2020-01-01Z' FROM generate_series(1, 9) g")
        const error = yield* Effect.flip(run())
        assert.deepInclude(error, { _tag: "DatabaseError", code: Option.some(code) })
        assert.deepStrictEqual(
          yield* query(
            `SELECT (SELECT count(*)::int FROM kumiko_events) AS events, (SELECT count(*)::int FROM kumiko_es_operations) AS markers,
              (SELECT outcome FROM es_ops_runs) AS outcome`
          ),
          [{ events: 0, markers: 0, outcome: "failed" }]
        )
      }).pipe(Effect.provide(worldOf(refused(statement))))
    )
})
