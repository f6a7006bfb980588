/**
 * A process that rebuilds one projection, and may be killed: `node Rebuilder.mjs <url> <projection> <mode>`.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Logger, Redacted } from "effect"
import { EsOps, ProjectionRebuild } from "effect-es-ops"
import { argv } from "node:process"
import { feature } from "./Definitions.mjs"

const [, , url, projection, mode] = argv
const layer = EsOps.layer({ seeds: {}, features: [feature], lockTimeout: "30 seconds" }).pipe(
  Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 3 }))
)
const rebuild = ProjectionRebuild.run({ projections: [projection], mode, maxStall: "5 seconds" }).pipe(
  Effect.provide(layer),
  Effect.provide(Logger.remove(Logger.defaultLogger))
)
await Effect.runPromise(rebuild).then((reports) => console.log(JSON.stringify(reports[0] ?? null)))
