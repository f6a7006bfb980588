/**
 * Runs that are interrupted while the server is in their COMMIT: on a server whose commits wait for a standby that does not exist.
 */
import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { EsOps, SeedContext, SeedRunner, SeedsApplied } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { Client } from "pg"
import { quiet, seed } from "../support/Applying.js"
import { bundled, decodeApply, decodeStatus, tenant, untilTrue } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import { logged } from "../support/Runs.js"
import * as TestServer from "../support/TestServer.js"

let server: TestServer.Server

beforeAll(async () => {
  server = await TestServer.start({ synchronous_standby_names: "ghost" })
})

afterAll(() => server.stop())

const none = `\n  transaction: "none",`

/** A fresh database on it; what is asked here does not wait. */
const database = async () => {
  const { host, password, port, user } = server.address
  const urlOf = (name: string) => `postgres://${user}:${password}@${host}:${port}/${name}`
  const query = async (text: string, url: string) => {
    const client = new Client({ connectionString: url, options: "-c synchronous_commit=local" })
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(text)).rows
    } finally {
      await client.end()
    }
  }
  const name = `t_${randomUUID().replaceAll("-", "")}`
  await query(`CREATE DATABASE ${name}`, urlOf("postgres"))
  const url = urlOf(name)
  const ask = (text: string) => query(text, url)
  // The tables are there, and no COMMIT but the seed's own waits.
  await ask(`ALTER DATABASE ${name} SET synchronous_commit = local`)
  const { run } = await bundled({ "seeds/0.mjs": tenant("zero") })
  await run(["seed:apply"], { DATABASE_URL: url })
  await ask(
    "DELETE FROM kumiko_es_operations; DELETE FROM es_ops_attempts; DELETE FROM kumiko_events; DELETE FROM read_tenants"
  )
  await ask(`ALTER DATABASE ${name} RESET synchronous_commit`)
  return { url, env: { DATABASE_URL: url }, query: ask }
}

const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()"
const outcomes = "SELECT outcome FROM es_ops_attempts ORDER BY id"
const markers = "SELECT id FROM kumiko_es_operations"

describe("a run that is interrupted while its COMMIT waits for a standby", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143]
  ] as const)("by %s, says that the seed is applied, as it is (exit %i)", async (signal, expected) => {
    const { env, query } = await database()
    const { run, start } = await bundled({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    const running = start(["seed:apply", "--json"], env)
    await untilTrue(() => query(waiting))
    running.process.kill(signal)
    const { code, stderr, stdout } = await running.result
    assert.strictEqual(code, expected, stderr)
    const { applied, failed, notAttempted } = decodeApply(stdout)
    assert.deepStrictEqual(
      applied.map(({ id }) => id),
      ["1"]
    )
    assert.deepStrictEqual([failed?.id, failed?.error._tag, notAttempted], [null, "Interrupted", ["2"]])
    assert.notInclude(stderr, "rolled back")
    assert.notInclude(stderr, "nothing was applied")
    assert.deepStrictEqual(await query(markers), [{ id: "1" }])
    assert.deepStrictEqual(await query(outcomes), [{ outcome: "applied" }])
    const { seeds } = decodeStatus((await run(["seed:status", "--json"], env)).stdout)
    assert.deepStrictEqual(
      seeds.map(({ state }) => state),
      ["applied", "pending"]
    )
  })

  it("outside any transaction, says the same", async () => {
    const { env, query } = await database()
    const { start } = await bundled({
      "seeds/1.mjs": Projects.seedSource("yield* sql`SET synchronous_commit = on`", none)
    })
    // Only the record of the end is to wait.
    const local = new URL(env.DATABASE_URL)
    local.searchParams.set("options", "-c synchronous_commit=local")
    const running = start(["seed:apply"], { DATABASE_URL: local.href })
    await untilTrue(() => query(waiting))
    running.process.kill("SIGINT")
    const { code, stderr, stdout } = await running.result
    assert.strictEqual(code, 130, stderr)
    assert.include(stdout, "applied     1")
    assert.notInclude(stderr, "rolled back")
    assert.notInclude(stderr, "not undone")
    assert.deepStrictEqual(await query(outcomes), [{ outcome: "applied" }])
  })

  it("for the second time, says that what became of it is not known, and which command tells", async () => {
    const { env, query } = await database()
    const { start } = await bundled({ "seeds/1.mjs": tenant("one") })
    for (const json of [[], ["--json"]]) {
      const running = start(["seed:apply", ...json], env)
      await untilTrue(() => query(waiting))
      running.process.kill("SIGINT")
      running.process.kill("SIGTERM")
      const { code, stderr, stdout } = await running.result
      assert.isTrue(code === 130 || code === 143, stderr)
      assert.include(stderr, "es-ops seed:status")
      assert.notInclude(`${stderr}${stdout}`, "was rolled back")
      if (json.length > 0) {
        const { failed } = decodeApply(stdout)
        assert.deepStrictEqual([failed?.id, failed?.error._tag], ["1", "CommitUnknown"])
        assert.include(failed?.error.message, "seed:status")
      }
      await query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
      await untilTrue(async () => ((await query(waiting)).length === 0 ? [1] : []))
      await query("DELETE FROM kumiko_es_operations")
      await query("TRUNCATE read_tenants, kumiko_events")
    }
  })
})

