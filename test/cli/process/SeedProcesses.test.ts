/**
 * `seed:apply` and `seed:status` as processes: several at once, killed, sent signals, and ended by a seed or a module.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  admin,
  bundled,
  database,
  decodeApply,
  decodeError,
  project,
  tenant,
  untilTrue
} from "../../support/Command.js"
import * as Projects from "../../support/Project.js"
import * as Database from "../../support/TestDatabase.js"

describe("seed:apply and seed:status", () => {
  it("are raced by two processes over ten seeds: each is applied once, by one of them", async () => {
    const { env, query } = await database()
    const files = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`seeds/${n}.ts`, tenant(`t${n}`)]))
    const { runProcess: run } = await project(files)
    const results = await Promise.all([run(["seed:apply", "--json"], env), run(["seed:apply", "--json"], env)])
    assert.deepStrictEqual(
      results.map(({ code }) => code),
      [0, 0]
    )
    const [a, b] = results.map(({ stdout }) => decodeApply(stdout))
    const applied = [...(a?.applied ?? []), ...(b?.applied ?? [])].map(({ id }) => id).toSorted()
    assert.deepStrictEqual(
      applied,
      Array.from({ length: 10 }, (_, n) => `${n}`)
    )
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 10 }])
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_es_operations"), [{ n: 10 }])
    assert.deepStrictEqual(await query("SELECT outcome, count(*)::int AS n FROM es_ops_attempts GROUP BY outcome"), [
      { outcome: "applied", n: 10 }
    ])
  })

  const blocked = [
    // Everything before the marker is done when its INSERT waits for this row; and the marker as well, when the attempt's waits for its table.
    [
      "body and marker",
      "INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) VALUES ('1', 'x', 0, 'x')"
    ],
    ["marker and COMMIT", "LOCK TABLE es_ops_attempts IN SHARE MODE"]
  ] as const
  it.each(blocked)(
    "keep nothing of a process that is killed between %s, and apply the seed once afterwards",
    async (_, block) => {
      const { env, query, url } = await database()
      const { run, start } = await bundled({ "seeds/0.mjs": tenant("zero"), "seeds/1.mjs": tenant("one") })
      await run(["seed:apply", "--to", "0"], env)
      await admin(async (blocker) => {
        await blocker.query(`BEGIN; ${block}`)
        const running = start(["seed:apply"], env)
        await untilTrue(() =>
          query(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO%kumiko_es_operations%'"
          )
        )
        running.process.kill("SIGKILL")
        assert.strictEqual((await running.result).signal, "SIGKILL")
        await untilTrue(async () => ((await query(Database.advisoryLocks)).length === 0 ? [1] : []))
        await blocker.query("ROLLBACK")
      }, url)
      assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [{ id: "0" }])
      assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
      const again = await run(["seed:apply", "--json"], env)
      assert.deepStrictEqual(
        decodeApply(again.stdout).applied.map(({ events, id }) => [id, events]),
        [["1", 1]]
      )
      assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 2 }])
    }
  )

  it("roll back, record and release on a signal, and exit 130 or 143", async () => {
    const { env, query } = await database()
    const body = `yield* SeedContext.systemWriteAs("tenant:write:create", { key: "k", name: "n" })
    yield* Effect.log("inside")
    yield* Effect.never`
    const { run, start } = await bundled({
      "seeds/0.mjs": tenant("zero"),
      "seeds/1.mjs": Projects.seedSource(body),
      "seeds/2.mjs": tenant("two")
    })
    await run(["seed:apply", "--to", "0"], env)
    for (const [signal, expected] of [
      ["SIGINT", 130],
      ["SIGTERM", 143]
    ] as const) {
      const running = start(["seed:apply", "--json"], env)
      await running.says("inside")
      running.process.kill(signal)
      const { code, stderr, stdout } = await running.result
      assert.strictEqual(code, expected, stderr)
      assert.include(stderr, "rolled back")
      assert.deepStrictEqual(decodeApply(stdout).notAttempted, ["2"])
    }
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts ORDER BY id"), [
      { outcome: "applied" },
      { outcome: "interrupted" },
      { outcome: "interrupted" }
    ])
    assert.deepStrictEqual(await query(Database.advisoryLocks), [])
  })

  it("name who holds the lock at once while they wait, and exit 5 when it takes too long", async () => {
    const { env, url } = await database()
    const { run, start } = await bundled({ "seeds/1.mjs": tenant("one") })
    await admin(async (holder) => {
      await holder.query("SET application_name = 'slow deploy'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const late = await run(["seed:apply", "--lock-timeout", "0s", "--json"], env)
      assert.strictEqual(late.code, 5)
      assert.deepInclude(decodeApply(late.stdout).failed, { id: "1" })
      assert.include(late.stderr, "(slow deploy)")
      const waiting = start(["seed:apply"], env)
      await waiting.says("(slow deploy)")
      await holder.query("COMMIT")
      assert.strictEqual((await waiting.result).code, 0)
    }, url)
  })

  it("end when they are done, whatever a seed leaves running, and first of all when it ends the process", async () => {
    const { env, query } = await database()
    const seeds = {
      "seeds/1.mjs": Projects.seedSource(`yield* Effect.forkDaemon(Effect.forever(Effect.sleep("50 millis")))`),
      "exits/2.mjs": `${tenant("exit")}`.replace("yield*", "process.exit(0)\n    yield*"),
      "rejects/3.mjs": tenant("reject").replace(
        "yield*",
        `void Promise.reject(new Error("nobody awaits this"))\n    yield* Effect.sleep("30 seconds")\n    yield*`
      )
    }
    const { runProcess: run } = await bundled(seeds)
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    const exits = await run(["seed:apply", "--seeds", "exits"], env)
    assert.strictEqual(exits.code, 1)
    assert.include(exits.stderr, "a seed ended the process")
    assert.strictEqual(exits.stdout, "cut off     2\n0 applied, 1 cut off, 0 not attempted.\n")
    const exitsJson = await run(["seed:apply", "--seeds", "exits", "--json"], env)
    assert.deepInclude(decodeApply(exitsJson.stdout).failed, { id: "2" })
    assert.include(exitsJson.stdout, 'seed \\"2\\" failed: a seed ended the process')
    const rejects = await run(["seed:apply", "--seeds", "rejects", "--json"], env)
    assert.strictEqual(rejects.code, 1, rejects.stderr)
    assert.include(rejects.stderr, "nobody awaits this")
    assert.deepInclude(decodeApply(rejects.stdout).failed, { id: "3" })
    assert.deepInclude(decodeApply(rejects.stdout).failed?.error.cause, {
      _tag: "Error",
      message: "nobody awaits this"
    })
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 0 }])
  })

  it("write a document also when a module ends the process while it is loaded", async () => {
    const { env } = await database()
    const { runProcess: run } = await bundled({ "seeds/1.mjs": "process.exit(0)" })
    for (const words of [["seed:check"], ["seed:status"], ["doctor"]]) {
      const { code, stdout } = await run([...words, "--json"], env)
      const { error } = decodeError(stdout)
      assert.deepStrictEqual([code, error._tag], [1, "ProcessEnded"])
      assert.match(error.message, /seeds\/1\.mjs ended the process while it was loaded$/)
    }
    assert.strictEqual(
      decodeApply((await run(["seed:apply", "--json"], env)).stdout).failed?.error._tag,
      "ProcessEnded"
    )
  })

  it("do not mind a reader that has seen enough", async () => {
    const { env } = await database()
    const { start } = await bundled({ "seeds/1.mjs": tenant("one") })
    const running = start(["seed:status", "--json"], env)
    running.process.stdout?.destroy()
    const { code, stderr } = await running.result
    assert.strictEqual(code, 0, stderr)
    assert.notInclude(stderr, "EPIPE")
  })
})
