import { NodeRuntime } from "@effect/platform-node"
import { Effect, Exit } from "effect"
import { ProjectionRebuild } from "effect-es-ops"
import process from "node:process"
import { sender } from "./services.js"

// The release job: more lanes than there are runners, as each goes to a runner by its name.
const rebuild = ProjectionRebuild.run({ projections: ["balances"], lanes: 6 }).pipe(
  Effect.flatMap(([report]) => Effect.log(`rebuilt: ${report?.events} events, ${report?.mended} rows mended`)),
  Effect.provide(sender)
)

// The sockets of a cluster may stay open behind it, which would keep the process.
NodeRuntime.runMain(rebuild, { teardown: (exit) => process.exit(Exit.isSuccess(exit) ? 0 : 1) })
