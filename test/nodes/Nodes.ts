/**
 * Other versions of Node than the one that runs the tests, from the registry's package `node`: fetched once, and kept in the cache folder of the user.
 */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises"
import { homedir } from "node:os"
import { join } from "node:path"
import { env } from "node:process"
import { promisify } from "node:util"

/** The major versions that are supported beside 20. */
export const majors = ["22", "24", "26"] as const

const run = promisify(execFile)

/** Outside the repository, as `npm ci` removes what is kept in it. */
const cache = join(env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "es-ops-nodes")

/** What npm sets for the scripts that it runs would tell this npm where to install. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith("npm_")))

/** The program of this major version; fails where it was not fetched yet and cannot be. */
export const binaryOf = async (major: string): Promise<string> => {
  const kept = join(cache, major)
  const binary = join(kept, "node_modules", "node", "bin", "node")
  if (existsSync(binary)) return binary
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, `${major}-`))
  try {
    const words = ["install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund", "--prefer-offline"]
    await run("npm", [...words, `node@${major}`], { cwd: folder, env: environment() })
    await rename(folder, kept)
  } catch (error) {
    if (!existsSync(binary))
      throw new Error(`Node ${major} (npm package node@${major}) could not be installed; is the registry reached?`, {
        cause: error
      })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const { stdout } = await run(binary, ["--version"])
  if (!stdout.startsWith(`v${major}.`)) throw new Error(`node@${major} brought Node ${stdout.trim()}`)
  return binary
}
