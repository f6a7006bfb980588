/**
 * Applies one seed of so many events, and says how much memory that took at most, in MiB.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Logger, LogLevel, Redacted } from "effect"
import { EsOps, Seed, SeedContext, SeedRunner } from "effect-es-ops"
import { argv, resourceUsage } from "node:process"

const [, , url = "", events = ""] = argv
const payloads = Array.from({ length: Number(events) }, (_, n) => ({
  email: `user-${n}@example.com`,
  tenantId: "00000000-0000-4000-8000-000000000001"
}))
const seed = Seed.make({ description: "many events", run: SeedContext.systemWriteAll("user:write:create", payloads) })
const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 2 })
const { outcomes } = await Effect.runPromise(
  SeedRunner.apply({ appliedBy: "boot" }).pipe(
    Effect.provide(EsOps.layer({ seeds: { seed } }).pipe(Layer.provide(client))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
if (outcomes[0]?.events !== payloads.length) throw new Error("not all events were appended")
console.log(resourceUsage().maxRSS / 1024)
