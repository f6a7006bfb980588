#!/usr/bin/env node
/**
 * The edge: arguments in, exit code out, signals to 130 and 143.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import process from "node:process"
import * as Main from "./cli/Main.js"
import * as Terminal from "./cli/Terminal.js"

const signals = { SIGINT: 130, SIGTERM: 143 } as const
const patience = 1_800
let signalled: number | undefined
let code = 1

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // The first one ends the work in order; whoever sends a second one does not want to wait for that.
    if (signalled !== undefined) process.exit(signals[signal])
    signalled = signals[signal]
    // Whatever does not answer by then is left to the server, which rolls back when the connection closes.
    setTimeout(() => process.exit(signals[signal]), patience).unref()
  })
}

Main.run(process.argv).pipe(
  Effect.tap((given) =>
    Effect.sync(() => {
      code = given
    })
  ),
  Effect.provide(Layer.merge(NodeContext.layer, Terminal.layer)),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    disablePrettyLogger: true,
    teardown: (exit, end) => {
      if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) console.error(Cause.pretty(exit.cause))
      end(signalled ?? code)
    }
  })
)
