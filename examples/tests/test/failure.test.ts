import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Directory, EsOps, Seed, SeedContext, SeedLedger, SeedRunner } from "effect-es-ops"
import firstTenant from "../seeds/2026-11-24-first-tenant.js"

const half = Seed.make({
  description: "it fails behind its first write",
  run: Effect.gen(function* () {
    yield* SeedContext.systemWriteAs("tenant:write:create", { key: "globex", name: "Globex" })
    return yield* Effect.fail(new Error("no"))
  })
})

it.effect("leaves nothing of a seed that fails but its attempt", () =>
  Effect.gen(function* () {
    const failed = yield* Effect.flip(SeedRunner.apply({ appliedBy: "boot" }))
    assert.deepInclude(failed, { _tag: "SeedFailed", id: "2-half", applied: ["1-tenant"] })
    const { findTenants } = yield* Directory.Directory
    assert.strictEqual((yield* findTenants).length, 1)
    const [attempt] = yield* SeedLedger.history("2-half")
    assert.strictEqual(attempt?.outcome, "failed")
  }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1-tenant": firstTenant, "2-half": half } })))
)
