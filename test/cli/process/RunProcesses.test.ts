/**
 * Runs of processes that are killed, stopped, interrupted and started twice.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { execPath } from "node:process"
import { admin, bundled, database } from "../../support/Command.js"
import * as Projects from "../../support/Project.js"

/** Counts to six, a row and a batch each. It says where it is, and stays there where HOLD says so. Its clock may be another one. */
const program = `
const [shift, now] = [Number(process.env.SHIFT ?? 0), Date.now]
Date.now = () => now() + shift
const { Effect, Layer, Redacted, Cause } = await import("effect")
const { SqlClient } = await import("@effect/sql")
const { EsOps, OperationRun } = await import("effect-es-ops")
const at = (point) => Effect.sync(() => console.log("at " + point)).pipe(
  Effect.zipRight(process.env.HOLD === point ? Effect.async(() => void setInterval(() => {}, 1000)) : Effect.void))
const work = (run) => Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* at("begin")
  for (let n = run.done + 1; n <= 6; n++) {
    yield* run.batch(Effect.gen(function* () {
      yield* sql\`INSERT INTO counted (n, epoch) VALUES (\${n}, \${run.epoch})\`
      yield* at("inside " + n)
      return { value: n, phase: "counting", cursor: n, done: 1, total: 6 }
    }))
    yield* at("after " + n)
  }
})
const main = OperationRun.run({
  operationType: "count", name: "six", params: {}, definition: "1", appliedBy: "cli", marker: "counted",
  restart: process.env.RESTART === "1",
  work,
  last: () => at("end"),
  drop: () => Effect.flatMap(SqlClient.SqlClient, (sql) => sql\`DELETE FROM counted\`)
})
const layer = EsOps.layer({ seeds: {}, lockTimeout: process.env.LOCK_TIMEOUT ?? "60 seconds" }).pipe(
  Layer.provideMerge(EsOps.layerClient({ url: Redacted.make(process.env.DATABASE_URL) })))
const fiber = Effect.runFork(Effect.provide(main, layer))
process.on("SIGINT", () => fiber.unsafeInterruptAsFork(fiber.id()))
fiber.addObserver((exit) => {
  console.log(exit._tag === "Success" ? "done " + exit.value.value._tag : "failed " + (Cause.isInterruptedOnly(exit.cause) ? "interrupted" : Cause.squash(exit.cause)._tag))
  process.exit(exit._tag === "Success" ? 0 : 1)
})
`

const world = async () => {
  const { env, query, url } = await database()
  const { folder } = await bundled({ "count.mjs": program })
  await query("CREATE TABLE counted (n integer PRIMARY KEY, epoch integer NOT NULL)")
  const start = (more: Readonly<Record<string, string>> = {}) =>
    Projects.watch(
      spawn(execPath, [join(folder, "count.mjs")], {
        cwd: folder,
        env: { PATH: process.env["PATH"] ?? "", ...env, ...more }
      })
    )
  /** As if its lease had run out; the time is the server's. */
  const expire = () => query("UPDATE es_ops_runs SET lease_until = clock_timestamp() - interval '1 second'")
  const counted = () => query("SELECT n, epoch FROM counted ORDER BY n")
  const runs = () => query("SELECT outcome, done::int AS done, epoch FROM es_ops_runs ORDER BY started_at")
  return { start, expire, counted, runs, query, url }
}

const six = (first: number) => Array.from({ length: 6 }, (_, index) => ({ n: index + 1, epoch: index < first ? 1 : 2 }))

describe("a run of a process that is killed", () => {
  it.each([
    ["begin", 0],
    ["inside 3", 2],
    ["after 3", 3],
    ["end", 6]
  ])("at %s is gone on with by another one, and each batch is there once", async (point, kept) => {
    const { counted, expire, runs, start } = await world()
    const first = start({ HOLD: point })
    await first.says(`at ${point}\n`)
    first.process.kill("SIGKILL")
    await first.result
    await expire()
    const second = await start().result
    assert.strictEqual(second.code, 0, second.stdout + second.stderr)
    assert.deepStrictEqual(await counted(), six(kept))
    assert.deepStrictEqual(await runs(), [{ outcome: "applied", done: 6, epoch: 2 }])
  })

  it("is not taken over before its lease is over, by whatever clock, and its owner commits nothing after that", async () => {
    const { counted, expire, query, runs, start } = await world()
    const hour = 3_600_000
    const first = start({ HOLD: "after 2", SHIFT: `${-hour}` })
    await first.says("at after 2\n")
    first.process.kill("SIGSTOP")
    const refused = await start({ SHIFT: `${hour}`, LOCK_TIMEOUT: "1 second" }).result
    assert.include(refused.stdout, "failed RunInProgress")
    assert.deepStrictEqual(await runs(), [{ outcome: "running", done: 2, epoch: 1 }])
    await expire()
    const second = await start({ SHIFT: `${-hour}` }).result
    assert.strictEqual(second.code, 0, second.stdout + second.stderr)
    first.process.kill("SIGCONT")
    const zombie = await first.result
    assert.include(zombie.stdout, "failed RunLost")
    assert.deepStrictEqual(await counted(), six(2))
    assert.deepStrictEqual(await query("SELECT operation_type, notes FROM kumiko_es_operations"), [
      { operation_type: "count", notes: "counted" }
    ])
  })
})

describe("a run of a process", () => {
  it("that is started twice is waited for by the second, and done by the first alone", async () => {
    const { counted, query, start } = await world()
    const first = start({ HOLD: "after 2" })
    await first.says("at after 2\n")
    const second = start()
    await second.says("is waited for")
    first.process.kill("SIGINT")
    const stopped = await first.result
    assert.include(stopped.stdout, "failed interrupted")
    // What it waited for is paused: it goes on itself.
    const done = await second.result
    assert.include(done.stdout, "done Some", done.stderr)
    assert.deepStrictEqual(await counted(), six(2))
    assert.deepStrictEqual(await query("SELECT outcome, reason FROM es_ops_attempts ORDER BY id"), [
      { outcome: "interrupted", reason: "paused" },
      { outcome: "applied", reason: null }
    ])
  })

  it("that is interrupted and begun anew has nothing of before", async () => {
    const { counted, runs, start } = await world()
    const first = start({ HOLD: "inside 4" })
    await first.says("at inside 4\n")
    first.process.kill("SIGINT")
    const { stderr, stdout } = await first.result
    assert.deepStrictEqual(await runs(), [{ outcome: "paused", done: 3, epoch: 1 }], stdout + stderr)
    const second = await start({ RESTART: "1" }).result
    assert.include(second.stdout, "done Some", second.stderr)
    assert.deepStrictEqual(await counted(), six(6))
    assert.deepStrictEqual(await runs(), [
      { outcome: "cancelled", done: 3, epoch: 2 },
      { outcome: "applied", done: 6, epoch: 1 }
    ])
  })

  it("that another waits for is done for both when it ends", async () => {
    const { start, url } = await world()
    const [first, second] = await admin(async (client) => {
      await client.query("BEGIN; INSERT INTO counted (n, epoch) VALUES (3, 0)")
      const one = start()
      await one.says("at after 2\n")
      const two = start()
      await two.says("is waited for")
      await client.query("ROLLBACK")
      return [one, two]
    }, url)
    assert.deepStrictEqual(
      (await Promise.all([first.result, second.result])).map(({ stdout }) => /done \w+/.exec(stdout)?.[0]),
      ["done Some", "done None"]
    )
  })
})
