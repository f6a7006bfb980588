import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { EsOps, Seed, SeedContext, SeedRunner } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { TestDatabase } from "../../support/TestDatabase.js"
import * as Database from "../../support/TestDatabase.js"

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

    it.effect("plans and finds nothing to do by a role that may read the markers only", () =>
      Effect.gen(function* () {
        const { query, url } = yield* TestDatabase
        const seeds = { "1-first": Seed.make({ description: "first", run: tenant("acme") }) }
        const role = `reader_${randomUUID().replaceAll("-", "")}`
        yield* Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), EsOps.layer({ seeds }))
        yield* Effect.promise(() => query(`CREATE ROLE ${role} LOGIN PASSWORD 'reader'`))
        yield* Effect.promise(() => query(`GRANT SELECT ON kumiko_es_operations TO ${role}`))
        const own = new URL(url)
        own.username = role
        own.password = "reader"
        yield* Effect.gen(function* () {
          const { changed, seeds: planned } = yield* SeedRunner.plan
          assert.deepStrictEqual(
            planned.map(({ id, state }) => [id, state]),
            [["1-first", "applied"]]
          )
          assert.deepStrictEqual(changed, [])
          assert.deepStrictEqual((yield* SeedRunner.apply({ appliedBy: "boot" })).outcomes, [])
        }).pipe(Effect.provide(Layer.provide(EsOps.layer({ seeds }), Database.clientOf(own.href))))
      })
    )
  }
)
