/**
 * Faults of the system that we are drop-in for, each of which was reproduced there. None of them is ours.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
import { mkdir, readdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import {
  admin,
  bundled,
  database,
  decodeApply,
  decodeHistory,
  decodeStatus,
  tenant,
  untilTrue
} from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

/** An async seed as the reference's files have them. */
const plain = (body: string, more = "") => `export default {
  description: "a plain object",${more}
  run: async (ctx) => {
    ${body}
  }
}
`

const create = (key: string) => `ctx.systemWriteAs("tenant:write:create", { key: "${key}", name: "n" })`

const count = async (query: (text: string) => Promise<ReadonlyArray<Record<string, unknown>>>, table: string) =>
  (await query(`SELECT count(*)::int AS n FROM ${table}`))[0]?.["n"]

describe("none of the reference's faults is ours", () => {
  it("1. writes are atomic with the marker: five events and an exception leave neither, at any number of starts", async () => {
    const { env, query } = await database()
    const { run } = await bundled({
      "seeds/1.mjs": plain(`for (const key of ["a", "b", "c", "d", "e"]) await ${create("k-").replace('"k-"', "key")}
    throw new Error("after five events")`)
    })
    for (const attempt of [1, 2]) {
      const { code, stderr } = await run(["seed:apply"], env)
      assert.strictEqual(code, 1)
      assert.include(stderr, 'seed "1" failed: after five events')
      assert.deepStrictEqual(await query("SELECT attempt, outcome FROM es_ops_attempts ORDER BY id DESC LIMIT 1"), [
        { attempt, outcome: "failed" }
      ])
    }
    for (const table of ["kumiko_events", "read_tenants", "kumiko_es_operations"])
      assert.strictEqual(await count(query, table), 0)
  })

  it("2. seed writes run the inline projections", async () => {
    const { env, query } = await database()
    const { run } = await bundled({ "seeds/1.mjs": plain(`await ${create("projected")}`) })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    assert.deepStrictEqual(await query("SELECT key FROM read_tenants"), [{ key: "projected" }])
    assert.strictEqual(await count(query, "kumiko_events"), 1)
  })

  it("3. a pool of one connection is enough, and the wait for the lock has a bound and a message", async () => {
    const { env, url } = await database()
    const { run } = await bundled({ "seeds/1.mjs": plain(`await ${create("one")}`) })
    const one = Layer.provide(EsOps.layer({ seeds: {} }), Database.clientOf(url, { maxConnections: 1 }))
    const report = await Effect.runPromise(Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), one))
    assert.deepStrictEqual(report.outcomes, [])
    await admin(async (holder) => {
      await holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const { code, stderr } = await run(["seed:apply", "--lock-timeout", "300ms"], env)
      assert.strictEqual(code, 5)
      assert.match(stderr, /"1" waited \d+ ms for the operations lock, which is held by server process \d+/)
    }, url)
  })

  it("4. an idle_in_transaction_session_timeout shorter than the body loses nothing", async () => {
    const { env, name, query } = await database()
    await query(`ALTER DATABASE ${name} SET idle_in_transaction_session_timeout = '100ms'`)
    const { run } = await bundled({
      "seeds/1.mjs": plain(`await ${create("slow")}
    await new Promise((resolve) => setTimeout(resolve, 400))`)
    })
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual([await count(query, "kumiko_events"), await count(query, "kumiko_es_operations")], [1, 1])
  })

  it("5. names are sorted without their extension: fix comes before fix-2", async () => {
    const { env } = await database()
    const { run } = await bundled({
      "seeds/fix-2.mjs": plain(""),
      "seeds/fix.mjs": plain(""),
      "seeds/fix.a.mjs": plain("")
    })
    const { applied } = decodeApply((await run(["seed:apply", "--json"], env)).stdout)
    assert.deepStrictEqual(
      applied.map(({ id }) => id),
      ["fix", "fix-2", "fix.a"]
    )
  })

  it("6. two files of one id are refused, and the loser of a race is reported as the loser", async () => {
    const { env, query, url } = await database()
    const twice = await bundled({ "seeds/c.ts": tenant("ts"), "seeds/c.js": plain("") })
    const refused = decodeApply((await twice.run(["seed:apply", "--json"], env)).stdout)
    assert.deepStrictEqual(
      refused.failed?.error.problems?.map(({ _tag, id }) => [_tag, id]),
      [["DuplicateSeedId", "c"]]
    )
    const { start } = await bundled({ "seeds/1.mjs": plain(`await ${create("raced")}`) })
    await admin(async (gate) => {
      await gate.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const racers = [start(["seed:apply", "--json"], env), start(["seed:apply", "--json"], env)]
      for (const racer of racers) await racer.says("waits, 0 s so far")
      await gate.query("COMMIT")
      const documents = await Promise.all(racers.map(async ({ result }) => decodeApply((await result).stdout)))
      assert.deepStrictEqual(documents.map(({ applied, raced }) => [applied.length, raced.length]).toSorted(), [
        [0, 1],
        [1, 0]
      ])
    }, url)
    assert.strictEqual(await count(query, "kumiko_events"), 1)
  })

  it("7. six processes at once on an empty database create its tables once, and nobody fails", async () => {
    const { env, query, url } = await database()
    const { start } = await bundled({ "seeds/1.mjs": plain(`await ${create("first")}`) })
    await admin(async (gate) => {
      await gate.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const six = Array.from({ length: 6 }, () => start(["seed:apply"], env))
      for (const one of six) await one.says("waits, 0 s so far")
      await gate.query("COMMIT")
      for (const { result } of six) {
        const { code, stderr } = await result
        assert.strictEqual(code, 0, stderr)
      }
    }, url)
    assert.strictEqual(await count(query, "kumiko_es_operations"), 1)
  })

  it("8. a folder that cannot be read, or is not there, is refused", async () => {
    const { env } = await database()
    const { run } = await bundled({ "a-file": "" })
    assert.strictEqual((await run(["seed:apply", "--seeds", "a-file"], env)).code, 4)
    const typo = await run(["seed:apply", "--seeds", "sedes"], env)
    assert.strictEqual(typo.code, 4)
    assert.match(typo.stderr, /the seeds folder .*sedes does not exist/)
  })

  it("9. a freshly scaffolded seed passes its own validation", async () => {
    const { run } = await bundled()
    await run(["seed:new", "something new"])
    assert.strictEqual((await run(["seed:check"])).code, 0)
  })

  it("10. a syntax error in seed 3 is found before seeds 1 and 2 are applied", async () => {
    const { env, query } = await database()
    const { run } = await bundled({
      "seeds/1.mjs": plain(""),
      "seeds/2.mjs": plain(""),
      "seeds/3.ts": "export default {,}"
    })
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 4)
    assert.include(stderr, "3.ts cannot be loaded: line 1")
    assert.deepStrictEqual(await query("SELECT to_regclass('kumiko_es_operations')::text AS t"), [{ t: null }])
  })

  it("11. declarations, tests and folders are not taken for seeds", async () => {
    const { folder, run } = await bundled({
      "seeds/1.mjs": plain(""),
      "seeds/a.d.ts": "",
      "seeds/b.test.ts": "",
      "seeds/c.spec.mjs": ""
    })
    await mkdir(join(folder, "seeds", "x.ts"))
    const { seeds } = decodeStatus((await run(["seed:check", "--json"])).stdout)
    assert.deepStrictEqual(
      seeds.map(({ id }) => id),
      ["1"]
    )
  })

  it("12. the command applies, and a status without a database is an error", async () => {
    const { env, query } = await database()
    const { run } = await bundled({ "seeds/1.mjs": plain("") })
    assert.strictEqual((await run(["seed:status"])).code, 2)
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    assert.strictEqual(await count(query, "kumiko_es_operations"), 1)
  })

  it("13. a seed file that was mended runs its new code in the same process", async () => {
    const { url } = await database()
    const { folder } = await bundled({ "seeds/1.mjs": plain(`throw new Error("not yet")`) })
    const services = Layer.provide(EsOps.layer({ seeds: join(folder, "seeds") }), Database.clientOf(url))
    const [failed, mended] = await Effect.runPromise(
      Effect.gen(function* () {
        const first = yield* Effect.flip(SeedRunner.apply({ appliedBy: "boot" }))
        yield* Effect.promise(() => writeFile(join(folder, "seeds", "1.mjs"), plain("")))
        return [first, yield* SeedRunner.apply({ appliedBy: "boot" })] as const
      }).pipe(Effect.provide(services))
    )
    assert.include(failed.message, "not yet")
    assert.deepStrictEqual(
      mended.outcomes.map(({ _tag, id }) => [_tag, id]),
      [["Applied", "1"]]
    )
  })

  it("14. skips and failures are recorded, an edited seed is noticed, a marker without a file is shown", async () => {
    const { env, query } = await database()
    const made = await bundled({
      "seeds/1.mjs": plain(""),
      "seeds/2.mjs": plain("", "\n  skippable: true,"),
      "seeds/3.mjs": plain(`throw new Error("no")`)
    })
    await made.run(["seed:apply"], { ...env, KUMIKO_SKIP_ES_OPS_2: "1" })
    const outcomes = decodeHistory((await made.run(["history", "--json"], env)).stdout)
    assert.deepStrictEqual(
      outcomes.map(({ id, outcome }) => [id, outcome]),
      [
        ["3", "failed"],
        ["2", "skipped"],
        ["1", "applied"]
      ]
    )
    await made.write("seeds/1.mjs", plain("const edited = 1"))
    await query("INSERT INTO kumiko_es_operations VALUES ('9', 'seed-migration', now(), 0, 'boot', null)")
    const { seeds } = decodeStatus((await made.run(["seed:status", "--json"], env)).stdout)
    assert.deepStrictEqual(
      seeds.map(({ changed, id, lastAttempt, state }) => [id, state, changed, lastAttempt?.outcome]),
      [
        ["1", "applied", true, "applied"],
        ["2", "pending", false, "skipped"],
        ["3", "late", false, "failed"],
        ["9", "orphan", false, undefined]
      ]
    )
  })

  it("15. a forgotten await does not commit the marker before the write", async () => {
    const { env, query } = await database()
    const made = await bundled({ "seeds/1.mjs": plain(`${create("forgotten")}`) })
    const settled = await made.runProcess(["seed:apply"], env)
    assert.strictEqual(settled.code, 0, settled.stderr)
    assert.include(settled.stderr, "warn: not awaited: tenant:write:create")
    assert.deepStrictEqual([await count(query, "kumiko_events"), await count(query, "kumiko_es_operations")], [1, 1])
    await made.write("seeds/2.mjs", plain(`${create("forgotten")}`))
    const failed = await made.runProcess(["seed:apply"], env)
    assert.strictEqual(failed.code, 1)
    assert.include(failed.stderr, "not awaited: tenant:write:create")
    assert.deepStrictEqual([await count(query, "kumiko_events"), await count(query, "kumiko_es_operations")], [1, 1])
  })

  it("16. a SQL error that the seed catches fails the seed by its own name", async () => {
    const { env, query } = await database()
    const { run } = await bundled({
      "seeds/1.ts":
        Projects.seedSource(`yield* SeedContext.systemWriteAs("tenant:write:create", { key: "k", name: "n" })
    yield* Effect.ignore(sql\`SELECT no_such_column\`)`)
    })
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 1)
    assert.match(stderr, /seed "1" failed: .*column "no_such_column" does not exist/)
    assert.strictEqual(await count(query, "kumiko_events"), 0)
  })

  it("17. the events of a seed carry its id, and one correlation for the step", async () => {
    const { env, query } = await database()
    const { run } = await bundled({ "seeds/1-linked.mjs": plain(`await ${create("a")}\n    await ${create("b")}`) })
    await run(["seed:apply"], env)
    assert.deepStrictEqual(
      await query(`SELECT metadata->'headers'->>'operationId' AS id, count(DISTINCT metadata->>'correlationId')::int AS steps, count(*)::int AS n
        FROM kumiko_events GROUP BY 1`),
      [{ id: "1-linked", steps: 1, n: 2 }]
    )
  })
})

