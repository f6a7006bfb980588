import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Config, Effect, Layer } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
import firstTenant from "../seeds/2026-11-24-first-tenant.js"
import welcome from "../seeds/2026-11-25-welcome.js"

const seeds = { "2026-11-24-first-tenant": firstTenant, "2026-11-25-welcome": welcome }

const Postgres = EsOps.layer({ seeds }).pipe(
  Layer.provideMerge(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)

// There is no SQL in memory: what a seed says in SQL is tested on an empty database of a real server, which DATABASE_URL names.
it.live.skipIf(process.env["DATABASE_URL"] === undefined)("writes a letter for each tenant", () =>
  Effect.gen(function* () {
    yield* SeedRunner.apply({ appliedBy: "boot" })
    const sql = yield* SqlClient.SqlClient
    const letters = yield* sql`SELECT text FROM letters`
    assert.deepStrictEqual(letters, [{ text: "Welcome, Acme Industries." }])
  }).pipe(Effect.provide(Postgres))
)
