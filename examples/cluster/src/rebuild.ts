import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { ProjectionRebuild } from "effect-es-ops"
import { services } from "./services.js"

// The release job: as many lanes as there are runners, so that each has one.
const rebuild = ProjectionRebuild.run({ projections: ["balances"], lanes: 3 }).pipe(
  Effect.flatMap(([report]) => Effect.log(`rebuilt: ${report?.events} events`)),
  Effect.provide(services(true))
)

NodeRuntime.runMain(rebuild)
