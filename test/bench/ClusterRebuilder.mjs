/**
 * A process that rebuilds when it is told to, on a cluster or by itself: `node ClusterRebuilder.mjs <url> cluster|alone`. It says how many
 * milliseconds each rebuild took.
 */
import { Effect, Logger, LogLevel, ManagedRuntime } from "effect"
import { ProjectionRebuild } from "effect-es-ops"
import process, { argv } from "node:process"
import { createInterface } from "node:readline"
import { operations, services } from "../cluster/Services.mjs"

const [, , url, how] = argv
const runtime = ManagedRuntime.make(how === "cluster" ? services(url) : operations(url))
const rebuild = ProjectionRebuild.run({ projections: ["totals"], lanes: 2, mode: "merge", maxStall: "5 seconds" }).pipe(
  Logger.withMinimumLogLevel(LogLevel.Error)
)
await runtime.runPromise(Effect.void)
console.log("ready")
for await (const _ of createInterface({ input: process.stdin })) {
  const since = performance.now()
  await runtime.runPromise(rebuild)
  console.log(performance.now() - since)
}
await runtime.dispose()
process.exit()
