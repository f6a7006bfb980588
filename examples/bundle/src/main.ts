import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Console, Effect, Layer } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
import tenants from "../seeds/2026-11-24-first-tenant.js"

// A bundler sees what is imported, and no folder: each seed stands here by its id. One behind a function is loaded only when it is pending.
const seeds = {
  "2026-11-24-first-tenant": tenants,
  "2026-11-25-second-tenant": () => import("../seeds/2026-11-25-second-tenant.js")
}

const Main = EsOps.layer({ seeds }).pipe(Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })))

const program = Effect.gen(function* () {
  const { outcomes } = yield* SeedRunner.apply({ appliedBy: "boot" })
  yield* Console.log(`applied: ${outcomes.map(({ id }) => id).join(", ")}`)
})

NodeRuntime.runMain(Effect.provide(program, Main))
