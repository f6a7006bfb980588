/**
 * The built command as a child process, on the test server: words in, lines and codes out, and what is in the database afterwards.
 */
import { assert, describe, it } from "@effect/vitest"
import { Attempt } from "effect-es-ops"
import { bundled, database, decodeApply, decodeEntry, decodeStatus, project, tenant } from "../support/Command.js"
import * as Projects from "../support/Project.js"

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
    const { runProcess: run } = await bundled({ "seeds/1.ts": noisy })
    const { code, stderr, stdout } = await run(["seed:apply", "--json"], env)
    assert.strictEqual(code, 0)
    assert.strictEqual(decodeApply(stdout).applied.length, 1)
    for (const text of ["top level", "printed", "written", "[1] logged"]) assert.include(stderr, text)
  })

  it("show an edited seed as changed, one without a file as an orphan, and go on", async () => {
    const { env } = await database()
    const made = await project({ "seeds/1.mjs": tenant("one"), "seeds/3.mjs": tenant("three") })
    await made.run(["seed:apply"], env)
    await made.write("seeds/1.mjs", `${tenant("one")}\nexport const edited = 1`)
    const other = await project({
      "seeds/1.mjs": `${tenant("one")}\r\nexport const edited = 1`,
      "seeds/2.mjs": tenant("two")
    })
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
    const { run, runProcess } = await bundled({
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
    const { runProcess: run } = await bundled({
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
      const ending = await bundled({
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
