/**
 * A project of a user's in a temporary folder, and the built command run in it.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { execPath } from "node:process"
import { fileURLToPath } from "node:url"
import * as Bundle from "./Bundle.js"
import * as CommandServer from "./CommandServer.js"

/** The repository. */
export const repository = fileURLToPath(new URL("../..", import.meta.url))

/** Where the build is. */
const built = join(repository, "dist")

export interface Result {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly process: ChildProcess
  readonly result: Promise<Result>
  /** Waits until stdout or stderr has this text. */
  readonly says: (text: string) => Promise<void>
}

export interface Project {
  readonly folder: string
  /** The script of es-ops. */
  readonly command: string
  readonly write: (name: string, text: string) => Promise<void>
  /** Starts a process of es-ops, with nothing but PATH and `env` in its environment. */
  readonly start: (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) => Running
  /** The same to its end. */
  readonly runProcess: (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) => Promise<Result>
  /** Runs es-ops in the process that all lines share, one at a time: for what is not about the process. */
  readonly run: (args: ReadonlyArray<string>, env?: Readonly<Record<string, string>>) => Promise<Result>
  /** Runs a file of the project with node. */
  readonly node: (file: string, env?: Readonly<Record<string, string>>) => Promise<Result>
  readonly remove: () => Promise<void>
}

/**
 * Files by their paths; `effect-es-ops` and `effect` can be imported as if installed. Its command is that of the build, or that of `bundle`, in
 * whose folder it is.
 */
export const make = async (
  files: Readonly<Record<string, string>> = {},
  name = "project",
  bundle?: string
): Promise<Project> => {
  const top = await realpath(await mkdtemp(join(tmpdir(), "es-ops-project-")))
  const folder = join(top, name)
  const modules = join(folder, "node_modules")
  await mkdir(modules, { recursive: true })
  if (bundle === undefined) {
    for (const installed of ["effect", "@effect", "pg"]) {
      await symlink(join(repository, "node_modules", installed), join(modules, installed))
    }
    await symlink(repository, join(modules, "effect-es-ops"))
  } else await Bundle.install(bundle, folder)
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  await write("package.json", JSON.stringify({ name: "project", type: "module" }))
  for (const [path, text] of Object.entries(files)) await write(path, text)
  const command = join(bundle ?? built, "bin.js")
  const start = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) =>
    watch(spawn(execPath, [command, ...args], { cwd: folder, env: { PATH: process.env["PATH"] ?? "", ...env } }))
  return {
    folder,
    command,
    write,
    start,
    runProcess: (args, env) => start(args, env).result,
    run: (args, env = {}) =>
      CommandServer.run({ args, folder, bundle, env: { PATH: process.env["PATH"] ?? "", ...env } }),
    node: (file, env = {}) =>
      watch(spawn(execPath, [join(folder, file)], { cwd: folder, env: { PATH: process.env["PATH"] ?? "", ...env } }))
        .result,
    remove: () => rm(top, { recursive: true, force: true })
  }
}

/** Watches a process that was started. */
export const watch = (child: ReturnType<typeof spawn>): Running => {
  let [stdout, stderr] = ["", ""]
  const watchers = new Set<() => void>()
  const heard = () => watchers.forEach((watcher) => watcher())
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk.toString()
    heard()
  })
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString()
    heard()
  })
  const result = new Promise<Result>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!stdout.includes(text) && !stderr.includes(text)) return
        watchers.delete(look)
        resolve()
      }
      watchers.add(look)
      look()
      void result.then(() => reject(new Error(`it ended without saying "${text}":\n${stdout}${stderr}`)))
    })
  return { process: child, result, says }
}

/** A seed's source: `body` is inside a generator, with Effect, SeedContext and `sql` at hand. */
export const seedSource = (body: string, more = ""): string => `
import { Effect, Option } from "effect"
import { SqlClient } from "@effect/sql"
import { Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "a seed of a test",${more}
  run: Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    ${body}
  })
})
`
