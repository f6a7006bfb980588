/**
 * What a seed does to its session, of which neither the next seed nor the application's pool is to have anything.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer } from "effect"
import { EsOps, Seed, SeedRunner } from "effect-es-ops"
import type { Seeds } from "../../support/Applying.js"
import { fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const texts = (...all: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.forEach(all, (text) => sql.unsafe(text), { discard: true }))

const outside = <E, R>(run: Effect.Effect<unknown, E, R>) =>
  Seed.make({ description: "", transaction: "none", idempotent: true, run })

const leaving = texts(
  "SET work_mem = '7MB'",
  "SET SESSION statement_timeout = '77s'",
  "SET LOCAL enable_seqscan = off",
  "SELECT set_config('app.tenant', 'theirs', false)",
  "DO $$ BEGIN PERFORM set_config('maintenance_work_mem', '17MB', false); END $$",
  "SET search_path = pg_catalog",
  "LISTEN seeds",
  "PREPARE prepared AS SELECT 1",
  "SELECT pg_advisory_lock(77)",
  "CREATE TEMP TABLE ids AS SELECT 1 AS id"
)

const holding = "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM pg_temp.ids"

const setting = (name: string) => `current_setting('${name}', true) AS ${name.replace(".", "_")}`

const found = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  sql.unsafe(`SELECT ${["work_mem", "enable_seqscan", "maintenance_work_mem", "search_path"].map(setting).join(", ")},
    coalesce(current_setting('app.tenant', true), '') AS tenant,
    (SELECT count(*)::int FROM pg_listening_channels()) AS channels,
    (SELECT count(*)::int FROM pg_prepared_statements WHERE from_sql) AS prepared,
    (SELECT count(*)::int FROM pg_cursors WHERE name = 'held') AS cursors,
    (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND objid = 77
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS locks,
    to_regclass('pg_temp.ids') IS NOT NULL AS temporary`)
)

/** How many other sessions there are. */
const others = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(
    sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    ([row]) => row?.n
  )
)

const timeout = Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(`SELECT ${setting("statement_timeout")}`))

type Client = Layer.Layer<SqlClient.SqlClient>

/** What is found in the pool before, and in the second seed and in the pool behind a seed that leaves all of this. */
const around = (client: Client, first: Seed.Seed<unknown, SqlClient.SqlClient>) =>
  Effect.gen(function* () {
    const services = yield* Layer.build(client)
    const pool = Effect.provide(Effect.all([found, timeout]), services)
    const [before, bound] = yield* pool
    const seen: Array<unknown> = []
    const second = seed(Effect.map(found, (rows) => void seen.push(rows)))
    const exit = yield* Effect.exit(
      Effect.provide(
        SeedRunner.apply({ appliedBy: "boot" }),
        layerOf(Layer.succeedContext(services), { "1": seed(Effect.void), "2": first, "3": second })
      )
    )
    assert.deepStrictEqual(yield* pool, [before, bound])
    return { exit, seen, before, sql: Context.get(services, SqlClient.SqlClient) }
  })

const kinds = [
  ["in a transaction", seed, Effect.zipRight(leaving, texts(holding))],
  ["outside any transaction", outside, leaving]
] as const

const servers: ReadonlyArray<readonly [name: string, client: Effect.Effect<Client, never, TestDatabase>]> = [
  ["a server", Effect.map(TestDatabase, ({ url }) => Database.clientOf(url, { maxConnections: 1 }))],
  ["an embedded database", Effect.succeed(Layer.orDie(EsOps.layerEmbedded()))]
]

describe("the session of a seed", () => {
  for (const [server, client] of servers)
    for (const [kind, make, body] of kinds)
      it.live(`is neither the next seed's nor the application's: ${kind}, on ${server}`, () =>
        Effect.gen(function* () {
          const { before, exit, seen } = yield* around(yield* client, make(body))
          assert.isTrue(Exit.isSuccess(exit), String(exit))
          assert.deepStrictEqual(seen, [before])
        }).pipe(fresh)
      )

  for (const [kind, make, body] of kinds)
    it.live(`is not the application's behind a seed that fails: ${kind}`, () =>
      Effect.gen(function* () {
        const client = Effect.map(TestDatabase, ({ url }) => Database.clientOf(url, { maxConnections: 1 }))
        const { exit } = yield* around(yield* client, make(Effect.zipRight(body, Effect.fail("no"))))
        assert.include(String(exit), "no")
      }).pipe(fresh)
    )
})

