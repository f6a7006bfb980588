/**
 * The process of the command: its exit code, an end in order by SIGINT or SIGTERM, and an honest end where a seed ends the process, throws
 * where nobody catches it, or leaves something running.
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
import * as UnhandledRejections from "../../seed/UnhandledRejections.js"
import * as ModuleLoader from "../../seed/source/ModuleLoader.js"
import * as EsOpsCommand from "../commands/EsOpsCommand.js"
import * as Culprit from "../output/Culprit.js"
import * as ExitMessage from "../output/ExitMessage.js"
import * as StandardStreams from "../output/StandardStreams.js"
import * as Terminal from "../output/Terminal.js"
import * as Signals from "./Signals.js"

/** How long the work may take to end in order, in milliseconds; what has not ended by then is left to the server, which rolls back. */
const patience = 1_800

interface State {
  /** The exit code that a signal or an unhandled error asked for, before the command gave one. */
  endsWith: number | undefined
  /** The exit code that the command gave; 1 until it gives one. */
  commandCode: number
  /** Whether the command ended, with its report. */
  finished: boolean
  /** Interrupts the command. */
  interrupt: () => void
}

const state: State = { endsWith: undefined, commandCode: 1, finished: false, interrupt: () => undefined }

/** Runs the command of this process, which ends with it; `early` are signals that came before, or while its command is loaded. */
export const start = async (early: ReadonlyArray<Signals.Signal>): Promise<void> => {
  await EsOpsCommand.load(process.argv)
  for (const signal of Signals.names) process.on(signal, () => endWith(Signals.exitCodes[signal]))
  process.on("unhandledRejection", endUnhandled)
  process.on("uncaughtException", endUnhandled)
  process.on("exit", reportUnfinished)

  runCommand.pipe(
    Effect.provide(Layer.merge(NodeContext.layer, Terminal.layer)),
    NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true, teardown: exitWith })
  )

  // Only when the work has begun: it is the work that says what an interruption leaves.
  setImmediate(() => early.forEach((signal) => process.emit(signal, signal)))
}

const runCommand = Effect.withFiberRuntime<void, never, EsOpsCommand.Requirements>((fiber) => {
  state.interrupt = () => fiber.unsafeInterruptAsFork(fiber.id())
  return Effect.map(EsOpsCommand.run(process.argv), (code) => {
    state.commandCode = code
  })
})

/** Lets the work end in order with this exit code; a second call ends the process at once. */
const endWith = (exitCode: number): void => {
  if (state.endsWith !== undefined) process.exit(exitCode)
  state.endsWith = exitCode
  setTimeout(() => process.exit(exitCode), patience).unref()
}

/** Ends the run for a promise that nobody handles, or an exception in a timer: a seed's. */
const endUnhandled = (reason: unknown): void => {
  if (UnhandledRejections.isWatched(reason)) return
  const text = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)
  ExitMessage.sayError(Culprit.unhandledTag, `unhandled in ${Culprit.name}: ${text}`)
  if (state.endsWith !== undefined) return
  UnhandledRejections.blame(reason)
  endWith(1)
  state.interrupt()
}

/** Reports a process that ends before its command does. */
const reportUnfinished = (): void => {
  if (state.finished) return
  if (state.endsWith !== undefined) {
    const reason = "it was ended at once"
    ExitMessage.writeResults(reason)
    return ExitMessage.sayError(
      "ProcessEnded",
      `${reason}: the server rolls back what was not committed; ${Culprit.nextStep}`
    )
  }
  process.exitCode = 1
  const [path] = ModuleLoader.underWay()
  const [reason, next] =
    path === undefined
      ? [`${Culprit.name} ended the process`, `what was not committed is rolled back; ${Culprit.nextStep}`]
      : [`${path} ended the process while it was loaded`, "mend it, then es-ops seed:check"]
  ExitMessage.sayError("ProcessEnded", `${reason}: ${next}`)
  ExitMessage.writeResults(reason)
}

/** Ends the process when its command has ended, with a moment for what seeds may still write. */
const exitWith = (exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) console.error(Cause.pretty(exit.cause))
  state.finished = true
  const lost = StandardStreams.lostResults()
  if (Option.isSome(lost)) {
    ExitMessage.sayError("ResultsLost", `the results could not be written: ${lost.value.message}`)
  }
  const exitCode = () => state.endsWith ?? (state.commandCode === 0 && Option.isSome(lost) ? 1 : state.commandCode)
  if (state.endsWith === undefined) StrayWrites.whenOver(() => process.exit(exitCode()))
  else process.exit(exitCode())
}
