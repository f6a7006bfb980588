/**
 * Many processes at once: on an empty database, behind a slow seed, behind one that is killed, and over a seed that fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { hostname } from "node:os"
import { admin, bundled, database, decodeApply, decodeStatus, tenant, untilTrue } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

const ids = Array.from({ length: 5 }, (_, n) => `${n}`)

describe("a crowd", () => {
  // Fifty, and whatever else the machine bears: npm run test:faults -- --crowd 50.
  const size = 20
  it(`of ${size} processes on an empty database: everything once, and nobody fails`, async () => {
    const { env, query, url } = await database()
    const { start } = await bundled(Object.fromEntries(ids.map((id) => [`seeds/${id}.mjs`, tenant(`t${id}`)])))
    await admin(async (gate) => {
      await gate.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const crowd = Array.from({ length: size }, () => start(["seed:apply", "--json"], env))
      for (const one of crowd) await one.says("waits, 0 s so far")
      // Whoever waits has one connection, and no more.
      const [{ n: connections } = { n: 0 }] = await query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'es-ops%'"
      )
      assert.isAtMost(Number(connections), size)
      await gate.query("COMMIT")
      const done = await Promise.all(
        crowd.map(async ({ result }) => {
          const { code, stderr, stdout } = await result
          assert.strictEqual(code, 0, stderr)
          return decodeApply(stdout)
        })
      )
      assert.deepStrictEqual(done.flatMap(({ applied }) => applied.map(({ id }) => id)).toSorted(), ids)
    }, url)
    assert.deepStrictEqual(
      await query(
        "SELECT m.id, (SELECT count(*)::int FROM read_tenants t WHERE t.key = 't' || m.id) AS n FROM kumiko_es_operations m ORDER BY 1"
      ),
      ids.map((id) => ({ id, n: 1 }))
    )
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 5 }])
  })

  it("does not hold up a process that has nothing to do, nor the status", async () => {
    const { env, query } = await database()
    const slow = await bundled({
      "seeds/1.mjs": tenant("one"),
      "seeds/2.mjs": Projects.seedSource(`yield* Effect.log("inside")
    yield* Effect.repeat(sql\`SELECT 1 FROM go\`, { until: (rows) => rows.length > 0 })`)
    })
    await query("CREATE TABLE go (n integer)")
    await slow.run(["seed:apply", "--to", "1"], env)
    const running = slow.start(["seed:apply"], env)
    await running.says("inside")
    const older = await bundled({ "seeds/1.mjs": tenant("one") })
    const idle = await older.run(["seed:apply"], env)
    assert.deepStrictEqual([idle.code, idle.stdout], [0, "Nothing to do.\n"])
    const status = decodeStatus((await older.run(["seed:status", "--json"], env)).stdout)
    assert.deepStrictEqual(status.counts.applied, 1)
    await query("INSERT INTO go VALUES (1)")
    assert.strictEqual((await running.result).code, 0)
  })

  it("goes on when the one that holds the lock is killed inside a statement", async () => {
    const { env, query } = await database()
    const { start } = await bundled({
      "seeds/1.mjs": Projects.seedSource(
        "yield* sql`SELECT pg_sleep(CASE WHEN count(*) = 0 THEN 60 ELSE 0 END) FROM go`"
      )
    })
    await query("CREATE TABLE go (n integer)")
    const holder = start(["seed:apply"], env)
    await untilTrue(() =>
      query("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
    )
    const waiting = start(["seed:apply", "--json"], env)
    await waiting.says("waits, 0 s so far")
    await query("INSERT INTO go VALUES (1)")
    holder.process.kill("SIGKILL")
    const { code, stderr, stdout } = await waiting.result
    assert.strictEqual(code, 0, stderr)
    const { applied } = decodeApply(stdout)
    assert.deepStrictEqual(
      applied.map(({ id }) => id),
      ["1"]
    )
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts"), [{ outcome: "applied" }])
  })

  it("of eight over a seed that fails runs it once; a changed file and a new start run it again", async () => {
    const { env, query, url } = await database()
    const failing = (text: string) =>
      Projects.seedSource(`yield* Effect.log("the body runs")
    return yield* Effect.fail(new Error("${text}"))`)
    const made = await bundled({ "seeds/1.mjs": failing("broken") })
    await admin(async (gate) => {
      await gate.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const eight = Array.from({ length: 8 }, () => made.start(["seed:apply", "--json"], env))
      for (const one of eight) await one.says("waits, 0 s so far")
      await gate.query("COMMIT")
      const ended = await Promise.all(eight.map(({ result }) => result))
      assert.deepStrictEqual(new Set(ended.map(({ code }) => code)), new Set([1]))
      assert.strictEqual(ended.filter(({ stderr }) => stderr.includes("the body runs")).length, 1)
      const failures = ended.map(({ stdout }) => decodeApply(stdout).failed)
      const elsewhere = failures.filter((failed) => failed?.error._tag === "SeedFailedElsewhere")
      assert.deepStrictEqual([failures.length - elsewhere.length, elsewhere.length], [1, 7])
      for (const failed of elsewhere) {
        assert.include(failed?.error.message, `failed on ${hostname()} (process `)
        assert.match(failed?.error.message ?? "", / at 20\d\d-\d\d-\d\dT.*broken$/)
      }
    }, url)
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts"), [{ outcome: "failed" }])
    assert.strictEqual((await made.run(["seed:apply"], env)).code, 1)
    await made.write("seeds/1.mjs", failing("still broken"))
    assert.include((await made.run(["seed:apply"], env)).stderr, "still broken")
    assert.deepStrictEqual(await query("SELECT attempt FROM es_ops_attempts ORDER BY id"), [
      { attempt: 1 },
      { attempt: 2 },
      { attempt: 3 }
    ])
    assert.deepStrictEqual(await query(Database.advisoryLocks), [])
  })
})
