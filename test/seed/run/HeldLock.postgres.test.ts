/**
 * Seeds outside any transaction keep the lock under which they run, and hold no more locks than they need.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { Seed, SeedContext } from "effect-es-ops"
import { apply, fresh, layerOf, tenant } from "../../support/Applying.js"
import { bundled, database, decodeApply } from "../../support/Command.js"
import * as EmbeddedFolder from "../../support/EmbeddedFolder.js"
import * as Projects from "../../support/Project.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const none = (run: Effect.Effect<unknown, unknown, SqlClient.SqlClient | SeedContext.SeedContext>) =>
  Seed.make({ description: "", transaction: "none", idempotent: true, run })

const texts = (...all: ReadonlyArray<string>) =>
  none(Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.forEach(all, (text) => sql.unsafe(text), { discard: true })))

/** Applies `seed` alone on an empty database, and gives the failure with what is left. */
const failureOf = (seed: ReturnType<typeof none>) =>
  Effect.gen(function* () {
    const { query, url } = yield* TestDatabase
    yield* Effect.promise(() => query("CREATE TABLE ran (n integer)"))
    const failed = yield* Effect.flip(Effect.provide(apply(), layerOf(Database.clientOf(url), { a: seed })))
    assert.strictEqual(failed._tag, "SeedFailed")
    const ask = (text: string) => Effect.promise(() => query(text))
    assert.deepStrictEqual(yield* ask("SELECT id FROM kumiko_es_operations"), [])
    assert.deepStrictEqual(yield* ask(Database.advisoryLocks), [])
    const [attempt] = yield* ask(
      "SELECT outcome, error ->> '_tag' AS tag, error ->> 'message' AS message FROM es_ops_attempts"
    )
    const ran = yield* ask("SELECT n FROM ran ORDER BY n")
    return { cause: failed._tag === "SeedFailed" ? failed.cause : undefined, attempt, ran }
  }).pipe(fresh)

describe("the lock of a seed outside any transaction", () => {
  for (const [statement, named] of [
    ["DISCARD ALL", "DISCARD ALL"],
    ["SELECT 1; /* x */ discard\n all", "DISCARD ALL"],
    ["SELECT pg_advisory_unlock(1702063984)", "pg_advisory_unlock"],
    ["WITH a AS (SELECT pg_catalog.PG_advisory_unlock_ALL()) SELECT 1 FROM a", "pg_advisory_unlock_all"],
    ["DO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$", "pg_advisory_unlock_all"]
  ] as const) {
    it.live(`is not freed by ${JSON.stringify(statement)}, which is refused and named`, () =>
      Effect.gen(function* () {
        const { attempt, cause, ran } = yield* failureOf(
          texts("INSERT INTO ran VALUES (1)", statement, "INSERT INTO ran VALUES (2)")
        )
        assert.deepInclude(cause, { _tag: "LockControl", statement: named })
        assert.deepInclude(attempt, { outcome: "failed", tag: "LockControl" })
        assert.include(String(attempt?.["message"]), named)
        assert.deepStrictEqual(ran, [{ n: 1 }])
      })
    )
  }

  it.live("is not freed by a statement that is refused and caught: the seed fails at its end", () =>
    Effect.gen(function* () {
      const { cause } = yield* failureOf(
        none(Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.ignore(sql`SELECT pg_advisory_unlock_all()`)))
      )
      assert.deepInclude(cause, { _tag: "LockControl", statement: "pg_advisory_unlock_all" })
    })
  )

  for (const [place, run] of [
    ["a query", SeedContext.query("SELECT pg_advisory_unlock_all()")],
    [
      "a transaction of its own",
      Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(sql`SELECT pg_advisory_unlock(${1702063984n})`))
    ],
    [
      "a query inside a transaction of its own",
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        sql.withTransaction(SeedContext.query("SELECT 1, pg_advisory_unlock(1702063984)"))
      )
    ]
  ] as const) {
    it.live(`is not freed in ${place}`, () =>
      Effect.gen(function* () {
        const { cause } = yield* failureOf(none(Effect.ignore(run)))
        assert.strictEqual(Object(cause)._tag, "LockControl")
      })
    )
  }

  for (const [way, last] of [
    ["a function", "SELECT sly()"],
    ["a DO block that builds its text", "DO $$ BEGIN EXECUTE 'SELECT pg_advisory_' || 'unlock_all()'; END $$"]
  ] as const) {
    it.live(`fails the seed where ${way} freed it all the same`, () =>
      Effect.gen(function* () {
        const { attempt, cause } = yield* failureOf(
          texts(
            "CREATE FUNCTION sly() RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_unlock_all() $$",
            last,
            "INSERT INTO ran VALUES (2)"
          )
        )
        assert.strictEqual(Object(cause)._tag, "LockControl")
        assert.deepInclude(attempt, { outcome: "failed", tag: "LockControl" })
      })
    )
  }

  it.live("is gone from the pool when the seed took it once more", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const layer = layerOf(Database.clientOf(url, { maxConnections: 1 }), {
        a: texts("SELECT pg_advisory_lock(1702063984)"),
        b: texts("SELECT 1")
      })
      yield* Effect.gen(function* () {
        yield* apply()
        assert.deepStrictEqual(yield* Effect.promise(() => query(Database.advisoryLocks)), [])
      }).pipe(Effect.provide(layer))
    }).pipe(fresh)
  )

  it("keeps a second apply out, and the document names the statement", async () => {
    const { env, query } = await database()
    await query("CREATE TABLE ran (n integer)")
    const { run } = await bundled({
      "seeds/1.mjs": Projects.seedSource(
        ["INSERT INTO ran VALUES (1)", "Discard  ALL", "SELECT pg_sleep(1)", "INSERT INTO ran VALUES (2)"]
          .map((text) => `yield* sql.unsafe(${JSON.stringify(text)})`)
          .join("\n"),
        `\n  transaction: "none", idempotent: true,`
      )
    })
    const { code, stdout } = await run(["seed:apply", "--json"], env)
    assert.strictEqual(code, 1)
    const { failed } = decodeApply(stdout)
    assert.strictEqual(failed?.error._tag, "SeedFailed", stdout)
    assert.strictEqual(failed?.error.cause?._tag, "LockControl")
    assert.include(failed?.error.message, "DISCARD ALL")
    assert.deepStrictEqual(await query("SELECT n FROM ran"), [{ n: 1 }])
  })
})

