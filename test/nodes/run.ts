/**
 * The tests of the core, of the package and of the command on every supported major version of Node: the one that runs this, and the others,
 * which are installed first.
 *
 * npm run test:nodes -- [20 22 24 26]
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { dirname, join } from "node:path"
import { argv, env, execPath, exit, versions } from "node:process"
import { fileURLToPath } from "node:url"
import * as Nodes from "./Nodes.js"

const tests = [
  "test/ports.test.ts",
  "test/boot.test.ts",
  "test/operation",
  "test/event",
  "test/postgres",
  "test/seed",
  "test/cli",
  "test/nodes/TypeScriptSeeds.test.ts",
  "test/package.test.ts"
]

const repository = fileURLToPath(new URL("../..", import.meta.url))
const vitest = join(repository, "node_modules", "vitest", "vitest.mjs")

const [own = ""] = versions.node.split(".")
const known: ReadonlyArray<string> = [own, ...Nodes.majors.filter((major) => major !== own)]

/** Runs the tests with this Node, which is also the one that npm and the command find. */
const passes = async (binary: string): Promise<boolean> => {
  const path = `${dirname(binary)}:${env["PATH"] ?? ""}`
  const words = [vitest, "run", "--config", "test/vitest.config.ts", "--silent=true", ...tests]
  const child = spawn(binary, words, { cwd: repository, stdio: "inherit", env: { ...env, PATH: path } })
  const [code] = await once(child, "exit")
  return code === 0
}

const asked = argv.slice(2)
const failed: Array<string> = []
for (const major of asked.length === 0 ? known : asked) {
  if (!known.includes(major)) throw new Error(`there are: ${known.join(", ")}`)
  console.log(`Node ${major}`)
  const binary = major === own ? execPath : await Nodes.binaryOf(major)
  if (!(await passes(binary))) failed.push(major)
}
console.log(failed.length === 0 ? "All passed." : `Failed on: ${failed.join(", ")}`)
exit(failed.length === 0 ? 0 : 1)
