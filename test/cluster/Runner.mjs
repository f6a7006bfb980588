/**
 * A runner of the cluster, until it is ended: `node Runner.mjs <url> <port>`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer } from "effect"
import { argv } from "node:process"
import { services } from "./Services.mjs"

const [, , url, port] = argv
const ready = Layer.effectDiscard(Effect.log("this runner is ready"))
NodeRuntime.runMain(Layer.launch(Layer.provide(ready, services(url, Number(port)))))
