/**
 * The layers that prove that every seed was applied, in memory.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, DateTime, Effect, Fiber, Layer, Logger, Option, TestClock } from "effect"
import { EsOps, MemoryDatabase, Operation, OperationLog, Seed, SeedContext, SeedsApplied } from "effect-es-ops"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { MemoryLog } from "../../../src/operation/memory/MemoryLog.js"

const good = Seed.make({
  description: "good",
  run: SeedContext.systemWriteAs("tenant:write:create", { key: "a", name: "A" })
})

describe("SeedsApplied", () => {
  const build = <E, R>(proof: Layer.Layer<SeedsApplied.SeedsApplied, E, R>) =>
    Effect.scoped(Effect.map(Layer.build(proof), (context) => Context.get(context, SeedsApplied.SeedsApplied).by))

  it.effect("layerVerify fails with SeedsPending until the seeds are applied, and applies nothing", () =>
    Effect.gen(function* () {
      const pending = yield* Effect.flip(build(SeedsApplied.layerVerify))
      assert.deepInclude(pending, { _tag: "SeedsPending", ids: ["1"] })
      assert.strictEqual((yield* (yield* OperationLog.OperationLog).applied).size, 0)
      assert.strictEqual(yield* build(SeedsApplied.layer), "applied")
      assert.strictEqual(yield* build(SeedsApplied.layerVerify), "verified")
      assert.strictEqual(yield* build(SeedsApplied.layerOff), "off")
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": good } })))
  )

  it.live("layerWait is built once another process has applied them, and fails with SeedsPending when none does", () =>
    Effect.gen(function* () {
      const database = yield* MemoryDatabase.MemoryDatabase
      const never = Effect.provide(
        Effect.flip(build(SeedsApplied.layerWait)),
        EsOps.layerMemory({ seeds: { "1": good }, database, lockTimeout: 0 })
      )
      assert.strictEqual((yield* never)._tag, "SeedsPending")
      const waiting = yield* Effect.fork(build(SeedsApplied.layerWait))
      yield* Effect.yieldNow()
      yield* build(SeedsApplied.layer)
      assert.strictEqual(yield* waiting, "verified")
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": good } })))
  )

  it.effect("layerWait loads what is pending once, says each ten seconds what it waits for, and warns once", () =>
    Effect.gen(function* () {
      const database = yield* MemoryDatabase.MemoryDatabase
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-seeds-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      yield* Effect.promise(async () => {
        await writeFile(join(folder, "1.mjs"), `export default { description: "one", run: async () => {} }`)
        await writeFile(join(folder, "2.cts"), "")
      })
      const said: Array<string> = []
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => void said.push(`${String(message)}`))
      )
      const waiting = yield* Effect.fork(
        build(SeedsApplied.layerWait).pipe(
          Effect.provide(EsOps.layerMemory({ seeds: folder, database })),
          Effect.provide(logger)
        )
      )
      // Loading takes real time.
      while (said.length < 2) yield* Effect.promise(() => new Promise((done) => setImmediate(done)))
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(
        said.filter((line) => line.includes("wait")),
        ["waits until another process has applied 1", "still waits for 1", "still waits for 1"]
      )
      assert.lengthOf(
        said.filter((line) => line.includes("2.cts")),
        1
      )
      yield* Effect.provide(
        build(SeedsApplied.layer),
        EsOps.layerMemory({ seeds: { "1": Seed.make({ description: "one", run: Effect.void }) }, database })
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(waiting), "verified")
    }).pipe(Effect.scoped, Effect.provide(EsOps.layerMemory({ seeds: {} })))
  )

  const done = Seed.make({ description: "done", run: Effect.void })
  const markedAs = (operationType: string, id: string) =>
    Effect.flatMap(MemoryDatabase.MemoryDatabase, (database) =>
      MemoryDatabase.view(database, MemoryLog, MemoryLog.empty).update((state) => ({
        ...state,
        markers: [
          ...state.markers,
          {
            id: Operation.OperationId.make(id),
            operationType,
            durationMs: 0,
            appliedBy: "cli" as const,
            notes: Option.none(),
            appliedAt: DateTime.unsafeMake(0)
          }
        ]
      }))
    )
  const proofs = [
    ["layerVerify", SeedsApplied.layerVerify],
    ["layerWait", SeedsApplied.layerWait]
  ] as const

  for (const [name, proof] of proofs) {
    it.effect(`${name} minds no marker without a seed, and no seed that a flag skips`, () =>
      Effect.gen(function* () {
        yield* markedAs("seed-migration", "0-older")
        assert.strictEqual(yield* build(proof), "verified")
      }).pipe(
        Effect.provide(
          EsOps.layerMemory({ seeds: { "1": Seed.make({ description: "done", skippable: true, run: Effect.void }) } })
        ),
        Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["KUMIKO_SKIP_ES_OPS_1", "1"]])))
      )
    )
  }

  it.effect("layerVerify refuses a seed whose id another operation has, and layerWait once it has", () =>
    Effect.gen(function* () {
      const waiting = yield* Effect.fork(Effect.flip(build(SeedsApplied.layerWait)))
      yield* TestClock.adjust("1 second")
      yield* markedAs("projection-rebuild", "1")
      assert.strictEqual((yield* Effect.flip(build(SeedsApplied.layerVerify)))._tag, "SeedsInconsistent")
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "SeedsInconsistent")
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": done } })))
  )

  it.effect("layerWait tells at its end of a seed that came too late meanwhile", () =>
    Effect.gen(function* () {
      const waiting = yield* Effect.fork(Effect.flip(build(SeedsApplied.layerWait)))
      yield* markedAs("seed-migration", "2")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "SeedsInconsistent")
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": done }, late: "fail", lockTimeout: "1 minute" })))
  )

  it.effect("layerWait says of what it waits for that it failed elsewhere", () =>
    Effect.gen(function* () {
      const database = yield* MemoryDatabase.MemoryDatabase
      const said: Array<string> = []
      const logger = Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => void said.push(`${String(message)}`))
      )
      yield* Effect.fork(Effect.provide(build(SeedsApplied.layerWait), logger))
      yield* TestClock.adjust("1 second")
      const failing = { "1": Seed.make({ description: "fails", run: Effect.fail(new Error("boom")) }) }
      yield* Effect.flip(Effect.provide(build(SeedsApplied.layer), EsOps.layerMemory({ seeds: failing, database })))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(said.slice(1), ['still waits for 1; the last attempt at "1" failed: boom'])
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": done } })))
  )

  it.effect("layerWait ends also where it cannot be interrupted", () =>
    Effect.gen(function* () {
      const waiting = yield* Effect.fork(Effect.uninterruptible(build(SeedsApplied.layerWait)))
      yield* TestClock.adjust("15 seconds")
      yield* markedAs("seed-migration", "1")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(waiting), "verified")
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": done } })))
  )
})
