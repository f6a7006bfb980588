/**
 * The command in one process for many command lines, one after another: it is loaded once, and each line has its own folder, environment and
 * streams. What a line leaves behind in the process (an exit, an exception that nobody catches) ends the server, which is an error of the test.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import process from "node:process"

const said = { stdout: "", stderr: "" }

/** Takes down what is written to a stream, in place of writing it. */
const capture = (name) => (chunk, encoding, callback) => {
  said[name] += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString()
  const done = typeof encoding === "function" ? encoding : callback
  if (done !== undefined) queueMicrotask(done)
  return true
}

process.stdout.write = capture("stdout")
process.stderr.write = capture("stderr")

// After that, as the command takes the streams as it finds them.
const { run } = await import("../../dist/cli/commands/EsOpsCommand.js")
const { layer } = await import("../../dist/cli/output/Terminal.js")

const writes = { stdout: process.stdout.write, stderr: process.stderr.write }

const answer = async ({ args, env, folder }) => {
  Object.assign(said, { stdout: "", stderr: "" })
  process.chdir(folder)
  process.env = env
  const exit = await Effect.runPromiseExit(
    Effect.provide(run([...process.argv.slice(0, 2), ...args]), Layer.merge(NodeContext.layer, layer))
  )
  // With --json the command gives stdout's place to stderr for the rest of its process.
  process.stdout.write = writes.stdout
  process.stderr.write = writes.stderr
  if (Exit.isFailure(exit)) said.stderr += `${Cause.pretty(exit.cause)}\n`
  return { code: Exit.isSuccess(exit) ? exit.value : 1, signal: null, ...said }
}

process.on("message", (line) => void answer(line).then((result) => process.send(result)))
process.on("disconnect", () => process.exit())
process.send("ready")
