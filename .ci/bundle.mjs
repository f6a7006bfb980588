/**
 * The bundle of the command: one program with its libraries in it, made of what the compiler wrote, and their licences beside it.
 */
import { build } from "esbuild"
import { readdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"

const folder = "dist/whole"

const { metafile } = await build({
  entryPoints: ["dist/cli/process/Process.js"],
  outdir: folder,
  bundle: true,
  // A module that is imported on demand stays a file of its own, and is loaded only then.
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  minify: true,
  metafile: true,
  // Loaded on demand, from the project's own packages.
  external: ["tsx", "oxc-parser", "@electric-sql/pglite", "pg-native"],
  // The driver is CommonJS, and requires modules of Node.
  banner: {
    js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);'
  }
})

const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [])
)
const notices = await Promise.all(
  [...packages].toSorted().map(async (path) => {
    const { license, name, version } = JSON.parse(await readFile(join(path, "package.json"), "utf8"))
    const file = (await readdir(path)).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file === undefined ? `License: ${license}` : await readFile(join(path, file), "utf8")
    return `${name} ${version}\n\n${text.trim()}\n`
  })
)
await writeFile(join(folder, "LICENSES.txt"), notices.join(`\n${"-".repeat(80)}\n\n`))
