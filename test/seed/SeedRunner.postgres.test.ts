import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { EsOps, Seed, SeedContext, SeedRunner } from "effect-es-ops"
import { TestDatabase } from "../support/TestDatabase.js"
import * as Database from "../support/TestDatabase.js"

const tenant = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: key })

layer(Layer.provideMerge(Database.client(), Database.layer), { excludeTestServices: true })(
  "SeedRunner on PostgreSQL",
  (it) => {
    it.effect("applies a seed in one transaction, and finds nothing to do the second time", () =>
      Effect.gen(function* () {
        const { query } = yield* TestDatabase
        const seeds = { "1-first": Seed.make({ description: "first", run: tenant("acme") }) }
        const run = Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), EsOps.layer({ seeds }))
        const first = yield* run
        assert.deepStrictEqual(
          first.outcomes.map(({ _tag, id }) => [_tag, id]),
          [["Applied", "1-first"]]
        )
        assert.deepStrictEqual((yield* run).outcomes, [])
        const markers = yield* Effect.promise(() =>
          query("SELECT id, operation_type, applied_by, notes FROM kumiko_es_operations")
        )
        assert.deepStrictEqual(markers, [
          { id: "1-first", operation_type: "seed-migration", applied_by: "boot", notes: "first" }
        ])
      })
    )
  }
)