describe("async functions that a seed does not await", () => {
  /** A process that is none of the command's: what Node does with a rejection that nobody handles decides how it ends. */
  const program = (seed: string) => `
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
const Main = Layer.provide(EsOps.layer({ seeds: { "1": () => import("./${seed}.mjs") } }), PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
const exit = await Effect.runPromiseExit(Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), Main))
await new Promise((resolve) => setTimeout(resolve, 100))
console.log("end", exit._tag, exit._tag === "Failure" ? String(exit.cause) : "")
`
  const forgotten: ReadonlyArray<readonly [string, string, RegExp, number]> = [
    ["fails", `const fix = async () => { await ${create("")} }\n    fix()`, /not awaited: tenant:write:create/, 1],
    [
      "goes on after run has returned",
      `const fix = async () => { await ${create("a")}; await ${create("b")} }\n    fix()`,
      /not awaited: tenant:write:create: it was started after run had returned/,
      1
    ],
    [
      "rejects long after run has returned",
      `const fix = async () => { const p = ${create("")}; await new Promise((resolve) => setTimeout(resolve, 60)); await p }\n    fix()`,
      /not awaited: tenant:write:create/,
      1
    ],
    [
      "is under way when run throws",
      `const fix = async () => { await ${create("a")}; await ${create("b")} }\n    fix()\n    throw new Error("thrown by run")`,
      /thrown by run/,
      1
    ],
    [
      "comes when all is over",
      `await ${create("a")}\n    setTimeout(async () => { await ${create("b")} }, 50)`,
      /end Success/,
      0
    ]
  ]

  it.each(forgotten)(
    "one that %s: nothing lands after the COMMIT, and the process does not end",
    async (_, body, expected, code) => {
      const { env, query } = await database()
      const made = await bundled({
        "seeds/1.mjs": plain(body),
        "seed.mjs": plain(body),
        "program.mjs": program("seed")
      })
      const inProgram = await made.node("program.mjs", env)
      assert.strictEqual(inProgram.code, 0, inProgram.stderr)
      assert.match(inProgram.stdout, expected)
      assert.include(inProgram.stdout, "end ")
      const events = await count(query, "kumiko_events")
      assert.strictEqual(events, code === 0 ? 1 : 0)
      if (code === 0) await made.runProcess(["seed:unmark", "1", "--reason", "again"], env)
      if (code === 0) await query("DELETE FROM read_tenants")
      const inCommand = await made.runProcess(["seed:apply"], env)
      assert.strictEqual(inCommand.code, code, inCommand.stderr)
      if (code === 1) assert.match(inCommand.stderr, expected)
      await untilTrue(async () => ((await count(query, "kumiko_es_operations")) === (code === 0 ? 1 : 0) ? [1] : []))
      assert.deepStrictEqual((await readdir(join(made.folder, "seeds"))).length, 1)
    }
  )
})
