/**
 * Ctrl-C and SIGTERM: in a seed, in the wait for the lock, in a connection attempt, and for the second time.
 */
import { assert, describe, it } from "@effect/vitest"
import { once } from "node:events"
import { createServer } from "node:net"
import { admin, bundled, database, decodeApply, decodeError, endless, project, tenant } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Reference from "../support/Reference.js"
import * as Database from "../support/TestDatabase.js"

const signals = [
  ["SIGINT", 130],
  ["SIGTERM", 143]
] as const

/** Subscribers that do not end, or not in order. */
const deliveries = `import { Effect, Schema } from "effect"
import { EsOps, EventType, Feature, Identity, Subscriber } from "effect-es-ops"
const created = EventType.make({ type: "tenant.created", payload: Schema.Unknown })
const subscriber = (name, handle) => Subscriber.make({ name, events: [created], handle: () => handle })
export default EsOps.config({ features: [Identity.feature, Feature.make({ name: "f", handlers: [], subscribers: [
  subscriber("endless", Effect.zipRight(Effect.log("inside"),
    Effect.onInterrupt(Effect.never, () => Effect.zipRight(Effect.log("ending"), Effect.never)))),
  subscriber("exiting", Effect.sync(() => process.exit(0))),
  subscriber("throwing", Effect.zipRight(
    Effect.sync(() => setTimeout(() => { throw new TypeError("in a timer") })), Effect.never))
] })] })
`

