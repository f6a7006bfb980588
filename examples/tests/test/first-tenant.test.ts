import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Directory, EsOps, SeedRunner } from "effect-es-ops"
import firstTenant from "../seeds/2026-11-24-first-tenant.js"

it.effect("creates a tenant, once", () =>
  Effect.gen(function* () {
    const apply = SeedRunner.apply({ appliedBy: "boot" })
    assert.strictEqual((yield* apply).outcomes.length, 1)
    assert.strictEqual((yield* apply).outcomes.length, 0)
    const { findTenants } = yield* Directory.Directory
    assert.strictEqual((yield* findTenants)[0]?.tenantKey, "acme")
  }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "2026-11-24-first-tenant": firstTenant } })))
)
