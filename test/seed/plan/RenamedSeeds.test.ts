/**
 * Renamed seeds for programs that use the library: over a folder, on a database in memory.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { EsOps, MemoryDatabase, SeedLedger, SeedRunner, SeedsApplied, SeedStatus } from "effect-es-ops"
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { apply, logged, summary } from "../../support/Runs.js"

const text = (key: string) => `export default {
  description: "a tenant",
  run: async (ctx) => void (await ctx.systemWriteAs("tenant:write:create", { key: "${key}", name: "n" }))
}`

/** A folder whose only seed was applied and renamed, and what runs over it. */
const world = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-renamed-"))),
    (made) => Effect.promise(() => rm(made, { recursive: true }))
  )
  const database = Context.get(yield* Layer.build(MemoryDatabase.layer), MemoryDatabase.MemoryDatabase)
  const over =
    (renamed: "run" | "fail" = "run") =>
    <A, E>(effect: Effect.Effect<A, E, EsOps.Services>) =>
      Effect.provide(effect, EsOps.layerMemory({ seeds: folder, database, renamed }))
  yield* Effect.promise(() => writeFile(join(folder, "1-old.mjs"), text("one")))
  yield* over()(apply)
  yield* Effect.promise(() => rename(join(folder, "1-old.mjs"), join(folder, "2-new.mjs")))
  return { over }
})

describe("a renamed seed", () => {
  it.scoped("is in the plan and in the status, and refused by every layer where the settings say so", () =>
    Effect.gen(function* () {
      const { over } = yield* world
      const { result, lines } = yield* logged(over()(Effect.all([SeedRunner.plan, SeedStatus.status])))
      const [plan, status] = result
      assert.deepStrictEqual(plan.renamed, [{ id: "2-new", from: "1-old" }])
      assert.deepStrictEqual(
        status.seeds.map(({ renamedFrom }) => renamedFrom._tag),
        ["None", "Some"]
      )
      assert.isTrue(lines.some((line) => line.startsWith("WARN") && line.includes("seed:rename 1-old 2-new")))
      const strict = over("fail")
      const refused = [
        yield* Effect.flip(strict(apply)),
        yield* Effect.flip(strict(Effect.scoped(Layer.build(SeedsApplied.layer)))),
        yield* Effect.flip(strict(Effect.scoped(Layer.build(SeedsApplied.layerVerify))))
      ]
      assert.deepStrictEqual(
        refused.map(({ _tag }) => _tag),
        refused.map(() => "SeedsInconsistent")
      )
      assert.deepStrictEqual(
        (yield* strict(SeedRunner.plan)).problems.map(({ _tag }) => _tag),
        ["RenamedSeed"]
      )
    })
  )

  it.scoped("gets its marker by SeedLedger.rename, and is applied then", () =>
    Effect.gen(function* () {
      const { over } = yield* world
      const options = { from: "1-old", to: "2-new", reason: "a clearer name", appliedBy: "cli" } as const
      assert.deepStrictEqual(yield* over()(SeedLedger.rename(options)), { id: "2-new", changed: true })
      assert.deepStrictEqual(summary(yield* over("fail")(apply)), [])
      assert.strictEqual((yield* Effect.flip(over()(SeedLedger.rename(options))))._tag, "NotApplied")
      assert.strictEqual(
        (yield* Effect.flip(over()(SeedLedger.rename({ ...options, from: "2-new" }))))._tag,
        "RenameRefused"
      )
      assert.strictEqual((yield* Effect.flip(over()(SeedLedger.rename({ ...options, to: "9" }))))._tag, "UnknownSeed")
    })
  )
})
