/**
 * The command as a process: exit code out, signals to 130 and 143; and nothing that a seed leaves running or unhandled decides how it ends.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import process from "node:process"
import * as StrayWrites from "../../seed/StrayWrites.js"
import * as ModuleLoader from "../../seed/source/ModuleLoader.js"
import * as UnhandledRejections from "../../seed/UnhandledRejections.js"
import * as ExitMessage from "../output/ExitMessage.js"
import * as Main from "../commands/EsOpsCommand.js"
import * as Program from "./Program.js"
import * as Terminal from "../output/Terminal.js"

/** How long the work may take to end in order; what has not ended by then is left to the server, which rolls back. */
const patience = 1_800

let ending: number | undefined
let finished = false
let code = 1

/** Lets the work end in order with this exit code; who asks a second time does not want to wait for that. */
const end = (exitCode: number): void => {
  if (ending !== undefined) process.exit(exitCode)
  ending = exitCode
  setTimeout(() => process.exit(exitCode), patience).unref()
}

/** A promise that nobody handles, an exception in a timer: a seed's, and the end of the run. */
const unhandled = (reason: unknown): void => {
  if (UnhandledRejections.isWatched(reason)) return
  Terminal.sayLast(
    `unhandled in a seed: ${reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)}`
  )
  if (ending !== undefined) return
  UnhandledRejections.blame(reason)
  end(1)
  interrupt()
}

let interrupt = (): void => undefined

/** Runs the command of this process, which ends with it; `early` are signals that came before. */
export const start = (early: ReadonlyArray<Program.Signal>): void => {
  for (const signal of Program.signals) process.on(signal, () => end(Program.exitCodes[signal]))
  process.on("unhandledRejection", unhandled)
  process.on("uncaughtException", unhandled)

  process.on("exit", () => {
    if (finished) return
    const [path] = ModuleLoader.underWay()
    if (ending !== undefined) {
      ExitMessage.write("it was ended at once")
      Terminal.sayLast(
        "it was ended at once: the server rolls back what was not committed; es-ops seed:status says what is applied"
      )
    } else {
      process.exitCode = 1
      const [reason, left] =
        path === undefined
          ? [
              "a seed ended the process",
              "what it had not committed is rolled back; es-ops seed:status says what is applied"
            ]
          : [`${path} ended the process while it was loaded`, "mend it, then es-ops seed:check"]
      Terminal.sayLast(`${reason}: ${left}`)
      ExitMessage.write(reason)
    }
  })
  Effect.withFiberRuntime<number, never, Main.Requirements>((fiber) => {
    interrupt = () => fiber.unsafeInterruptAsFork(fiber.id())
    return Main.run(process.argv)
  }).pipe(
    Effect.tap((given) =>
      Effect.sync(() => {
        code = given
      })
    ),
    Effect.provide(Layer.merge(NodeContext.layer, Terminal.layer)),
    NodeRuntime.runMain({
      disableErrorReporting: true,
      disablePrettyLogger: true,
      teardown: (exit) => {
        if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) console.error(Cause.pretty(exit.cause))
        finished = true
        const lost = Terminal.lost()
        if (Option.isSome(lost)) Terminal.sayLast(`the results could not be written: ${lost.value.message}`)
        const end = () => process.exit(ending ?? (code === 0 && Option.isSome(lost) ? 1 : code))
        if (ending === undefined) StrayWrites.whenOver(end)
        else end()
      }
    })
  )
  // When the work has begun, as a signal can come then at the earliest: it is the work that says what an interruption leaves.
  setImmediate(() => early.forEach((signal) => process.emit(signal, signal)))
}