describe("the encoding of what is sent", () => {
  const dynamic = "SELECT set_config('client_' || 'encoding', 'LATIN1', false)"
  const inTransaction = ["SET LOCAL client_encoding = 'LATIN1'", "SET NAMES 'WIN1252'", dynamic]
  const outsideAny = ["DO $$ BEGIN SET client_encoding = 'LATIN1'; END $$", dynamic]
  const letters = Effect.zipRight(tenant("key", "Änne →"), texts("INSERT INTO letters VALUES ('é')"))
  const run = (text: string) => Effect.zipRight(texts("CREATE TABLE IF NOT EXISTS letters (t text)", text), letters)
  const applying = (url: string, given: Seeds[string]) =>
    Effect.flip(
      Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), layerOf(Database.clientOf(url), { "1": given }))
    )

  it.live("is not a seed's to change: nothing is stored as other letters", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      for (const text of inTransaction) {
        const failed = yield* applying(url, seed(run(text)))
        assert.match(
          failed.message,
          /client_encoding .*(?:LATIN1|WIN1252), where the driver sends and reads UTF-8/,
          text
        )
        assert.include(failed.message, "Leave it at UTF8", text)
        assert.notInclude(failed.message, "invalid input syntax", text)
        assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT FROM kumiko_events")), [], text)
      }
      for (const text of outsideAny) {
        const failed = yield* applying(url, outside(run(text)))
        assert.deepInclude(failed, { _tag: "SeedFailed" }, text)
        assert.propertyVal("cause" in failed ? failed.cause : undefined, "_tag", "EncodingChanged", text)
      }
    }).pipe(fresh)
  )

  it.live("stays a seed's that says what it is already, or was told that it may not change it", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const refused = Effect.ignore(texts("SET client_encoding = 'LATIN1'"))
      const body = Effect.zipRight(refused, run("SET client_encoding = 'UTF8'"))
      const given = {
        "1": seed(body),
        "2": outside(Effect.zipRight(texts("SET NAMES 'utf-8'"), texts("INSERT INTO letters VALUES ('é')")))
      }
      yield* Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), layerOf(Database.clientOf(url), given))
      const found = yield* Effect.promise(() => query("SELECT t FROM letters UNION ALL SELECT name FROM read_tenants"))
      assert.deepStrictEqual(found, [{ t: "é" }, { t: "é" }, { t: "Änne →" }])
    }).pipe(fresh)
  )
})

describe("a dry run", () => {
  for (const [server, client] of servers)
    it.live(`lets no seed have anything of the session of the one before it, on ${server}`, () =>
      Effect.gen(function* () {
        const services = yield* Layer.build(yield* client)
        const seen: Array<unknown> = []
        const run = seed(
          Effect.zipRight(
            Effect.map(found, (rows) => void seen.push(rows)),
            Effect.zipRight(leaving, texts(holding))
          )
        )
        const pool = Effect.provide(found, services)
        const before = yield* pool
        const { outcomes } = yield* Effect.provide(
          SeedRunner.dryRun({ appliedBy: "boot" }),
          layerOf(Layer.succeedContext(services), { "1": run, "2": run, "3": run })
        )
        assert.lengthOf(outcomes, 3)
        // A lock of the session is held until its end; the one that asks for it again has it.
        const again = before.map((row) => ({ ...row, locks: 1 }))
        assert.deepStrictEqual(seen, [before, again, again])
        // The server ends a session some time behind its connection.
        yield* Effect.repeat(Effect.provide(others, services), { until: (count) => count === 0 })
        assert.deepStrictEqual(yield* pool, before)
      }).pipe(fresh)
    )
})
