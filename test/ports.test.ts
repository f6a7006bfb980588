import { Effect, Layer } from "effect"
import { EsOps, Feature, OperationConfig, Seed, SeedSource, WriteDispatcher, WriteHandler } from "effect-es-ops"
import { assert, describe, it } from "@effect/vitest"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Schema } from "effect"
import * as BackfillStoreSuite from "./suites/BackfillStoreSuite.js"
import * as DeliveriesSuite from "./suites/DeliveriesSuite.js"
import * as DirectorySuite from "./suites/DirectorySuite.js"
import * as EventFeedSuite from "./suites/EventFeedSuite.js"
import * as EventStoreSuite from "./suites/EventStoreSuite.js"
import * as OperationLogSuite from "./suites/OperationLogSuite.js"
import * as ReadTablesSuite from "./suites/ReadTablesSuite.js"
import * as RunLogSuite from "./suites/RunLogSuite.js"
import * as SeedSourceSuite from "./suites/SeedSourceSuite.js"
import * as SnapshotsSuite from "./suites/SnapshotsSuite.js"
import * as StepCursorSuite from "./suites/StepCursorSuite.js"
import * as StepSuite from "./suites/StepSuite.js"
import * as WriteDispatcherSuite from "./suites/WriteDispatcherSuite.js"
import { embeddedOf, memory, pooled, postgres, postgresOf } from "./support/services.js"

for (const [name, services] of [
  ["memory", memory],
  ["PostgreSQL", postgres]
] as const) {
  StepSuite.suite(name, services)
  OperationLogSuite.suite(name, services)
  EventStoreSuite.suite(name, services)
  EventFeedSuite.suite(name, services)
  DirectorySuite.suite(name, services)
  WriteDispatcherSuite.suite(name, services)
  RunLogSuite.suite(name, services)
  SnapshotsSuite.suite(name, services)
  StepCursorSuite.suite(name, services)
  DeliveriesSuite.suite(name, services)
  BackfillStoreSuite.suite(name, services)
}

RunLogSuite.suite("PGlite", embeddedOf([]))
RunLogSuite.suite("PostgreSQL behind a pooler in transaction mode", pooled)

const features = [ReadTablesSuite.feature]
ReadTablesSuite.suite("memory", EsOps.layerMemory({ seeds: {}, features }))
ReadTablesSuite.suite("PostgreSQL", postgresOf(features))
ReadTablesSuite.suite("PGlite", embeddedOf(features))

const { Greeting } = SeedSourceSuite

SeedSourceSuite.suite(
  "a record",
  SeedSource.layerRecord({
    b: Seed.make({ description: "b", run: Effect.succeed("from b") }),
    a: () => Promise.resolve({ default: Seed.make({ description: "a", run: () => Effect.succeed("from a") }) }),
    greets: Seed.make({ description: "", run: Greeting }),
    wrong: () => Promise.resolve({ default: { description: "no seed" } })
  })
)

const module = (run: string) =>
  `import { Context, Effect } from "effect"
import { Seed } from "effect-es-ops"
export default Seed.make({ description: "", run: ${run} })`

SeedSourceSuite.suite(
  "a directory",
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const root = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-suite-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
      )
      const files = {
        "b.ts": module(`Effect.succeed("from b")`),
        "a.mjs": module(`() => Effect.succeed("from a")`),
        "greets.ts": module(`Context.GenericTag<string>("test/Greeting")`),
        "wrong.js": "export default { description: 'no seed' }"
      }
      for (const [name, text] of Object.entries(files)) yield* Effect.promise(() => writeFile(join(root, name), text))
      return SeedSource.layerDirectory<SeedSourceSuite.Greeting>(root)
    })
  )
)

describe("settings that cannot be", () => {
  it.effect.each([
    ["a negative number of milliseconds", { lockTimeout: -5 }, "lockTimeout: "],
    ["no number", { seedTimeout: NaN }, "seedTimeout: "],
    ["attempts in the table of the markers", { table: "one", attemptsTable: "one" }, 'attemptsTable: "one" is']
  ] as const)("are a SettingError: %s", ([, settings, message]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(OperationConfig.make(settings))
      assert.strictEqual(error._tag, "SettingError")
      assert.include(error.message, message)
    })
  )
})

describe("features that cannot be", () => {
  const handler = (name: string) =>
    WriteHandler.make({ name, payload: Schema.Unknown, access: [], handle: () => WriteHandler.reject("conflict", "") })

  it.effect.each([
    ["two handlers of one name", [handler("a:write:b"), handler("a:write:b")], 'two handlers are named "a:write:b"'],
    ["a name without its feature", [handler("create")], "<feature>:write:<handler>"],
    ["a name with an empty part", [handler("user:write:user:")], "<feature>:write:<handler>"],
    ["a name without the verb", [handler("user:user:write")], "<feature>:write:<handler>"]
  ] as const)("are a SettingError: %s", ([, handlers, message]) =>
    Effect.gen(function* () {
      const features = [Feature.make({ name: "a", handlers })]
      const build = WriteDispatcher.WriteDispatcher.pipe(Effect.provide(EsOps.layerMemory({ seeds: {}, features })))
      const error = yield* Effect.flip(build)
      assert.strictEqual(error._tag, "SettingError")
      assert.include(error.message, message)
    })
  )

  it.effect.each(["user:write:create", "user:write:user:create", "a:write:b:c:d"])(
    "are not those with a handler named %s: its part may have colons of its own",
    (name) =>
      Effect.gen(function* () {
        const features = [Feature.make({ name: "a", handlers: [handler(name)] })]
        const { names } = yield* WriteDispatcher.WriteDispatcher.pipe(
          Effect.provide(EsOps.layerMemory({ seeds: {}, features }))
        )
        assert.deepStrictEqual(names, [name])
      })
  )
})