describe("a signal", () => {
  it.each(signals)(
    "%s in a seed: rolled back, recorded, and said what was and was not done",
    async (signal, expected) => {
      const { env, query } = await database()
      const { run, start } = await bundled({
        "seeds/1.mjs": endless,
        "seeds/0.mjs": tenant("zero"),
        "seeds/2.mjs": tenant("two")
      })
      const running = start(["seed:apply"], env)
      await running.says("inside")
      running.process.kill(signal)
      const { code, stderr, stdout } = await running.result
      assert.strictEqual(code, expected, stderr)
      assert.include(
        stderr,
        'error: interrupted: "1" was under way and was rolled back; 1 seed applied before it stay applied; 1 seed not attempted'
      )
      assert.include(stdout, "interrupted 1\nnot run     2\n1 applied, 1 interrupted, 1 not attempted.")
      assert.deepStrictEqual(await query("SELECT key FROM read_tenants"), [{ key: "zero" }])
      assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts ORDER BY id"), [
        { outcome: "applied" },
        { outcome: "interrupted" }
      ])
      assert.deepStrictEqual(await query(Database.advisoryLocks), [])
      const json = start(["seed:apply", "--json"], env)
      await json.says("inside")
      json.process.kill(signal)
      const document = decodeApply((await json.result).stdout)
      assert.deepInclude(document.failed, { id: "1" })
      assert.deepStrictEqual([document.failed?.error._tag, document.notAttempted], ["Interrupted", ["2"]])
      assert.strictEqual((await run(["seed:status"], env)).code, 0)
    }
  )

  it.each(signals)("%s in the wait for the lock: nothing applied, nothing left", async (signal, expected) => {
    const { env, query, url } = await database()
    const { start } = await bundled({ "seeds/1.mjs": tenant("one") })
    await admin(async (holder) => {
      await holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      for (const words of [["seed:apply"], ["seed:apply", "--dry-run"], ["seed:mark", "1", "--reason", "x"]]) {
        const waiting = start(words, env)
        await waiting.says("waits, 0 s so far")
        waiting.process.kill(signal)
        const { code, stderr } = await waiting.result
        assert.strictEqual(code, expected, stderr)
        assert.match(stderr, /error: interrupted: .*nothing was (applied|changed)/)
      }
    }, url)
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'"), [])
  })

  it("SIGINT before a rebuild has begun: says of none that it is paused, as runs shows none", async () => {
    const { env, query, url } = await database()
    const { run, start } = await bundled({})
    await query(Reference.tables)
    await admin(async (holder) => {
      await holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const rebuilding = start(["projection:rebuild", "read_tenants"], env)
      await rebuilding.says("waits, 0 s so far")
      rebuilding.process.kill("SIGINT")
      const { code, stderr } = await rebuilding.result
      assert.strictEqual(code, 130, stderr)
      assert.include(stderr, "error: interrupted: the read tables are whole; a rebuild that was begun is paused")
    }, url)
    assert.include((await run(["runs"], env)).stdout, "No unfinished runs.")
  })

  it.each([
    // Loading has begun by then, and needs more turns of the event loop; and when it is through.
    ["SIGINT", 130, "newListener", "setImmediate(kill)"],
    ["SIGTERM", 143, "newListener", "setImmediate(kill)"],
    ["SIGTERM", 143, "removeListener", "kill()"]
  ] as const)(
    "%s (%i) while the command is being loaded, at its %s: as later, with a sentence or a document",
    async (signal, expected, event, send) => {
      const { env, query } = await database()
      const files = { "seeds/1.mjs": tenant("one") }
      // The modules of the build one by one, and otherwise what takes less time.
      const [modules, script] = [await project(files), await bundled(files)]
      const early = `const kill = () => process.kill(process.pid, "${signal}")
        process.on("${event}", function once(name) {
          if (name !== "${signal}") return
          process.off("${event}", once)
          ${send}
        })`
      const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(early)}`
      for (const words of [["seed:apply"], ["seed:apply", "--json"], ["seed:status", "--json"], ["history"]]) {
        const { start } = words.length === 1 ? modules : script
        const { code, stderr, stdout } = await start(words, { ...env, NODE_OPTIONS }).result
        assert.strictEqual(code, expected, stderr)
        assert.include(stderr, "error: interrupted: nothing was ")
        if (!words.includes("--json")) continue
        const { error } =
          words[0] === "seed:apply" ? (decodeApply(stdout).failed ?? { error: undefined }) : decodeError(stdout)
        assert.strictEqual(error?._tag, "Interrupted")
      }
      assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'"), [])
    }
  )

  it.each(signals)("%s in a connection attempt: at once, with a sentence or a document", async (signal, expected) => {
    // It takes connections, and never says a word.
    const silent = createServer((socket) => socket.on("error", () => undefined)).listen(0, "127.0.0.1")
    await once(silent, "listening")
    const address = silent.address()
    const port = address !== null && typeof address === "object" ? address.port : 0
    const env = { DATABASE_URL: `postgres://u@127.0.0.1:${port}/d` }
    const { start } = await bundled({ "seeds/1.mjs": tenant("one") })
    for (const words of [["seed:apply"], ["seed:status", "--json"], ["doctor"], ["history"]]) {
      const connected = once(silent, "connection")
      const connecting = start(words, env)
      await connected
      connecting.process.kill(signal)
      const { code, stderr, stdout } = await connecting.result
      assert.strictEqual(code, expected, stderr)
      assert.include(stderr, "error: interrupted: nothing was ")
      if (words.includes("--json")) assert.strictEqual(decodeError(stdout).error._tag, "Interrupted")
    }
    silent.close()
  })

  it("to a seed that cannot be stopped: the server rolls it back, and a document is written all the same", async () => {
    const { env, query } = await database()
    const { start } = await bundled({
      "seeds/1.mjs": Projects.seedSource(
        `yield* SeedContext.systemWriteAs("tenant:write:create", { key: "k", name: "n" })
    yield* Effect.log("inside")
    yield* Effect.uninterruptible(Effect.never)`
      )
    })
    const running = start(["seed:apply", "--json"], env)
    await running.says("inside")
    running.process.kill("SIGTERM")
    const { code, stderr, stdout } = await running.result
    assert.strictEqual(code, 143, stderr)
    assert.include(
      decodeApply(stdout).failed?.error.message,
      '"1" was under way and did not stop: the server rolls it back'
    )
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 0 }])
  })

  it("given twice ends the process at once", async () => {
    const { env, query } = await database()
    const { start } = await bundled({
      // Work in the process itself, which no signal interrupts, and an end that takes its time.
      "seeds/1.mjs": Projects.seedSource(
        `yield* Effect.log("inside")
    yield* Effect.onInterrupt(Effect.never, () => Effect.zipRight(Effect.log("ending"), Effect.never))`
      )
    })
    for (const json of [false, true]) {
      const running = start(["seed:apply", ...(json ? ["--json"] : [])], env)
      await running.says("inside")
      running.process.kill("SIGINT")
      await running.says("ending")
      running.process.kill("SIGINT")
      const { code, stdout } = await running.result
      assert.strictEqual(code, 130)
      if (json) assert.include(decodeApply(stdout).failed?.error.message, "it was ended at once")
      else assert.strictEqual(stdout, "cut off     1\n0 applied, 1 cut off, 0 not attempted.\n")
    }
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [])
  })

  it("given twice in a run names the step for runs, and no seed", async () => {
    const { env } = await database()
    const { run, start } = await bundled({ "es-ops.config.mjs": deliveries, "seeds/1.mjs": tenant("one") })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    const running = start(["event:replay", "endless", "--all", "--yes", "--json"], env)
    await running.says("inside")
    running.process.kill("SIGINT")
    await running.says("ending")
    running.process.kill("SIGINT")
    const { code, stderr, stdout } = await running.result
    assert.deepStrictEqual([code, decodeError(stdout).error.message], [130, "it was ended at once"])
    assert.include(stderr, "es-ops runs shows what has not ended, and the same command goes on with it")
    assert.notInclude(stderr, "seed")
  })
})

