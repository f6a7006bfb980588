/**
 * The command in one process for many command lines, one after another: it is loaded once, and each line has its own folder, environment and
 * streams. What a line leaves behind in the process (an exit, an exception that nobody catches) ends the server, which is an error of the test.
 * The command is that of the build, or that of the bundle whose folder is given.
 */
import process from "node:process"
import { fileURLToPath } from "node:url"
import { load } from "./BundleLoader.mjs"

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

/** The modules of the build, by the names that they have in a bundle. */
const build = async () => ({
  effect: await import("effect"),
  context: await import("@effect/platform-node/NodeContext"),
  command: await import("../../dist/cli/commands/EsOpsCommand.js"),
  terminal: await import("../../dist/cli/output/Terminal.js")
})

// After that, as the command takes the streams as it finds them.
const [, , folder] = process.argv
const {
  command: { run },
  context: NodeContext,
  effect: { Cause, Effect, Exit, Layer },
  terminal: { layer }
} = folder === undefined ? await build() : load(folder)

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

// What compiles TypeScript is started in the folder in which it was loaded, and the folder of a project is gone when its test file is over.
const { env } = process
const loaded = await answer({
  args: ["seed:check"],
  env,
  folder: fileURLToPath(new URL("../fixtures/typescript", import.meta.url))
})
if (loaded.code !== 0) throw new Error(`seed:check ended with ${loaded.code}\n${loaded.stdout}${loaded.stderr}`)

process.on("message", (line) => void answer(line).then((result) => process.send(result)))
process.on("disconnect", () => process.exit())
process.send("ready")
