/**
 * The built command in few files, with the packages that seeds import: for tests of many processes, most of whose time would go into loading
 * some thousand small files. The code is that of the build; how the build itself is loaded is for the tests of its own processes.
 */
import { build } from "esbuild"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const repository = fileURLToPath(new URL("../..", import.meta.url))

/** The packages that a seed can import, and the file of each in the bundle. */
const packages = { effect: "effect", "@effect/sql": "sql", "effect-es-ops": "index" } as const

export interface Bundle {
  readonly folder: string
  readonly remove: () => Promise<void>
}

/** Makes it in a folder of its own, in which it finds what is not in it. */
export const make = async (): Promise<Bundle> => {
  const cache = join(repository, "node_modules", ".cache")
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, "es-ops-bundle-"))
  await build({
    absWorkingDir: repository,
    entryPoints: {
      bin: "dist/bin.js",
      "cli/process/Process": "dist/cli/process/Process.js",
      server: "test/support/CommandServer.mjs",
      index: "dist/index.js",
      effect: "node_modules/effect/dist/esm/index.js",
      sql: "node_modules/@effect/sql/dist/esm/index.js"
    },
    outdir: folder,
    bundle: true,
    // A tag or a module's state must be there once, whichever of the entries asks for it.
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    external: ["tsx", "oxc-parser", "@electric-sql/pglite", "pg-native"],
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);'
    },
    logLevel: "error"
  })
  await symlink(join(repository, "dist", "whole"), join(folder, "whole"))
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }))
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}

/** Lets the modules below `folder` import the packages of the bundle. */
export const install = async (bundle: string, folder: string): Promise<void> => {
  for (const [name, file] of Object.entries(packages)) {
    const installed = join(folder, "node_modules", name)
    await mkdir(installed, { recursive: true })
    await writeFile(join(installed, "package.json"), JSON.stringify({ name, type: "module", exports: "./index.js" }))
    const url = pathToFileURL(join(bundle, `${file}.js`)).href
    await writeFile(join(installed, "index.js"), `export * from ${JSON.stringify(url)}\n`)
  }
  await symlink(join(repository, "node_modules", "pg"), join(folder, "node_modules", "pg"))
}