describe("what a subscriber does where nobody can catch it", () => {
  it.each([
    ["exiting", "the application's code ended the process: what was not committed is rolled back; es-ops runs shows"],
    ["throwing", "unhandled in the application's code: TypeError: in a timer"]
  ])("is told as the application's, and not as a seed's: %s", async (subscriber, expected) => {
    const { env } = await database()
    const { run, runProcess } = await bundled({ "es-ops.config.mjs": deliveries, "seeds/1.mjs": tenant("one") })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    const { code, stderr, stdout } = await runProcess(["event:replay", subscriber, "--all", "--yes", "--json"], env)
    assert.deepStrictEqual(
      [code, stderr.includes("a seed"), stdout.includes("seed")],
      [1, false, false],
      stderr + stdout
    )
    assert.include(stderr, expected)
    decodeError(stdout)
  })
})

describe("what a seed throws where nobody can catch it", () => {
  it.each(["one", "none"])(
    "is why it ended, in the document and in its attempt (transaction: %s)",
    async (transaction) => {
      const { env, query } = await database()
      const { runProcess: run } = await bundled({
        "seeds/1.mjs": Projects.seedSource(
          `yield* SeedContext.systemWriteAs("tenant:write:create", { key: "k", name: "n" })
    setTimeout(() => { throw new TypeError("in a timer") })
    yield* Effect.never`,
          `transaction: "${transaction}",`
        )
      })
      const { code, stderr, stdout } = await run(["seed:apply", "--json"], env)
      assert.strictEqual(code, 1, stderr)
      const failed = decodeApply(stdout).failed
      assert.deepInclude(failed, { id: "1" })
      assert.deepInclude(failed?.error.cause, { _tag: "TypeError", message: "in a timer" })
      assert.deepStrictEqual(
        await query("SELECT outcome, error ->> 'message' AS message FROM es_ops_attempts ORDER BY id"),
        [{ outcome: "interrupted", message: "in a timer" }]
      )
      assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [])
    }
  )

  it.each([
    "void Promise.reject(new Error('last of all'))",
    "setImmediate(() => { throw new Error('last of all') })",
    "setTimeout(() => { throw new Error('last of all') })"
  ])("says what is applied as it is, when it comes with the end of a seed: %s", async (last) => {
    const { env, query } = await database()
    const inserts = (id: string) => `yield* sql\`INSERT INTO done VALUES ('${id}')\``
    const { runProcess: run } = await bundled({
      "seeds/1.mjs": Projects.seedSource(`yield* sql\`CREATE TABLE done (id text)\`\n    ${inserts("1")}`),
      "seeds/2.mjs": Projects.seedSource(`${inserts("2")}\n    ${last}`),
      "seeds/3.mjs": Projects.seedSource(inserts("3"))
    })
    const { code, stdout } = await run(["seed:apply", "--json"], env)
    const { applied, failed, notAttempted } = decodeApply(stdout)
    const ids = (await query("SELECT id FROM kumiko_es_operations ORDER BY id")).map((row) => Reflect.get(row, "id"))
    assert.deepStrictEqual(
      applied.map(({ id }) => id),
      ids
    )
    assert.deepStrictEqual(
      await query("SELECT id FROM done ORDER BY id"),
      await query("SELECT id FROM kumiko_es_operations ORDER BY id")
    )
    assert.notInclude(ids, failed?.id)
    const said = [...applied.map(({ id }) => id), ...(failed?.id == null ? [] : [failed.id]), ...notAttempted]
    assert.deepStrictEqual(said, ["1", "2", "3"])
    assert.strictEqual(code, failed === null ? 0 : 1)
  })
})
