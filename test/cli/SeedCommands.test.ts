/**
 * The built command as a child process, on the test server: words in, lines and codes out, and what is in the database afterwards.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Attempt } from "effect-es-ops"
import { inject } from "vitest"
import {
  admin,
  database,
  decodeApply,
  decodeEntry,
  decodeError,
  decodeStatus,
  project,
  tenant,
  untilTrue
} from "../support/Command.js"
import type { Project } from "../support/Project.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

const failing = Projects.seedSource(`return yield* Effect.fail(new RangeError("too far"))`)

describe("seed:apply and seed:status", () => {
  it("apply once, say so, and find nothing to do the second time", async () => {
    const { env, query } = await database()
    const { run } = await project({
      "seeds/1-one.mjs": tenant("one"),
      "seeds/2-two.mjs": tenant("two").replace("Option, ", "")
    })
    const first = await run(["seed:apply"], env)
    assert.strictEqual(first.code, 0, first.stderr)
    assert.match(
      first.stdout,
      /^applied {5}1-one +\d+ ms {2}1 event\napplied {5}2-two +\d+ ms {2}1 event\n2 applied, 0 not attempted\.\n$/
    )
    assert.match(first.stderr, /^database: postgres:\/\/postgres:\*\*\*@127\.0\.0\.1:\d+\/cli_\w+\n$/)
    const second = await run(["seed:apply"], env)
    assert.deepStrictEqual([second.code, second.stdout], [0, "Nothing to do.\n"])
    assert.deepStrictEqual(await query("SELECT key FROM read_tenants ORDER BY key"), [{ key: "one" }, { key: "two" }])
    const status = await run(["seed:status", "--check"], env)
    assert.strictEqual(status.code, 0)
    assert.match(status.stdout, /^applied {5}1-one .*\napplied {5}2-two .*\n2 applied\.\n$/)
  })

  it("stop at the first failure with exit 1, and say what was done, what failed and why, and what was not attempted", async () => {
    const { env, query } = await database()
    const { run } = await project({
      "seeds/1.mjs": tenant("one"),
      "seeds/2.mjs": failing,
      "seeds/3.mjs": tenant("three")
    })
    const text = await run(["seed:apply"], env)
    assert.strictEqual(text.code, 1)
    assert.include(text.stdout, "failed      2\nnot run     3\n1 applied, 1 failed, 1 not attempted.\n")
    assert.include(text.stderr, 'error: seed "2" failed: too far\n')
    assert.include(text.stderr, "es-ops seed:apply again")
    const json = await run(["seed:apply", "--json"], env)
    assert.strictEqual(json.code, 1)
    const document = decodeApply(json.stdout)
    assert.deepStrictEqual(document, {
      schemaVersion: 1,
      applied: [],
      skipped: [],
      raced: [],
      failed: {
        id: "2",
        error: {
          _tag: "SeedFailed",
          message: 'seed "2" failed: too far',
          cause: new Attempt.AttemptError({ _tag: "RangeError", code: null, message: "too far" })
        }
      },
      notAttempted: ["3"],
      dryRun: false,
      skippedAll: null
    })
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [{ id: "1" }])
    assert.deepStrictEqual(
      await query("SELECT operation_id AS id, outcome, attempt FROM es_ops_attempts ORDER BY id"),
      [
        { id: "1", outcome: "applied", attempt: 1 },
        { id: "2", outcome: "failed", attempt: 1 },
        { id: "2", outcome: "failed", attempt: 2 }
      ]
    )
    const status = await run(["seed:status", "--check", "--json"], env)
    assert.strictEqual(status.code, 3)
    assert.deepStrictEqual(
      decodeStatus(status.stdout).seeds.map(({ id, lastAttempt, state }) => [id, state, lastAttempt?.outcome]),
      [
        ["1", "applied", "applied"],
        ["2", "pending", "failed"],
        ["3", "pending", undefined]
      ]
    )
  })

  it("keep stdout for the document when seeds print", async () => {
    const { env } = await database()
    const noisy = `console.log("top level")\n${Projects.seedSource(`
      console.log("printed")
      process.stdout.write("written\\n")
      yield* Effect.log("logged")`)}`
    const { runProcess: run } = await project({ "seeds/1.ts": noisy })
    const { code, stderr, stdout } = await run(["seed:apply", "--json"], env)
    assert.strictEqual(code, 0)
    assert.strictEqual(decodeApply(stdout).applied.length, 1)
    for (const text of ["top level", "printed", "written", "[1] logged"]) assert.include(stderr, text)
  })

  it("show an edited seed as changed, one without a file as an orphan, and go on", async () => {
    const { env } = await database()
    const made = await project({ "seeds/1.mjs": tenant("one"), "seeds/3.mjs": tenant("three") })
    await made.run(["seed:apply"], env)
    await made.write("seeds/1.mjs", `${tenant("one")}\n// edited`)
    const other = await project({ "seeds/1.mjs": `${tenant("one")}\r\n// edited`, "seeds/2.mjs": tenant("two") })
    const { seeds } = decodeStatus((await other.run(["seed:status", "--json"], env)).stdout)
    assert.deepStrictEqual(
      seeds.map(({ changed, id, state }) => [id, state, changed]),
      [
        ["1", "applied", true],
        ["2", "late", false],
        ["3", "orphan", false]
      ]
    )
    const refused = await other.run(["seed:apply", "--late", "fail", "--json"], env)
    assert.strictEqual(refused.code, 4)
    assert.deepStrictEqual(
      decodeApply(refused.stdout).failed?.error.problems?.map(({ _tag, id }) => [_tag, id]),
      [["LateSeed", "2"]]
    )
    const late = await other.run(["seed:apply"], env)
    assert.strictEqual(late.code, 0)
    assert.include(late.stderr, '"2" is late')
  })

  it("show with --dry-run what would happen, and leave nothing", async () => {
    const { env, query } = await database()
    const { run } = await project({
      "seeds/1.mjs": tenant("one"),
      "seeds/2.mjs": failing,
      "seeds/3.mjs": tenant("three")
    })
    const text = await run(["seed:apply", "--dry-run", "--to", "1"], env)
    assert.strictEqual(text.code, 0, text.stderr)
    assert.match(text.stdout, /^would apply 1 +\d+ ms {2}1 event\n +tenant\.created v1 of [0-9a-f-]+ \{.*"key":"one"/)
    assert.include(text.stdout, "1 would be applied, 2 not attempted. Dry run: everything was rolled back.")
    const json = await run(["seed:apply", "--dry-run", "--json"], env)
    assert.strictEqual(json.code, 1)
    const document = decodeApply(json.stdout)
    assert.deepInclude(document, { dryRun: true, notAttempted: ["3"] })
    assert.deepInclude(document.applied[0]?.preview?.[0], {
      type: "tenant.created",
      aggregateType: "tenant",
      version: 1
    })
    assert.deepInclude(document.failed, { id: "2" })
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'"), [])
  })

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
      const { run, start } = await project({ "seeds/0.mjs": tenant("zero"), "seeds/1.mjs": tenant("one") })
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
    const { run, start } = await project({
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
    const { run, start } = await project({ "seeds/1.mjs": tenant("one") })
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
    const { runProcess: run } = await project(seeds)
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

  it("say what a seed failed with, whatever it made of its stack, and that of another copy of Effect", async () => {
    const { env } = await database()
    const { run, runProcess } = await project({
      "seeds/1.mjs": `export default { description: "", run: async () => { throw Object.assign(new Error("odd"), { stack: null }) } }`,
      "other/1.cjs": `const { Effect } = require("effect"); module.exports = Effect.gen(function* () { return Effect.sync(() => 1) })`,
      "other/2.mjs": `import run from "./1.cjs"
import { Seed } from "effect-es-ops"
export default Seed.make({ description: "", run })`
    })
    const odd = await run(["seed:apply"], env)
    assert.deepStrictEqual([odd.code, odd.stderr.split("\n").at(-3)], [1, 'error: seed "1" failed: odd'])
    const other = await runProcess(["seed:apply", "--seeds", "other"], env)
    assert.include(other.stderr, "run returned an Effect")
  })

  it("say what was to be written and a seed did not wait for", async () => {
    const { env } = await database()
    const write = `ctx.systemWriteAs("tenant:write:create", { key: "late", name: "late" })`
    const { run, runProcess } = await project({
      "seeds/1.mjs": `export default { description: "uses nothing", run: async () => {} }`,
      "seeds/2.mjs": `export default { description: "takes what it does not use", run: async (ctx) => {} }`,
      "later/3.mjs": `export default { description: "late", run: async (ctx) => { await ctx.findTenants(); setTimeout(() => ${write}, 20) } }`
    })
    const unused = await run(["seed:apply"], env)
    assert.strictEqual(unused.code, 0)
    assert.deepStrictEqual(
      unused.stderr
        .split("\n")
        .filter((line) => line.includes("ctx"))
        .map((line) => line.slice(0, 36)),
      ["[2] warn: it used nothing of its ctx"]
    )
    const late = await runProcess(["seed:apply", "--seeds", "later"], env)
    assert.include(late.stderr, "[3] error: not awaited: tenant:write:create: it was started after run had returned")
  })

  it("write each line of stderr as an entry of the log where that is asked for", async () => {
    const { env } = await database()
    const { runProcess: run } = await project({
      "seeds/1.mjs": `export default { description: "one", run: async () => { console.error("printed"); throw new Error("no") } }`,
      "seeds/2.cts": ""
    })
    const { code, stderr } = await run(["seed:apply", "--log-format", "json"], env)
    assert.strictEqual(code, 1)
    const entries = stderr
      .trim()
      .split("\n")
      .filter((line) => line !== "printed")
      .map((line) => decodeEntry(line))
    const said = (level: string) => entries.filter(({ logLevel }) => logLevel === level).map(({ message }) => message)
    assert.include(said("ERROR")[0], 'seed "1" failed: no')
    assert.isTrue(said("INFO").some((message) => message.startsWith("database: ")))
    assert.isTrue(said("WARN").some((message) => message.includes("2.cts")))
    for (const end of [
      "process.exit(0)",
      "setTimeout(() => { throw new Error('later') })\n    await new Promise(() => {})"
    ]) {
      const ending = await project({
        "seeds/1.mjs": `export default { description: "one", run: async () => { ${end} } }`
      })
      const ended = await ending.runProcess(["seed:apply", "--log-format", "json"], env)
      const last = ended.stderr
        .trim()
        .split("\n")
        .map((line) => decodeEntry(line))
      assert.deepInclude(
        last.map(({ logLevel }) => logLevel),
        "ERROR",
        ended.stderr
      )
    }
  })

  it("write a document also when a module ends the process while it is loaded", async () => {
    const { env } = await database()
    const { runProcess: run } = await project({ "seeds/1.mjs": "process.exit(0)" })
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
    const { start } = await project({ "seeds/1.mjs": tenant("one") })
    const running = start(["seed:status", "--json"], env)
    running.process.stdout?.destroy()
    const { code, stderr } = await running.result
    assert.strictEqual(code, 0, stderr)
    assert.notInclude(stderr, "EPIPE")
  })

  it("take TypeScript and JavaScript seeds of a project that is not of type module", async () => {
    const { env } = await database()
    const made = await project({ "seeds/1.ts": tenant("one"), "seeds/2.mjs": tenant("two").replace("Option, ", "") })
    await made.write("package.json", JSON.stringify({ name: "commonjs" }))
    const { code, stderr, stdout } = await made.runProcess(["seed:apply", "--json"], env)
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      decodeApply(stdout).applied.map(({ events, id }) => [id, events]),
      [
        ["1", 1],
        ["2", 1]
      ]
    )
  })

  it("work in a path with space, #, %, ? and umlaut", async () => {
    const { env } = await database()
    const { runProcess: run } = await project(
      {
        "se eds #1 %41 ü/1 ü #%.ts": tenant("one"),
        "se eds #1 %41 ü/2 %41.mjs": tenant("two").replace("Option, ", "")
      },
      "a b#c%20d ü"
    )
    const { code, stderr, stdout } = await run(["seed:apply", "--json", "--seeds", "se eds #1 %41 ü"], env)
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      decodeApply(stdout).applied.map(({ id }) => id),
      ["1 ü #%", "2 %41"]
    )
  })
})

describe("wrong input", () => {
  let shared: Project
  beforeAll(async () => {
    shared = await project({ "seeds/1.mjs": tenant("one"), "a-file": "" })
  })

  /** Runs with and without --json, and gives the text of both after checking that they agree. */
  const refused = async (
    made: Project,
    args: ReadonlyArray<string>,
    env: Readonly<Record<string, string>>,
    code: number
  ) => {
    const text = await made.run(["seed:apply", ...args], env)
    const json = await made.run(["seed:apply", ...args, "--json"], env)
    assert.notInclude(text.stdout, "Nothing to do")
    assert.deepStrictEqual([text.code, json.code], [code, code], `${text.stderr}\n${json.stderr}`)
    const { failed } = decodeApply(json.stdout)
    assert.isNotNull(failed)
    if (failed === null) throw new Error("unreachable")
    assert.include(text.stderr, failed.error.message)
    assert.notInclude(text.stderr + text.stdout + json.stderr + json.stdout, inject("postgres").password)
    return failed
  }

  it("no database named: exit 2, naming the variable and --embedded", async () => {
    for (const env of [{}, { DATABASE_URL: "" }]) {
      const { error } = await refused(shared, [], env, 2)
      assert.strictEqual(error._tag, "UsageError")
      assert.include(error.message, "DATABASE_URL")
      assert.include(error.message, "--embedded")
    }
  })

  it("two databases named: exit 2", async () => {
    const url = "postgres://u@127.0.0.1:1/d"
    await refused(shared, ["--embedded", "--database-url", url], {}, 2)
    const { error } = await refused(shared, [], { DATABASE_URL: url, ES_OPS_EMBEDDED: "x" }, 2)
    assert.include(error.message, "two databases")
  })

  it("a DATABASE_URL that is none: exit 4, before anything is connected to", async () => {
    // In the last three the password begins before an @ that ends it for a URL.
    const split = ["/", "#", "?"].map((character) => `postgres://u:pass@word${character}secret@127.0.0.1:5432/d`)
    for (const url of ["not a url", "mysql://u:secret@h/d", "http://h", "postgres", ...split]) {
      const { error } = await refused(shared, [], { DATABASE_URL: url }, 4)
      assert.strictEqual(error._tag, "SettingError")
      assert.include(error.message, "DATABASE_URL")
      assert.notInclude(error.message, "secret")
    }
    assert.strictEqual((await refused(shared, ["--database-url", "nope"], {}, 2)).error._tag, "UsageError")
  })

  it("a server that refuses, a wrong password, a database that is not there: exit 6, and the password is never shown", async () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["postgres://u:hunter2@127.0.0.1:1/d", "ECONNREFUSED"],
      [Database.url("postgres", "postgres", "hunter2"), "28P01"],
      [Database.url("nowhere_at_all"), "3D000"]
    ]
    for (const [url, code] of cases) {
      const { error } = await refused(shared, [], { DATABASE_URL: url }, 6)
      assert.strictEqual(error._tag, "DatabaseError")
      assert.include(error.message, code)
      assert.notInclude(error.message, "hunter2")
    }
  })

  it("a role that may not create tables: exit 6, naming the table and the next step; nothing is left", async () => {
    const { name, query } = await database()
    await query(`DROP ROLE IF EXISTS reader_${name}; CREATE ROLE reader_${name} LOGIN PASSWORD 'pw'`)
    const env = { DATABASE_URL: Database.url(name, `reader_${name}`, "pw") }
    const failed = await refused(shared, [], env, 6)
    assert.strictEqual(failed.id, "1")
    assert.include(failed.error.message, '"kumiko_es_operations"')
    assert.include(failed.error.message, "42501")
    assert.include(failed.error.message, "let an administrator create the tables")
    const status = await shared.run(["seed:status"], env)
    assert.strictEqual(status.code, 0, status.stderr)
    assert.deepStrictEqual(
      await query("SELECT relname FROM pg_class WHERE relname LIKE 'kumiko%' OR relname LIKE 'es_ops%'"),
      []
    )
    await query(`DROP ROLE reader_${name}`)
  })

  it("a role that may only read: exit 6 also of a dry run, naming the seed; it is not told to mend that", async () => {
    const { env, name, query } = await database()
    await shared.run(["seed:apply"], env)
    const role = `onlooker_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`)
    const two = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    for (const args of [[], ["--dry-run"]]) {
      const failed = await refused(two, args, { DATABASE_URL: Database.url(name, role, "pw") }, 6)
      assert.strictEqual(failed.id, "2")
      assert.include(failed.error.message, "42501")
    }
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("a role that may write but owns nothing, and only the attempts are missing: a warning, and no history", async () => {
    const { env, name, query } = await database()
    await shared.run(["seed:apply"], env)
    const role = `writer_${name}`
    await query(`DROP TABLE es_ops_attempts; CREATE ROLE ${role} LOGIN PASSWORD 'pw';
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
    const two = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    const { code, stderr } = await two.run(["seed:apply"], { DATABASE_URL: Database.url(name, role, "pw") })
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, '"es_ops_attempts" is missing and this role may not create it')
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("a seeds folder that is a file: exit 4; one that is not there: a notice and nothing to do", async () => {
    const { env } = await database()
    const { error, id } = await refused(shared, ["--seeds", "a-file"], env, 4)
    assert.isNull(id)
    assert.deepStrictEqual(
      error.problems?.map(({ _tag }) => _tag),
      ["SeedSourceError"]
    )
    assert.include(error.message, "a-file cannot be read: it is not a folder")
    const status = await shared.run(["seed:status", "--seeds", "a-file", "--json"], env)
    assert.strictEqual(status.code, 4)
    assert.strictEqual(decodeError(status.stdout).error._tag, "SeedsInconsistent")
    const missing = await shared.run(["seed:apply", "--seeds", "typo"], env)
    assert.deepStrictEqual([missing.code, missing.stdout], [0, "Nothing to do.\n"])
    assert.match(missing.stderr, /warn: the seeds folder .*typo does not exist/)
  })

  it("many wrong seeds among good ones: exit 4, every problem listed with its file, nothing applied", async () => {
    const { env, query } = await database()
    const wrong = await project({
      "seeds/00-good.ts": tenant("good"),
      "seeds/01-syntax.ts": "export default {\n  description: 'x',,\n}",
      "seeds/02-throws.ts": "throw new Error('at import')",
      "seeds/03-none.ts": "export const seed = 1",
      "seeds/04-shape.ts": "export default { description: 'x' }",
      "seeds/05-handler.ts": Projects.seedSource(`
        // SeedContext.systemWriteAs("in:a:comment", {})
        yield* SeedContext.systemWriteAs("tenant:write:creat", {})`),
      "seeds/06-twice.ts": tenant("a"),
      "seeds/06-twice.js": "export default 1",
      "seeds/07 flag.ts": Projects.seedSource("", "\n  skippable: true,"),
      "seeds/07-flag.mjs": Projects.seedSource("", "\n  skippable: true,"),
      "seeds/08-missing.ts": "import 'not-installed'\nexport default 1"
    })
    const { error, id } = await refused(wrong, [], env, 4)
    assert.isNull(id)
    assert.strictEqual(error._tag, "SeedsInconsistent")
    const found = error.problems?.map(({ _tag, id: seed }) => `${seed} ${_tag}`) ?? []
    for (const expected of [
      "01-syntax SeedImportError",
      "02-throws SeedImportError",
      "03-none InvalidSeed",
      "04-shape InvalidSeed",
      "05-handler UnknownHandler",
      "06-twice DuplicateSeedId",
      "07 flag AmbiguousSkipFlag",
      "08-missing SeedImportError"
    ]) {
      assert.include(found, expected)
    }
    assert.notInclude(found.join(), "00-good")
    const message = (seed: string) => error.problems?.find((problem) => problem.id === seed)?.message ?? ""
    assert.match(message("01-syntax"), /seeds\/01-syntax\.ts cannot be loaded: line 2: /)
    assert.match(message("02-throws"), /02-throws\.ts cannot be loaded: line 1: at import/)
    assert.match(message("03-none"), /no default export/)
    assert.match(message("05-handler"), /05-handler\.ts, line \d+: no write handler is named "tenant:write:creat"/)
    assert.match(message("06-twice"), /06-twice\.js and .*06-twice\.ts are both/)
    assert.match(message("07 flag"), /share the skip flag KUMIKO_SKIP_ES_OPS_07_FLAG/)
    assert.notInclude(error.message, "in:a:comment")
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname LIKE 'kumiko%'"), [])
    const status = await wrong.run(["seed:status", "--check", "--json"], env)
    assert.strictEqual(status.code, 4)
    assert.strictEqual(
      decodeStatus(status.stdout).seeds.find((seed) => seed.id === "01-syntax")?.problem?._tag,
      "SeedImportError"
    )
  })

  it("an id that is taken by another kind of operation: exit 4", async () => {
    const { env, query } = await database()
    await shared.run(["seed:apply"], env)
    await query("INSERT INTO kumiko_es_operations VALUES ('2', 'projection-rebuild', now(), 0, 'cli', null)")
    const made = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    const { error } = await refused(made, [], env, 4)
    assert.deepStrictEqual(
      error.problems?.map(({ _tag, id }) => [_tag, id]),
      [["IdTaken", "2"]]
    )
    assert.include(error.message, "projection-rebuild")
  })

  it("no words at all, or --help: the commands, without colour in a pipe", async () => {
    for (const args of [[], ["--help"], ["seed:apply", "--help"]]) {
      const { code, stderr, stdout } = await shared.run(args)
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.include(stdout, "seed:apply")
      assert.notInclude(stdout, "\u001B")
    }
  })

  it("words that are no command, option or value: exit 2, and with --json a document", async () => {
    for (const args of [
      ["seed:aply"],
      ["seed:status", "--nope"],
      ["seed:status", "--late", "never"],
      ["seed:status", "--lock-timeout", "soon"],
      ["seed:status", "--lock-timeout", "-5 seconds"],
      ["seed:status", "--embedded-dir", ""],
      ["seed:status", "--seeds", ""],
      ["seed:aply", "--help"],
      ["seed:status", "--wizard"],
      ["seed:mark", "1", "--reason"],
      ["seed:status", "--seeds"],
      ["--completions", "powershell"]
    ]) {
      const { code, stderr, stdout } = await shared.run([...args, "--json"], {
        DATABASE_URL: "postgres://u@127.0.0.1:1/d"
      })
      assert.strictEqual(code, 2, `${args.join(" ")}: ${stderr}`)
      assert.strictEqual(decodeError(stdout).error._tag, "UsageError")
      assert.include(stderr, "error: ")
      assert.notInclude(stderr, "\u001B")
    }
    const unknown = await database()
    const { error } = await refused(shared, ["--to", "9"], unknown.env, 2)
    assert.include(error.message, 'no seed has the id "9"')
    const late = await refused(shared, [], { ...unknown.env, ES_OPS_LATE: "never" }, 4)
    assert.include(late.error.message, "ES_OPS_LATE")
  })

  it("a seed that is skipped, and all seeds skipped, are no failure", async () => {
    const { env } = await database()
    const made = await project({ "seeds/1.mjs": Projects.seedSource("yield* Effect.void", "\n  skippable: true,") })
    const skipped = await made.run(["seed:apply", "--json"], { ...env, KUMIKO_SKIP_ES_OPS_1: "1" })
    assert.deepStrictEqual(
      [skipped.code, decodeApply(skipped.stdout).skipped],
      [0, [{ id: "1", flag: "KUMIKO_SKIP_ES_OPS_1" }]]
    )
    const all = await made.run(["seed:apply", "--json"], { ...env, KUMIKO_SKIP_ES_OPS: "1" })
    assert.deepStrictEqual([all.code, decodeApply(all.stdout).skippedAll], [0, "KUMIKO_SKIP_ES_OPS"])
    const status = await made.run(["seed:status"], { ...env, KUMIKO_SKIP_ES_OPS: "1" })
    assert.strictEqual(status.code, 0)
    assert.include(status.stderr, "KUMIKO_SKIP_ES_OPS=1 is set: no seed is applied while it is")
  })
})
