/**
 * The package as `npm install` brings it: what is in it, a project that begins with it, its types, and an application in one file.
 */
import { assert, afterAll, beforeAll, describe, it } from "@effect/vitest"
import { build } from "esbuild"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { database, decodeApply, decodeChange } from "./support/Command.js"
import * as Installed from "./support/Installed.js"
import { repository } from "./support/Project.js"

const run = promisify(execFile)

/** What npm found in the environment of the tests must not tell the npm that is tested where to install. */
const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith("npm_")))

let top: string
let folder: string
let tarball: string
let packed: ReadonlyArray<string>

const write = (path: string, text: string) => writeFile(join(folder, path), text)

/** Runs the installed command in the project. */
const esOps = async (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) => {
  const ran = await run(join(folder, "node_modules", ".bin", "es-ops"), [...args], {
    cwd: folder,
    env: { PATH: process.env["PATH"] ?? "", ...env }
  }).catch((error: unknown) => {
    throw new Error(`es-ops ${args.join(" ")}: ${JSON.stringify(error)}`)
  })
  return ran.stdout
}

beforeAll(async () => {
  top = await realpath(await mkdtemp(join(tmpdir(), "es-ops-package-")))
  folder = join(top, "a project")
  await mkdir(folder)
  const npm = (args: ReadonlyArray<string>, cwd: string) => run("npm", [...args], { cwd, env: environment() })
  // The build is that of the test command, which this one must not take away from the other tests.
  const { stdout } = await npm(["pack", "--json", "--ignore-scripts", "--pack-destination", top], repository)
  const [{ filename = "", files = [] } = {}]: ReadonlyArray<{
    readonly filename?: string
    readonly files?: ReadonlyArray<{ readonly path: string }>
  }> = JSON.parse(stdout)
  packed = files.map(({ path }) => path)
  tarball = join(top, filename)
  await write("package.json", "{}")
  await Installed.dependencies(folder)
  await npm(["install", "--no-audit", "--no-fund", "--prefer-offline", tarball], folder)
})

afterAll(() => rm(top, { recursive: true, force: true }))

