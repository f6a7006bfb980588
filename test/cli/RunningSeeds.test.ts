/**
 * A seed that a process is in at the moment, as others see it: running, where, and since when.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { EsOps, SeedRunner, SeedStatus } from "effect-es-ops"
import { hostname } from "node:os"
import { join } from "node:path"
import { admin, database, decodeDoctor, decodeStatus, endless, bundled, tenant, untilTrue } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

const outside = Projects.seedSource(`yield* Effect.log("inside")\n    yield* Effect.never`, '\n  transaction: "none",')

/** A process that is inside a seed. */
const inside = async (files: Readonly<Record<string, string>>) => {
  const base = await database()
  const made = await bundled(files)
  const running = made.start(["seed:apply"], base.env)
  await running.says("inside")
  const [found] = await base.query(
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
  )
  const pid = Number(found?.["pid"])
  const status = async (env: Readonly<Record<string, string>> = base.env) => {
    const json = await made.run(["seed:status", "--check", "--json"], env)
    const text = await made.run(["seed:status"], env)
    return { code: json.code, text: text.stdout, ...decodeStatus(json.stdout) }
  }
  const stop = async () => {
    running.process.kill("SIGKILL")
    await running.result
  }
  return { ...base, ...made, running, pid, status, stop }
}

const statesOf = (seeds: ReadonlyArray<{ readonly id: string; readonly state: string }>) =>
  seeds.map(({ id, state }) => [id, state])

describe("a seed that another process is in", () => {
  it.each([
    ["in a transaction", endless],
    ["outside any transaction", outside]
  ])("%s is running, with host, pid and since when; it counts as pending until it is applied", async (where, seed) => {
    const made = await inside({ "seeds/1-slow.mjs": seed, "seeds/2.mjs": tenant("two") })
    const before = await made.status()
    assert.strictEqual(before.code, 3)
    assert.deepStrictEqual(statesOf(before.seeds), [
      ["1-slow", "running"],
      ["2", "pending"]
    ])
    assert.deepInclude(before.seeds[0]?.running, { host: hostname(), pid: made.pid })
    assert.isBelow(Math.abs(Date.now() - Date.parse(before.seeds[0]?.running?.since ?? "")), 60_000)
    assert.deepInclude(before.counts, { applied: 0, pending: 2, interrupted: 0 })
    const own = where === "in a transaction" ? "" : `process ${made.running.process.pid}, `
    assert.include(before.text, `running     1-slow`)
    assert.match(
      before.text,
      new RegExp(
        `on ${hostname()} \\(${own}server process ${made.pid}\\) since \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\dZ`
      )
    )
    assert.include(before.text, "2 pending, 1 running.")
    const { checks } = decodeDoctor((await made.run(["doctor", "--json"], made.env)).stdout)
    assert.isTrue(checks.find(({ name }) => name === "interrupted")?.ok)
    await made.stop()
    await untilTrue(() =>
      made.query(`SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ${made.pid})`)
    )
    const after = await made.status()
    assert.strictEqual(after.seeds[0]?.state, where === "in a transaction" ? "pending" : "interrupted")
    assert.isUndefined(after.seeds[0]?.running)
  })

  it("is running in the plan and the status of the library", async () => {
    const made = await inside({ "seeds/1-slow.mjs": endless })
    const layer = Layer.provide(EsOps.layer({ seeds: join(made.folder, "seeds") }), Database.clientOf(made.url))
    const [plan, status] = await Effect.runPromise(
      Effect.provide(Effect.all([SeedRunner.plan, SeedStatus.status]), layer)
    )
    assert.deepStrictEqual(plan.seeds, [{ id: "1-slow", state: "running" }])
    const running = Option.getOrThrow(plan.running)
    assert.deepInclude(running, { id: "1-slow", host: hostname(), serverPid: made.pid, pid: Option.none() })
    assert.deepStrictEqual(status.seeds[0]?.running, plan.running)
    assert.deepStrictEqual([status.counts.pending, plan.problems.length], [1, 0])
    await made.stop()
  })

  it("is running for a role that sees nothing of others' sessions but their names: since when is not known", async () => {
    const made = await inside({ "seeds/1-slow.mjs": endless })
    const role = `looks_${made.name}`
    await made.query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`)
    const { seeds, text } = await made.status({ DATABASE_URL: Database.url(made.name, role, "pw") })
    assert.deepStrictEqual(seeds[0]?.running, { host: hostname(), pid: made.pid, since: null })
    assert.match(text, /^running .*server process \d+\)/m)
    await made.stop()
    await made.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("is told from others whatever its id is: a long one, and one with characters that a session's name cannot have", async () => {
    const long = "2026-11-24-a-seed-whose-name-goes-on-and-on-until-nobody-reads-it-any-more"
    for (const id of [`${long}-1`, "2026-11-24 Größe 'x'"]) {
      const made = await inside({
        [`seeds/${id}.mjs`]: endless,
        [`seeds/${long}-2.mjs`]: tenant("b"),
        "seeds/3.mjs": tenant("c")
      })
      const { seeds } = await made.status()
      assert.deepStrictEqual(
        seeds.filter(({ state }) => state === "running").map((seed) => seed.id),
        [id]
      )
      assert.strictEqual(seeds.find((seed) => seed.id === id)?.running?.pid, made.pid)
      await made.stop()
    }
  })

  it("is running also where it sorts before an applied one, and not refused as late meanwhile", async () => {
    const made = await inside({ "seeds/1.mjs": tenant("one"), "seeds/2-slow.mjs": endless })
    await made.write("seeds/0-late.mjs", tenant("late"))
    const { seeds } = await made.status({ ...made.env, ES_OPS_LATE: "run" })
    assert.deepStrictEqual(statesOf(seeds), [
      ["0-late", "late"],
      ["1", "applied"],
      ["2-slow", "running"]
    ])
    await made.stop()
  })
})

describe("a seed that nobody is in", () => {
  it("is pending while something else holds the lock: a stranger, a dry run", async () => {
    const { env, query, url } = await database()
    const made = await bundled({ "seeds/1.mjs": endless, "seeds/2.mjs": tenant("two") })
    const state = async () =>
      decodeStatus((await made.run(["seed:status", "--json"], env)).stdout).seeds.map((seed) => seed.state)
    await admin(async (holder) => {
      await holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      assert.deepStrictEqual(await state(), ["pending", "pending"])
    }, url)
    const dry = made.start(["seed:apply", "--dry-run"], env)
    await dry.says("inside")
    assert.deepStrictEqual(await state(), ["pending", "pending"])
    dry.process.kill("SIGKILL")
    await dry.result
    await untilTrue(() =>
      query(
        "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
      )
    )
  })

  it("is interrupted where its attempt did not end, while another seed runs", async () => {
    const made = await inside({ "seeds/1-outside.mjs": outside })
    await made.stop()
    await untilTrue(() =>
      made.query(`SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ${made.pid})`)
    )
    await admin(async (holder) => {
      await holder.query(
        "SET application_name = 'es-ops elsewhere 2-other'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)"
      )
      assert.deepStrictEqual(statesOf((await made.status()).seeds), [["1-outside", "interrupted"]])
    }, made.url)
  })
})
