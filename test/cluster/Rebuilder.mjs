/**
 * A process that begins a rebuild on the cluster and waits for its end: `node Rebuilder.mjs <url> <lanes>`. It says how far the run is, and its report.
 */
import { Effect, Logger } from "effect"
import { ProjectionRebuild } from "effect-es-ops"
import process, { argv, stderr } from "node:process"
import { services } from "./Services.mjs"

const [, , url, lanes] = argv
const observer = {
  began: () => Effect.void,
  waiting: () => Effect.void,
  progress: ({ done, phase }) => Effect.sync(() => console.log(JSON.stringify({ phase, done }))),
  ended: () => Effect.void
}
const rebuild = ProjectionRebuild.run({
  projections: ["totals"],
  lanes: Number(lanes),
  mode: "merge",
  maxStall: "5 seconds",
  observer
}).pipe(
  Effect.provide(services(url)),
  Effect.provide(
    Logger.replace(
      Logger.defaultLogger,
      Logger.map(Logger.logfmtLogger, (line) => void stderr.write(`${line}\n`))
    )
  )
)
await Effect.runPromise(rebuild).then(([report]) => console.log(JSON.stringify({ report: report ?? null })))
// The sockets of a cluster may stay open behind it.
process.exit()
