/**
 * The bundles of the command, made of what the compiler wrote: what every command line starts with; one program with its libraries in it, and their
 * licences beside it; and one that shares with the project what its seeds import, and has in it what only the command needs, which no project has to
 * install then.
 */
import { build } from "esbuild"
import { readdir, readFile, writeFile } from "node:fs/promises"
import { dirname, join, relative, resolve, sep } from "node:path"

const folder = "dist/whole"

const entry = "dist/cli/process/Process.js"

const common = {
  entryPoints: [entry],
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  // Loaded on demand, from the project's own packages.
  external: ["tsx", "oxc-parser", "@electric-sql/pglite", "pg-native"]
}

const { metafile } = await build({
  ...common,
  outdir: folder,
  inject: [".ci/Navigator.mjs"],
  // A module that is imported on demand stays a file of its own, and is loaded only then.
  splitting: true,
  minify: true,
  metafile: true,
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

// The modules of what every command line starts with, as one file: each file that is opened delays every command.
await build({
  ...common,
  entryPoints: ["dist/bin.js"],
  outfile: "dist/bin.js",
  allowOverwrite: true,
  sourcemap: true,
  sourcesContent: false
})

// A second copy of what a seed imports would not be the same library: the packages that are shared, and the modules of the library itself.
const { peerDependencies, peerDependenciesMeta } = JSON.parse(await readFile("package.json", "utf8"))
const own = resolve("dist/cli") + sep
await build({
  ...common,
  outfile: entry,
  allowOverwrite: true,
  sourcemap: true,
  sourcesContent: false,
  external: [...common.external, ...Object.keys(peerDependencies).filter((name) => !(name in peerDependenciesMeta))],
  plugins: [
    {
      name: "modules of the library",
      setup: ({ onResolve }) =>
        onResolve({ filter: /^\.\.?\// }, ({ importer, path, resolveDir }) => {
          const file = resolve(resolveDir, path)
          if (!importer.startsWith(own) || file.startsWith(own)) return undefined
          return { path: relative(dirname(entry), file), external: true }
        })
    }
  ]
})
