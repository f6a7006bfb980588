/**
 * The built command as one script, with the packages that seeds import: for tests of many processes, most of whose time would go into loading
 * some thousand small files, and into compiling them each time. The code is that of the build; how the build itself is loaded is for the tests of
 * its own processes.
 */
import { build } from "esbuild"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import process, { execPath } from "node:process"
import { fileURLToPath, pathToFileURL } from "node:url"
import { promisify } from "node:util"

const run = promisify(execFile)

const repository = fileURLToPath(new URL("../..", import.meta.url))

/** The modules that are asked for by name. */
const modules = {
  effect: "./node_modules/effect/dist/esm/index.js",
  sql: "./node_modules/@effect/sql/dist/esm/index.js",
  pg: "./node_modules/@effect/sql-pg/dist/esm/index.js",
  context: "./node_modules/@effect/platform-node/dist/esm/NodeContext.js",
  index: "./dist/index.js",
  process: "./dist/cli/process/Process.js",
  command: "./dist/cli/commands/EsOpsCommand.js",
  terminal: "./dist/cli/output/Terminal.js"
} as const

/** The packages that a seed or a program can import, and the module that each is. */
const packages = { effect: "effect", "@effect/sql": "sql", "@effect/sql-pg": "pg", "effect-es-ops": "index" } as const

export interface Bundle {
  readonly folder: string
  readonly remove: () => Promise<void>
}

const common = {
  absWorkingDir: repository,
  bundle: true,
  platform: "node",
  target: "node20",
  logLevel: "error"
} as const

/** Makes it in a folder of its own, in which it finds what is not in it. */
export const make = async (): Promise<Bundle> => {
  const cache = join(repository, "node_modules", ".cache")
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, "es-ops-bundle-"))
  // Asked for one by one, so that a module is run when it is needed. A tag or a module's state is there once, whichever of them asks for it.
  const getters = Object.entries(modules).map(([name, path]) => `get ${name}() { return require("${path}") }`)
  const { outputFiles } = await build({
    ...common,
    stdin: { contents: `module.exports = { ${getters.join(", ")} }`, resolveDir: repository },
    outfile: join(folder, "script.cjs"),
    write: false,
    format: "cjs",
    minifyWhitespace: true,
    define: { "import.meta.url": "moduleUrl" },
    external: ["tsx", "oxc-parser", "@electric-sql/pglite", "pg-native"]
  })
  // V8 does not know whose import it is in a script that it did not compile itself: the loader gives it one.
  const text = outputFiles.map((file) => file.text).join("")
  await writeFile(join(folder, "script.cjs"), text.replaceAll(/\bimport\(/g, "importModule("))
  await build({ ...common, entryPoints: ["dist/bin.js"], outdir: folder, format: "esm" })
  for (const [name, names] of await exported()) await facade(join(folder, `${name}.js`), folder, name, names)
  await facade(join(folder, "cli", "process", "Process.js"), folder, "process", ["start"])
  await symlink(join(repository, "dist", "whole"), join(folder, "whole"))
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }))
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** Keeps what a process of it compiles in which it applies a seed to this database: the others need not do so again. */
export const compile = async ({ folder }: Bundle, url: string): Promise<void> => {
  const project = join(folder, "project")
  await install(folder, project)
  await mkdir(join(project, "seeds"))
  await writeFile(
    join(project, "seeds", "1.mjs"),
    `import { Effect } from "effect"
import { SqlClient } from "@effect/sql"
import { Seed, SeedContext } from "effect-es-ops"
export default Seed.make({
  description: "a seed like others",
  run: Effect.zipRight(SqlClient.SqlClient, SeedContext.systemWriteAs("tenant:write:create", { key: "k", name: "n" }))
})
`
  )
  const env = { PATH: process.env["PATH"] ?? "", DATABASE_URL: url, ES_OPS_KEEP_COMPILED: "1" }
  await run(execPath, [join(folder, "bin.js"), "seed:apply"], { cwd: project, env })
}

/** What the packages export. */
const exported = async (): Promise<ReadonlyArray<readonly [module: string, names: ReadonlyArray<string>]>> => {
  const names = Object.values(packages)
  const { metafile } = await build({
    absWorkingDir: repository,
    entryPoints: Object.fromEntries(names.map((name) => [name, modules[name]])),
    outdir: "nowhere",
    format: "esm",
    write: false,
    metafile: true
  })
  return names.map((name) => [name, metafile.outputs[`nowhere/${name}.js`]?.exports ?? []])
}

const loader = new URL("BundleLoader.mjs", import.meta.url).href

/** A module of the script as a file that can be imported. */
const facade = async (path: string, folder: string, name: string, names: ReadonlyArray<string>): Promise<void> => {
  const lines = [
    `import { load } from ${JSON.stringify(loader)}`,
    `const { ${name}: module } = load(${JSON.stringify(folder)})`,
    ...names.map((each) => `export const ${each} = module.${each}`)
  ]
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, `${lines.join("\n")}\n`)
}

/** Lets the modules below `folder` import the packages of the bundle. */
export const install = async (bundle: string, folder: string): Promise<void> => {
  for (const [name, module] of Object.entries(packages)) {
    const installed = join(folder, "node_modules", name)
    await mkdir(installed, { recursive: true })
    await writeFile(join(installed, "package.json"), JSON.stringify({ name, type: "module", exports: "./index.js" }))
    const url = pathToFileURL(join(bundle, `${module}.js`)).href
    await writeFile(join(installed, "index.js"), `export * from ${JSON.stringify(url)}\n`)
  }
  await symlink(join(repository, "node_modules", "pg"), join(folder, "node_modules", "pg"))
}