const layerOf = (url: string, maxConnections: number) =>
  EsOps.layer({
    seeds: { "1": seed(SeedContext.systemWriteAs("tenant:write:create", { key: "k", name: "n" })) }
  }).pipe(Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections }).pipe(Layer.orDie)))

describe("an interrupted fiber whose COMMIT waits for a standby", () => {
  it.live("tells its observer of the outcome, and records no attempt that is not true", () =>
    Effect.gen(function* () {
      const { query, url } = yield* Effect.promise(database)
      const seen: Array<string> = []
      const observer = { ...quiet, outcome: ({ _tag }: { _tag: string }) => Effect.sync(() => void seen.push(_tag)) }
      const fiber = yield* Effect.fork(
        Effect.provide(SeedRunner.apply({ appliedBy: "boot", observer }), layerOf(url, 2))
      )
      yield* Effect.promise(() => untilTrue(() => query(waiting)))
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.deepStrictEqual(seen, ["Applied"])
      assert.deepStrictEqual(yield* Effect.promise(() => query(outcomes)), [{ outcome: "applied" }])
    })
  )

  it.live("with a pool of one, where nobody can ask the server, logs that it is not known", () =>
    Effect.gen(function* () {
      const { query, url } = yield* Effect.promise(database)
      const { lines } = yield* logged(
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(Layer.build(Layer.provide(SeedsApplied.layer, layerOf(url, 1))))
          yield* Effect.promise(() => untilTrue(() => query(waiting)))
          yield* Fiber.interrupt(fiber)
        })
      )
      assert.isTrue(
        lines.some((line) => line.includes("whether it is applied is not known") && line.includes("seed:status")),
        lines.join("\n")
      )
      yield* Effect.promise(() =>
        query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
      )
      yield* Effect.promise(() => untilTrue(() => query(markers)))
      assert.deepStrictEqual(yield* Effect.promise(() => query(outcomes)), [{ outcome: "applied" }])
    }).pipe(Effect.scoped)
  )
})

describe("a run that is interrupted while its COMMIT runs a deferred trigger", () => {
  it("is rolled back, and says and records so", async () => {
    const { env, query } = await database()
    await query(`ALTER DATABASE ${new URL(env.DATABASE_URL).pathname.slice(1)} SET synchronous_commit = local`)
    await query(`CREATE TABLE slow (n integer);
      CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$;
      CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slowly()`)
    const { start } = await bundled({ "seeds/1.mjs": Projects.seedSource("yield* sql`INSERT INTO slow VALUES (1)`") })
    const running = start(["seed:apply"], env)
    await untilTrue(() => query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
    running.process.kill("SIGINT")
    const { code, stderr } = await running.result
    assert.strictEqual(code, 130, stderr)
    assert.include(stderr, '"1" was under way and was rolled back; nothing was applied')
    assert.deepStrictEqual(await query(markers), [])
    assert.deepStrictEqual(await query(outcomes), [{ outcome: "interrupted" }])
  })
})