describe("on an embedded database, the lock of a seed outside any transaction", () => {
  it("is not freed either", async () => {
    const made = await bundled({
      "seeds/1.mjs": Projects.seedSource("yield* sql`SELECT pg_advisory_unlock_all()`", `\n  transaction: "none",`)
    })
    await EmbeddedFolder.prepare(made)
    const { code, stdout } = await made.run(["seed:apply", "--embedded", "--json"])
    assert.strictEqual(code, 1)
    assert.strictEqual(decodeApply(stdout).failed?.error.cause?._tag, "LockControl")
  })
})

/** Locks that the one session in a transaction holds while `body` is in it. */
const locksWithin = (many: Effect.Effect<unknown, unknown, SeedContext.SeedContext | SqlClient.SqlClient>) =>
  Effect.gen(function* () {
    const { query, url } = yield* TestDatabase
    const inside = yield* Deferred.make<void>()
    const go = yield* Deferred.make<void>()
    const seed = none(
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        sql.withTransaction(Effect.all([many, Deferred.succeed(inside, undefined), Deferred.await(go)]))
      )
    )
    const running = yield* Effect.fork(Effect.provide(apply(), layerOf(Database.clientOf(url), { a: seed })))
    yield* Effect.raceFirst(Deferred.await(inside), Effect.zipRight(Fiber.join(running), Effect.never))
    const [row] = yield* Effect.promise(() =>
      query(`SELECT count(*)::int AS n FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'transactionid' AND datname = current_database()`)
    )
    yield* Deferred.succeed(go, undefined)
    yield* Fiber.join(running)
    return { locks: Number(row?.["n"]), query }
  })

describe("a transaction of its own in a seed outside any transaction", () => {
  it.live("holds no lock for each of 300 writes", () =>
    Effect.gen(function* () {
      const { locks, query } = yield* locksWithin(
        Effect.forEach(
          Array.from({ length: 300 }, (_, n) => `t${n}`),
          (key) => tenant(key)
        )
      )
      assert.isAtMost(locks, 5)
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT count(*)::int AS n FROM read_tenants")), [
        { n: 300 }
      ])
    }).pipe(fresh)
  )

  it.live("holds none for refused writes, queries, and those of a handler in a savepoint", () =>
    Effect.gen(function* () {
      const { locks, query } = yield* locksWithin(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* tenant("taken")
          yield* Effect.forEach(Array.from({ length: 50 }), () => Effect.flip(tenant("taken")))
          yield* Effect.forEach(Array.from({ length: 50 }), () => SeedContext.query("SELECT 1"))
          yield* Effect.forEach(Array.from({ length: 50 }), () => Effect.flip(SeedContext.query("SELECT 1/0")))
          yield* sql.withTransaction(
            Effect.forEach(
              Array.from({ length: 50 }, (_, n) => `n${n}`),
              (key) => tenant(key)
            )
          )
        })
      )
      assert.isAtMost(locks, 6)
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT count(*)::int AS n FROM read_tenants")), [
        { n: 51 }
      ])
    }).pipe(fresh)
  )

  it.live("loses no row to a write beside it that is refused", () =>
    Effect.gen(function* () {
      const { query } = yield* locksWithin(
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE mine (n integer)`
          yield* tenant("taken")
          const exits = yield* Effect.all(
            [
              Effect.exit(tenant("taken")),
              Effect.exit(tenant("good")),
              Effect.exit(sql`INSERT INTO mine VALUES (1)`),
              Effect.exit(tenant("taken")),
              Effect.exit(SeedContext.query("SELECT 1")),
              Effect.exit(sql`INSERT INTO mine VALUES (2)`)
            ],
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            exits.map(({ _tag }) => _tag),
            ["Failure", "Success", "Success", "Failure", "Success", "Success"]
          )
        })
      )
      const rows = yield* Effect.promise(() =>
        query("SELECT (SELECT count(*)::int FROM mine) AS mine, (SELECT count(*)::int FROM read_tenants) AS tenants")
      )
      assert.deepStrictEqual(rows, [{ mine: 2, tenants: 2 }])
    }).pipe(fresh)
  )
})
