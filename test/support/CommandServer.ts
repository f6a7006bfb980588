/**
 * The built command without the start of a process for each command line: a process that stays takes one line after another.
 */
import { fork } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Result } from "./Project.js"

/** A command line, with its working directory and its whole environment. */
export interface Line {
  readonly args: ReadonlyArray<string>
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
  /** The folder of the bundle that runs it, instead of the build. */
  readonly bundle: string | undefined
}

const program = fileURLToPath(new URL("CommandServer.mjs", import.meta.url))

/** How long a line may take, in milliseconds: less than a test, so that the test fails by the line that hangs. */
const patience = 50_000

/** That of the build, and that of the bundle. */
const servers = new Map<string | undefined, Promise<ChildProcess>>()
let last: Promise<unknown> = Promise.resolve()

/** Starts the server: it ends with this process, and does not keep it from ending. */
const start = async (bundle: string | undefined): Promise<ChildProcess> => {
  const child = fork(program, bundle === undefined ? [] : [bundle], {
    env: { PATH: process.env["PATH"] ?? "" },
    execArgv: [],
    silent: true
  })
  await once(child, "message")
  child.unref()
  child.channel?.unref()
  return child
}

/** Runs a line when those before it are done. */
export const run = (line: Line): Promise<Result> => {
  const result = last.then(() => answerTo(line))
  last = result.catch(() => undefined)
  return result
}

const answerTo = async (line: Line): Promise<Result> => {
  const { bundle } = line
  const server = servers.get(bundle) ?? start(bundle)
  servers.set(bundle, server)
  const child = await server
  return new Promise<Result>((resolve, reject) => {
    let written = ""
    const hear = (chunk: Buffer) => (written += chunk.toString())
    const settle = (then: () => void) => {
      clearTimeout(timer)
      child.off("message", answered).off("exit", ended)
      child.stderr?.off("data", hear)
      child.channel?.unref()
      then()
    }
    const fail = (reason: string) => {
      servers.delete(bundle)
      child.kill("SIGKILL")
      settle(() =>
        reject(new Error(`es-ops ${line.args.join(" ")} ${reason}; runProcess gives it its own process\n${written}`))
      )
    }
    const answered = (answer: Result) => settle(() => resolve(answer))
    const ended = (code: number | null) => fail(`ended the process of all lines with ${code}`)
    const timer = setTimeout(() => fail(`was not done after ${patience} ms`), patience)
    child.channel?.ref()
    child.stderr?.on("data", hear)
    child.once("message", answered).once("exit", ended)
    child.send(line)
  })
}

/** Ends the servers that were started. */
export const end = async (): Promise<void> => {
  for (const [bundle, server] of servers) {
    servers.delete(bundle)
    const child = await server
    if (child.exitCode !== null) continue
    child.ref()
    const exited = once(child, "exit")
    child.disconnect()
    await exited
  }
}
