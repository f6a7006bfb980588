/**
 * A replica whose pool is open: says that it is ready, waits for a line, applies the seeds of a folder.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime, Redacted } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
import { once } from "node:events"
import { argv, stdin } from "node:process"

const [, , url = "", folder = ""] = argv
const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 2 })
const app = ManagedRuntime.make(
  Layer.merge(EsOps.layer({ seeds: folder }).pipe(Layer.provide(client)), Logger.minimumLogLevel(LogLevel.Error))
)
await app.runPromise(Effect.void)
console.log("ready")
await once(stdin, "data")
await app.runPromise(SeedRunner.apply({ appliedBy: "boot" }))
console.log("done")
stdin.destroy()
await app.dispose()
