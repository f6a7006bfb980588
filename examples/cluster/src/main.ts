import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { SeedsApplied } from "effect-es-ops"
import { runner } from "./services.js"

const Ready = Layer.effectDiscard(Effect.zipRight(SeedsApplied.SeedsApplied, Effect.log("this runner is ready")))

// A runner: it works on lanes that are sent to it until it is stopped.
NodeRuntime.runMain(Layer.launch(Ready.pipe(Layer.provide(SeedsApplied.layer), Layer.provide(runner))))