describe("the package", () => {
  it("holds the build with its types and source maps, README, the licences and nothing else", async () => {
    const others = packed.filter((path) => !/^dist\/.*\.(js|js\.map|d\.ts)$/.test(path))
    assert.deepStrictEqual(others.toSorted(), ["LICENSE", "README.md", "dist/whole/LICENSES.txt", "package.json"])
    const whole = packed.filter((path) => path.startsWith("dist/whole/"))
    assert.includeMembers(whole, ["dist/whole/LICENSES.txt", "dist/whole/Process.js"])
    // What is loaded on demand, and what it shares with the rest.
    const parts = whole.map((path) => path.replace(/-[A-Z0-9]{8}\.js$/, ""))
    assert.sameMembers(parts, [
      "dist/whole/LICENSES.txt",
      "dist/whole/Process.js",
      "dist/whole/OnDemand",
      "dist/whole/chunk"
    ])
    const scripts = packed.filter((path) => path.endsWith(".js") && !whole.includes(path))
    assert.isAbove(scripts.length, 60)
    for (const script of scripts) {
      assert.include(packed, `${script}.map`)
      assert.include(packed, script.replace(/\.js$/, ".d.ts"))
    }
    const installed = join(folder, "node_modules", "effect-es-ops")
    const map: { readonly sourcesContent?: ReadonlyArray<string> } = JSON.parse(
      await readFile(join(installed, "dist", "EsOps.js.map"), "utf8")
    )
    assert.include(map.sourcesContent?.[0], "The front door")
    const about = JSON.parse(await readFile(join(installed, "package.json"), "utf8"))
    // Those of a cluster are for who has one.
    assert.deepStrictEqual(Object.keys(about.peerDependenciesMeta), ["@effect/cluster", "@effect/rpc"])
    assert.deepStrictEqual(Object.keys(about.peerDependencies), [
      "@effect/cluster",
      "@effect/experimental",
      "@effect/platform",
      "@effect/rpc",
      "@effect/sql",
      "@effect/sql-pg",
      "effect"
    ])
    assert.strictEqual((await esOps(["--version"])).trim(), about.version)
    // What only the command needs is in it.
    for (const name of ["cli", "platform-node"])
      assert.notInclude(await readdir(join(folder, "node_modules", "@effect")), name)
    // One copy of effect, whoever asks for it: two break tags.
    assert.notInclude(await readdir(installed), "node_modules")
  })

  it("is found by what looks for mistakes in packages to have none", async () => {
    const tool = (name: string, args: ReadonlyArray<string>) =>
      run(join(repository, "node_modules", ".bin", name), [...args]).catch((failed: unknown) => {
        throw new Error(JSON.stringify(failed))
      })
    await Promise.all([
      tool("publint", ["run", tarball, "--strict"]),
      tool("attw", [tarball, "--profile", "esm-only", "--format", "ascii", "--no-color"])
    ])
  })

  it("gives each namespace under a path of its own, the same as in the whole, and nothing else", async () => {
    await write(
      "paths.mjs",
      `import * as All from "effect-es-ops"
const given = []
for (const [name, namespace] of Object.entries(All)) {
  const own = await import("effect-es-ops/" + name)
  if (Object.keys(namespace).every((key) => own[key] === namespace[key])) given.push(name)
}
const closed = ["seed/run/SeedRunner", "dist/index.js", "dist/EsOps.js", "postgres/Postgres", "cli/process/Process", "bin"]
const codes = await Promise.all(closed.map((path) => import("effect-es-ops/" + path).then(() => path, ({ code }) => code)))
console.log(JSON.stringify({ all: Object.keys(All), given, codes }))
`
    )
    const { stdout } = await run(process.execPath, ["paths.mjs"], { cwd: folder })
    const { all, codes, given } = JSON.parse(stdout)
    assert.isAbove(all.length, 30)
    assert.deepStrictEqual(given, all)
    assert.deepStrictEqual([...new Set(codes)], ["ERR_PACKAGE_PATH_NOT_EXPORTED"])
  })

  const projects = [
    { type: "module", language: "TypeScript" },
    { type: "commonjs", language: "TypeScript" },
    { type: "module", language: "JavaScript" },
    { type: "commonjs", language: "JavaScript" }
  ]
  it.each(projects)(
    "begins a $language project of type $type: new, check and apply without an edit",
    async (project) => {
      const { env, query } = await database()
      const seeds = join(folder, "seeds")
      await rm(seeds, { recursive: true, force: true })
      await write("package.json", JSON.stringify({ type: project.type }))
      if (project.language === "TypeScript")
        await write("tsconfig.json", JSON.stringify({ compilerOptions: { strict: true } }))
      else await rm(join(folder, "tsconfig.json"), { force: true })
      const { id } = decodeChange(await esOps(["seed:new", "First thing", "--json"]))
      // Without "type": "module" a .js file is CommonJS, which cannot import a package of modules.
      const javascript = project.type === "module" ? "js" : "mjs"
      const typed = project.language === "TypeScript"
      await writeFile(
        join(seeds, `0-by-hand.${typed ? "ts" : javascript}`),
        `import { Effect } from "effect"
import { Seed } from "effect-es-ops"
const description${typed ? ": string" : ""} = "by hand"
export default Seed.make({ description, run: Effect.void })
`
      )
      assert.match(await esOps(["seed:check"]), /^2 seeds checked, no problems\.\n$/)
      const { applied } = decodeApply(await esOps(["seed:apply", "--json"], env))
      assert.include(
        applied.map((seed) => seed.id),
        id
      )
      assert.strictEqual((await query("SELECT 1 FROM kumiko_es_operations")).length, applied.length)
    }
  )

  it("has types that hold, with the template and its comments, for nodenext and bundler, libraries checked", async () => {
    const { env } = await database()
    await rm(join(folder, "seeds"), { recursive: true, force: true })
    await write("package.json", JSON.stringify({ type: "module" }))
    await esOps(["seed:new", "as it is"])
    const [file = ""] = await readdir(join(folder, "seeds"))
    const template = await readFile(join(folder, "seeds", file), "utf8")
    const used = template
      .replace('import { Seed } from "effect-es-ops"', 'import { Seed, SeedContext } from "effect-es-ops"')
      .replace("// const user =", "const user =")
      .replace(
        "// const memberships =",
        'const userId = user._tag === "Some" ? user.value.id : ""\n    const memberships ='
      )
      .replace('"nothing is written yet"', "[user, memberships[0]?.streamTenantId]")
    assert.notStrictEqual(used, template)
    await write("seeds/9-used.ts", used)
    await write(
      "app.ts",
      `import { Effect, Layer } from "effect"
import * as All from "effect-es-ops"
import { EsOps, SeedRunner, SeedsApplied } from "effect-es-ops"
import { apply } from "effect-es-ops/SeedRunner"
export const same: typeof SeedRunner.apply = apply
export const applied = Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), EsOps.layerMemory({ seeds: {} }))
export const proof = Layer.provide(SeedsApplied.layer, EsOps.layerMemory({ seeds: "./seeds" }))
export const everything: ReadonlyArray<string> = Object.keys(All)
`
    )
    const tsc = join(repository, "node_modules", "typescript", "bin", "tsc")
    for (const [module, moduleResolution] of [
      ["nodenext", "nodenext"],
      ["esnext", "bundler"]
    ]) {
      const compilerOptions = {
        module,
        moduleResolution,
        target: "es2022",
        strict: true,
        noUnusedLocals: true,
        noUnusedParameters: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        noEmit: true
      }
      await write("tsconfig.json", JSON.stringify({ compilerOptions, include: ["app.ts", "seeds"] }))
      const { stdout } = await run(process.execPath, [tsc, "-p", folder]).catch((failed: unknown) => {
        throw new Error(JSON.stringify(failed))
      })
      assert.strictEqual(stdout, "")
    }
    assert.strictEqual(decodeApply(await esOps(["seed:apply", "--json"], env)).applied.length, 2)
  })

  it("can be bundled into one file with its seeds, which then runs where nothing is installed", async () => {
    const { env, query } = await database()
    await mkdir(join(folder, "seeds"), { recursive: true })
    await write(
      "seeds/first.ts",
      `import { Seed, SeedContext } from "effect-es-ops"
export default Seed.make({
  description: "",
  run: SeedContext.systemWriteAs("tenant:write:create", { key: "bundled", name: "Bundled" })
})
`
    )
    await write(
      "bundled.ts",
      `import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"
import first from "./seeds/first.js"

const Main = EsOps.layer({ seeds: { "1-first": first, "2-second": () => import("./seeds/first.js") } }).pipe(
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)
Effect.runPromise(
  Effect.provide(SeedRunner.apply({ appliedBy: "boot", to: "1-first" }), Main).pipe(
    Effect.map(({ notAttempted, outcomes }) => console.log(JSON.stringify([outcomes.map(({ id }) => id), notAttempted])))
  )
)
`
    )
    const elsewhere = join(top, "elsewhere")
    await mkdir(elsewhere)
    await build({
      absWorkingDir: folder,
      entryPoints: ["bundled.ts"],
      outfile: join(elsewhere, "app.cjs"),
      bundle: true,
      platform: "node",
      format: "cjs",
      external: ["@electric-sql/pglite", "oxc-parser", "tsx", "pg-native"],
      logLevel: "silent"
    })
    const { stdout } = await run(process.execPath, ["app.cjs"], { cwd: elsewhere, env: { ...env, PATH: "" } })
    assert.strictEqual(stdout.trim().split("\n").at(-1), '[["1-first"],["2-second"]]')
    assert.deepStrictEqual(await query("SELECT key FROM read_tenants"), [{ key: "bundled" }])
  })
})
