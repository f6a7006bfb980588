/**
 * Loads the seeds of a folder, by tsx alone or as a run does before its first write, and says how many milliseconds that took.
 */
import { Effect, Logger, LogLevel } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { argv } from "node:process"
import { pathToFileURL } from "node:url"

const [, , how = "", folder = ""] = argv
const from = performance.now()
if (how === "tsx") {
  const { register } = await import("tsx/esm/api")
  register()
  for (const name of readdirSync(folder)) await import(pathToFileURL(join(folder, name)).href)
} else {
  const { seeds } = await Effect.runPromise(
    SeedRunner.plan.pipe(
      Effect.provide(EsOps.layerMemory({ seeds: folder })),
      Logger.withMinimumLogLevel(LogLevel.Error)
    )
  )
  if (seeds.length !== readdirSync(folder).length) throw new Error("not all seeds were loaded")
}
console.log(performance.now() - from)
