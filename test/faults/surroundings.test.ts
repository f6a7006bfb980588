/**
 * Surroundings that are not as one would like: settings of the role, few connections, a server that only reads or goes away, a slow wire.
 */
import { assert, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { admin, bundled, database, decodeApply, tenant, untilTrue } from "../support/Command.js"
import * as FaultProxies from "../support/FaultProxy.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"
import * as TestServer from "../support/TestServer.js"

const slow = Projects.seedSource(`yield* SeedContext.systemWriteAs("tenant:write:create", { key: "slow", name: "n" })
    yield* Effect.sleep("350 millis")
    yield* sql\`SELECT pg_sleep(0.35)\``)

describe("settings of the role", () => {
  const settings = [
    ["idle_in_transaction_session_timeout", "100ms"],
    ["statement_timeout", "100ms"],
    ["transaction_timeout", "200ms"],
    ["lock_timeout", "50ms"],
    ["default_transaction_isolation", "repeatable read"],
    ["default_transaction_isolation", "serializable"],
    ["default_transaction_deferrable", "on"]
  ] as const
  it.each(settings)("%s = %s, shorter than the body and the wait, changes nothing", async (name, value) => {
    const { env, name: of, query, url } = await database()
    const { start } = await bundled({ "seeds/1.mjs": slow })
    await query(`ALTER DATABASE ${of} SET ${name} = '${value}'`)
    await admin(async (holder) => {
      await holder.query(
        "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; SET transaction_timeout = 0"
      )
      await holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const waiting = start(["seed:apply"], env)
      await waiting.says("waits, 0 s so far")
      await holder.query("COMMIT")
      const { code, stderr } = await waiting.result
      assert.strictEqual(code, 0, stderr)
    }, url)
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
  })

  it("a role that may have two connections is enough, also for two processes", async () => {
    const { name, query } = await database()
    const role = `two_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw' CONNECTION LIMIT 2; GRANT CREATE ON SCHEMA public TO ${role}`)
    const { runProcess: run } = await bundled({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    const env = { DATABASE_URL: Database.url(name, role, "pw") }
    const both = await Promise.all([run(["seed:apply"], env), run(["seed:apply"], env)])
    for (const { code, stderr } of both) assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 2 }])
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
})

describe("a server", () => {
  it("that only reads, stops at once and starts again: a typed error, and every seed once", async () => {
    const server = await TestServer.start()
    try {
      const url = `postgres://${server.address.user}:${server.address.password}@127.0.0.1:${server.address.port}/postgres`
      const ask = (text: string) =>
        admin(async (client) => (await client.query<Record<string, unknown>>(text)).rows, url)
      const env = { DATABASE_URL: url }
      const { run, start } = await bundled({
        "seeds/1.mjs": tenant("one"),
        "seeds/2.mjs":
          Projects.seedSource(`yield* SeedContext.systemWriteAs("tenant:write:create", { key: "two", name: "n" })
    yield* Effect.log("inside")
    yield* sql\`SELECT pg_sleep(CASE WHEN count(*) = 0 THEN 60 ELSE 0 END) FROM go\``),
        "seeds/3.mjs": tenant("three")
      })
      await ask("CREATE TABLE go (n integer)")
      const running = start(["seed:apply", "--json"], env)
      await untilTrue(() => ask("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
      await server.restart("immediate")
      const { code, stderr, stdout } = await running.result
      assert.strictEqual(code, 6, stderr)
      const { applied, failed, notAttempted } = decodeApply(stdout)
      assert.deepStrictEqual(
        [applied.map(({ id }) => id), failed?.id, failed?.error._tag, notAttempted],
        [["1"], "2", "DatabaseError", ["3"]]
      )
      assert.deepStrictEqual(await ask("SELECT key FROM read_tenants"), [{ key: "one" }])

      await ask("INSERT INTO go VALUES (1)")
      await server.restart("fast", true)
      const refused = await run(["seed:apply", "--json"], env)
      assert.strictEqual(refused.code, 6, refused.stderr)
      assert.deepStrictEqual(decodeApply(refused.stdout).failed?.error._tag, "DatabaseError")
      assert.strictEqual((await run(["seed:status"], env)).code, 0)

      await server.restart("fast")
      const again = await run(["seed:apply", "--json"], env)
      assert.strictEqual(again.code, 0, again.stderr)
      assert.deepStrictEqual(
        decodeApply(again.stdout).applied.map(({ id }) => id),
        ["2", "3"]
      )
      assert.deepStrictEqual(await ask("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 3 }])
    } finally {
      await server.stop()
    }
  })
})

describe("a wire", () => {
  const through = async (point: FaultProxies.Point, passes = 1) => {
    const { query, url } = await database()
    const proxy = await FaultProxies.start(inject("postgres"))
    const proxied = new URL(url)
    proxied.port = `${proxy.port}`
    const made = await bundled({
      "seeds/1.mjs": Projects.seedSource(
        "yield* SeedContext.systemWriteAs('tenant:write:create', { key: 'one', name: 'n' })\n    yield* sql`SELECT 'INSERT INTO ledger'`"
      )
    })
    const stop = proxy.stopAt(point, passes)
    const running = made.start(["seed:apply", "--json"], { DATABASE_URL: proxied.href })
    return { made, proxy, query, running, stopped: await stop, url }
  }

  it("that loses the answer to COMMIT: reported as applied, as the server has it", async () => {
    const { proxy, query, running, stopped } = await through("after COMMIT, before the report")
    stopped.cut()
    const { code, stderr, stdout } = await running.result
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      decodeApply(stdout).applied.map(({ events, id }) => [id, events]),
      [["1", 1]]
    )
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
    await proxy.close()
  })

  it("that loses the COMMIT itself: an error with the seed's id, nothing kept, and the attempt", async () => {
    const { proxy, query, running, stopped } = await through("before marker and COMMIT")
    stopped.cut()
    const { code, stdout } = await running.result
    assert.strictEqual(code, 6)
    assert.deepInclude(decodeApply(stdout).failed, { id: "1" })
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 0 }])
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts"), [{ outcome: "failed" }])
    await proxy.close()
  })

  it("that is reset between two writes: an error with the seed's id, nothing kept, and the attempt", async () => {
    const { proxy, query, running, stopped } = await through("between its writes", 0)
    stopped.reset()
    const { code, stdout } = await running.result
    assert.strictEqual(code, 6)
    assert.deepInclude(decodeApply(stdout).failed, { id: "1" })
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 0 }])
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts"), [{ outcome: "failed" }])
    await proxy.close()
  })

  it("that stalls in a seed holds up whoever waits for the lock, and nothing else", async () => {
    const { made, proxy, query, running, stopped, url } = await through("between its writes", 0)
    const waiting = made.start(["seed:apply", "--json"], { DATABASE_URL: url })
    await waiting.says("waits, 0 s so far")
    stopped.resume()
    const [first, second] = [await running.result, await waiting.result]
    assert.deepStrictEqual([first.code, second.code], [0, 0], first.stderr + second.stderr)
    assert.deepStrictEqual([decodeApply(first.stdout).applied.length, decodeApply(second.stdout).raced], [1, ["1"]])
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
    await proxy.close()
  })

  it("that delays the COMMIT until somebody has lost patience: they are told, and the server decides", async () => {
    const { made, proxy, query, running, stopped, url } = await through("before marker and COMMIT")
    running.process.kill("SIGTERM")
    const { code } = await running.result
    assert.strictEqual(code, 143)
    stopped.resume()
    await untilTrue(async () => ((await query(Database.advisoryLocks)).length === 0 ? [1] : []))
    const again = await made.run(["seed:apply"], { DATABASE_URL: url })
    assert.strictEqual(again.code, 0, again.stderr)
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
    await proxy.close()
  })
})
