/**
 * Features of an application under test: in memory with services of their own, and on an embedded database that each test has for itself.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Ref, Schema } from "effect"
import {
  EsOps,
  Feature,
  Identity,
  Projection,
  ProjectionRebuild,
  Seed,
  SeedContext,
  SeedRunner,
  WriteHandler
} from "effect-es-ops"
import * as RebuildWorld from "../../support/RebuildWorld.js"

class Letters extends Context.Tag("test/Letters")<Letters, Ref.Ref<ReadonlyArray<string>>>() {}

const send = WriteHandler.make({
  name: "letters:write:send",
  payload: Schema.Struct({ text: Schema.NonEmptyString }),
  access: ["system"],
  handle: ({ text }, { newId }) => ({
    events: [{ aggregateId: newId, aggregateType: "letter", version: 1, type: "letter.sent", payload: { text } }],
    data: { id: newId }
  })
})

const inService = Projection.make({
  name: "letters",
  events: ["letter.sent"],
  apply: (events) =>
    Effect.flatMap(Letters, (sent) =>
      Ref.update(sent, (before) => [...before, ...events.map(({ payload }) => String(payload["text"]))])
    )
})

const inTable = Projection.make({
  name: "letters",
  events: ["letter.sent"],
  apply: (events) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.forEach(events, ({ payload }) => sql`INSERT INTO letters (text) VALUES (${String(payload["text"])})`)
    )
})

const letter = Seed.make({ description: "a letter", run: SeedContext.write(send, { text: "hello" }) })

describe("a feature with services of its own", () => {
  const letters = Feature.make({ name: "letters", handlers: [send], projections: [inService] })
  const Sent = Layer.effect(Letters, Ref.make<ReadonlyArray<string>>([]))

  it.effect("is tested in memory", () =>
    Effect.gen(function* () {
      yield* SeedRunner.apply({ appliedBy: "boot" })
      assert.deepStrictEqual(yield* Effect.flatMap(Letters, Ref.get), ["hello"])
    }).pipe(
      Effect.provide(
        Layer.provideMerge(EsOps.layerMemory({ seeds: { letter }, features: [Identity.feature, letters] }), Sent)
      )
    )
  )
})

describe("an embedded database in memory", () => {
  const letters = Feature.make({
    name: "letters",
    handlers: [send],
    projections: [inTable],
    tables: [{ name: "letters", columns: [{ name: "text", type: "text" }], primaryKey: ["text"] }]
  })
  const client = EsOps.layerEmbedded()
  const services = Layer.provideMerge(EsOps.layer({ seeds: { letter }, features: [letters] }), client)

  const leavesAll = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    assert.strictEqual((yield* sql`SELECT 1 FROM pg_tables WHERE schemaname = 'public'`).length, 0)
    assert.strictEqual((yield* sql`SELECT 1 FROM pg_namespace WHERE nspname = 'other'`).length, 0)
    assert.deepStrictEqual(yield* sql`SHOW search_path`, [{ search_path: "public" }])
    const { outcomes } = yield* SeedRunner.apply({ appliedBy: "boot" })
    assert.strictEqual(outcomes[0]?._tag, "Applied")
    assert.deepStrictEqual(yield* sql`SELECT text FROM letters`, [{ text: "hello" }])
    const [first] = yield* sql`SELECT min(id)::int AS id FROM kumiko_events`
    assert.strictEqual(first?.["id"], 1)
    yield* sql`CREATE SCHEMA other`
    yield* sql`CREATE TABLE other.more (id int)`
    yield* sql`CREATE TEMP TABLE letters (id int)`
    yield* sql`SELECT pg_advisory_lock(1702063984)`
    yield* sql`SET search_path = other`
    yield* sql`BEGIN`
  })

  it.live("is empty for a first test", () => Effect.provide(leavesAll, services))
  it.live("is empty for a second test, whatever the first one left", () => Effect.provide(leavesAll, services))

  it.live(
    "takes well under a second once it is open, and is another one while it is lent",
    () =>
      Effect.gen(function* () {
        const [took] = yield* Effect.timed(Effect.provide(leavesAll, services))
        assert.isBelow(Number(took.value._tag === "Millis" ? took.value.millis : 0), 5000)
        yield* Effect.gen(function* () {
          const outer = yield* SqlClient.SqlClient
          yield* outer`CREATE TABLE mine (id int)`
          yield* Effect.provide(
            Effect.flatMap(SqlClient.SqlClient, (inner) => inner`CREATE TABLE mine (id int)`),
            Layer.fresh(client)
          )
        }).pipe(Effect.provide(client))
      }),
    90_000
  )
  it.live(
    "is not lent again when a test left what is outside of every schema",
    () =>
      Effect.gen(function* () {
        const role = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE ROLE left_behind`)
        yield* Effect.provide(role, client)
        yield* Effect.provide(role, client)
      }),
    90_000
  )
})

describe("a rebuild in an embedded database", () => {
  const counts = Projection.make({
    name: "counts",
    events: ["counter.added"],
    tables: [
      {
        name: "read_counts",
        columns: [
          { name: "id", type: "uuid" },
          { name: "n", type: "integer" }
        ],
        primaryKey: ["id"]
      }
    ],
    apply: (events) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.forEach(
          events,
          ({ aggregateId }) =>
            sql`INSERT INTO read_counts AS t (id, n) VALUES (${aggregateId}, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1`
        )
      )
  })
  const feature = Feature.make({
    name: "counters",
    handlers: [],
    tables: [RebuildWorld.counters, ...(counts.tables ?? [])],
    projections: [RebuildWorld.sums, counts]
  })
  const tables = Seed.make({ description: "creates the tables", run: Effect.void })

  it.live(
    "corrects its rows by a merge and by a swap, in lanes, and by functions",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* SeedRunner.apply({ appliedBy: "boot" })
        yield* sql`INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
        SELECT s.id, 'counter', ${RebuildWorld.tenant}::uuid, v, 'counter.added', '{"by":1}', '{"userId":"x"}', 'x'
        FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 9)) AS s, generate_series(1, 3) AS v`
        for (const mode of ["merge", "swap"] as const) {
          const [report] = yield* ProjectionRebuild.run({ projections: ["sums"], mode, lanes: 2 })
          assert.strictEqual(report?.mode, mode)
          assert.deepStrictEqual(yield* sql`SELECT DISTINCT total FROM read_counters`, [{ total: 3 }])
          yield* sql`UPDATE read_counters SET total = 0`
        }
        yield* ProjectionRebuild.run({ projections: ["counts"] })
        assert.deepStrictEqual(yield* sql`SELECT n, count(*)::int AS rows FROM read_counts GROUP BY n`, [
          { n: 3, rows: 9 }
        ])
      }).pipe(
        Effect.provide(
          Layer.provideMerge(EsOps.layer({ seeds: { tables }, features: [feature] }), EsOps.layerEmbedded())
        )
      ),
    120_000
  )
})

describe("a seed that copies from the client into an embedded database", () => {
  it.live(
    "fails at once, as on a server, and the session goes on",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const failed = yield* Effect.flip(SeedRunner.apply({ appliedBy: "boot" }))
        assert.include(failed.message, "COPY from stdin failed")
        assert.deepStrictEqual(yield* sql`SELECT operation_id, outcome FROM es_ops_attempts`, [
          { operation_id: "copies", outcome: "failed" }
        ])
      }).pipe(
        Effect.provide(
          Layer.provideMerge(
            EsOps.layer({
              seeds: {
                copies: Seed.make({
                  description: "",
                  run: Effect.flatMap(SqlClient.SqlClient, (sql) =>
                    sql.unsafe("CREATE TABLE copied (n int); COPY copied FROM STDIN")
                  )
                })
              }
            }),
            EsOps.layerEmbedded()
          )
        )
      ),
    120_000
  )
})
