/**
 * The seeds that a run leaves out, and those that it warns of: skipped, late and edited ones.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { EsOps, MemoryDatabase, Operation, OperationLog, SeedRunner, SeedStatus } from "effect-es-ops"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { tenant, seed, apply, summary, withEnv, keys, logged } from "../../support/Runs.js"

describe("skip flags", () => {
  const seeds = {
    "2026-fix.it": seed(tenant("skipped"), { skippable: true }),
    "2027-other": seed(Effect.tap(keys, (found) => Effect.sync(() => assert.deepStrictEqual(found, []))))
  }

  it.effect("skip a seed that allows it, without a marker, and say so once in the attempts", () =>
    Effect.gen(function* () {
      const flagged = apply.pipe(withEnv({ KUMIKO_SKIP_ES_OPS_2026_FIX_IT: "1" }))
      assert.deepStrictEqual(summary(yield* flagged), [
        ["Skipped", "2026-fix.it"],
        ["Applied", "2027-other"]
      ])
      assert.deepStrictEqual(summary(yield* flagged), [["Skipped", "2026-fix.it"]])
      const { applied, attempts } = yield* OperationLog.OperationLog
      assert.isFalse((yield* applied).has("2026-fix.it"))
      const skips = yield* attempts({ id: Operation.OperationId.make("2026-fix.it") })
      assert.deepStrictEqual(
        skips.map(({ outcome }) => outcome),
        ["skipped"]
      )
      // Not late afterwards, though it sorts before an applied one: it was skipped on purpose.
      const { seeds } = yield* SeedRunner.plan
      assert.deepStrictEqual(
        seeds.map(({ state }) => state),
        ["pending", "applied"]
      )
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds, late: "fail" })))
  )

  it.effect("skip everything with KUMIKO_SKIP_ES_OPS=1, and leave status as it is", () =>
    Effect.gen(function* () {
      const report = yield* apply.pipe(withEnv({ KUMIKO_SKIP_ES_OPS: "1" }))
      assert.deepStrictEqual(report.skippedAll, Option.some("KUMIKO_SKIP_ES_OPS"))
      assert.deepStrictEqual(report.outcomes, [])
      const { counts } = yield* SeedStatus.status
      assert.strictEqual(counts.pending, 2)
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("count only as 1, and are warned about otherwise, as is one for a seed that is not skippable", () =>
    Effect.gen(function* () {
      const { lines, result } = yield* logged(
        apply.pipe(
          withEnv({
            KUMIKO_SKIP_ES_OPS: "true",
            KUMIKO_SKIP_ES_OPS_2026_FIX_IT: "yes",
            KUMIKO_SKIP_ES_OPS_2027_OTHER: "1",
            KUMIKO_SKIP_ES_OPS_2027__OTHER: "1"
          })
        )
      )
      assert.deepStrictEqual(
        summary(result).map(([tag]) => tag),
        ["Applied", "Applied"]
      )
      const warnings = lines.filter((line) => line.startsWith("WARN"))
      assert.strictEqual(warnings.length, 4)
      assert.include(warnings.join("\n"), "KUMIKO_SKIP_ES_OPS_2027__OTHER is set, but no seed has this flag")
      assert.include(warnings.join("\n"), "KUMIKO_SKIP_ES_OPS_2026_FIX_IT is set, but to something other than 1")
      assert.include(
        warnings.join("\n"),
        'KUMIKO_SKIP_ES_OPS_2027_OTHER is set, but the seed "2027-other" is not skippable'
      )
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { ...seeds, "2027-other": seed(Effect.void) } })))
  )
})

describe("SeedRunner.plan", () => {
  it.effect("tells late seeds from pending ones, runs them with a warning, or refuses them", () =>
    Effect.gen(function* () {
      const first = EsOps.layerMemory({ seeds: { b: seed(Effect.void) } })
      yield* Effect.gen(function* () {
        yield* apply
        const database = yield* MemoryDatabase.MemoryDatabase
        const both = { a: seed(Effect.void), b: seed(Effect.void), c: seed(Effect.void) }
        const on = (settings: { late?: "fail" }) =>
          Effect.provide(EsOps.layerMemory({ seeds: both, database, ...settings }))
        const { seeds } = yield* on({})(SeedRunner.plan)
        assert.deepStrictEqual(
          seeds.map(({ id, state }) => `${id} ${state}`),
          ["a late", "b applied", "c pending"]
        )
        const refused = yield* Effect.flip(on({ late: "fail" })(apply))
        assert.strictEqual(refused._tag, "SeedsInconsistent")
        assert.include(refused.message, 'sorts before "b"')
        const { lines, result } = yield* logged(on({})(apply))
        assert.deepStrictEqual(summary(result), [
          ["Applied", "a"],
          ["Applied", "c"]
        ])
        assert.isTrue(lines.some((line) => line.startsWith("WARN") && line.includes('"a" is late')))
      }).pipe(Effect.provide(first))
    })
  )

  it.effect("names the applied seeds that were edited since, whatever ends their lines, and none that was not", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-plan-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const text = `export default { description: "", run: async () => {} }\n`
      const write = (name: string, content: string) => Effect.promise(() => writeFile(join(folder, name), content))
      for (const name of ["1.mjs", "2.mjs", "3.mjs"]) yield* write(name, text)
      yield* Effect.gen(function* () {
        yield* apply
        assert.deepStrictEqual((yield* SeedRunner.plan).changed, [])
        yield* write("1.mjs", `${text}export const edited = true`)
        yield* write("2.mjs", text.replaceAll("\n", "\r\n"))
        yield* write("4.mjs", text)
        // Another replica, which skips what is applied meanwhile.
        const log = yield* OperationLog.OperationLog
        const [last] = yield* log.attempts({ id: Operation.OperationId.make("1") })
        if (last !== undefined) yield* log.record({ ...last, outcome: "skipped" })
        const { changed, seeds } = yield* SeedRunner.plan
        assert.deepStrictEqual(changed, ["1"])
        assert.deepStrictEqual(
          seeds.map(({ state }) => state),
          ["applied", "applied", "applied", "pending"]
        )
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds: folder })))
    }).pipe(Effect.scoped)
  )
})
