/**
 * TypeScript as people write it, on every supported version of Node: what Node's own loader does not take, in packages of each type, by the
 * command and by an application that boots from a folder.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { execPath, versions } from "node:process"
import { project } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Nodes from "./Nodes.js"

const library = `export enum Role { Admin = "Admin" }
export class Key {
  constructor(readonly name: string, private readonly role: Role = Role.Admin) {}
  get text() { return this.name + this.role }
}
`

const seed = (name: string, from: string) => `import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"
import { Key } from "${from}"
enum Word { Name = "name" }
const seen: Set<unknown> = ((globalThis as any).seen ??= new Set())
seen.add(Effect.gen).add(Seed.make)
export default Seed.make({
  description: Word.Name,
  run: SeedContext.systemWriteAs("tenant:write:create", { key: new Key("${name}").text, name: Word.Name })
})
`

const plain = `import { Effect } from "effect"
import { Seed } from "effect-es-ops"
import { Key } from "../lib/key.js"
export default Seed.make({ description: new Key("plain").text, run: Effect.void })
`

const application = `import { Effect, Logger, LogLevel } from "effect"
import { EsOps, Seed, SeedRunner } from "effect-es-ops"
const { outcomes } = await SeedRunner.apply({ appliedBy: "boot" }).pipe(
  Effect.provide(EsOps.layerMemory({ seeds: "./seeds" })),
  Logger.withMinimumLogLevel(LogLevel.None),
  Effect.runPromise
)
const seen = globalThis.seen
console.log(outcomes.map(({ id }) => id).join(" "), seen.size, seen.has(Effect.gen), seen.has(Seed.make))
`

const files = (type: string) => ({
  "package.json": JSON.stringify({ name: "project", ...(type === "none" ? {} : { type }) }),
  "tsconfig.json": JSON.stringify({ compilerOptions: { paths: { "@lib/*": ["./lib/*"] } } }),
  "lib/key.ts": library,
  "seeds/0-plain.mjs": plain,
  "seeds/1-js.ts": seed("js", "../lib/key.js"),
  "seeds/2-bare.ts": seed("bare", "../lib/key"),
  "seeds/3-paths.ts": seed("paths", "@lib/key"),
  "seeds/4-module.mts": seed("module", "../lib/key.js"),
  "es-ops.config.ts": `import { EsOps } from "effect-es-ops"
import { Key } from "./lib/key.js"
enum Version { One = "1" }
export default EsOps.config({ seeds: "./seeds", version: new Key(Version.One).text })
`,
  "app.mjs": application
})

const [own = ""] = versions.node.split(".")

/** `npm run test:nodes` runs this file with each Node. One that reads TypeScript by itself stands for the others here. */
const kinds = [
  { major: own, types: ["module", "commonjs", "none"] },
  ...(own === "24" ? [] : [{ major: "24", types: ["commonjs"] }])
]

describe.each(kinds)("TypeScript seeds on Node $major", ({ major, types }) => {
  let binary: string
  beforeAll(async () => {
    binary = major === own ? execPath : await Nodes.binaryOf(major)
  })

  it.each(types)(
    "load with enums, parameter properties, .js for .ts, no extension and paths, in a package of type %s, with one effect",
    async (type) => {
      const made = await project(files(type))
      const node = (...words: ReadonlyArray<string>) =>
        Projects.watch(spawn(binary, words, { cwd: made.folder, env: { PATH: process.env["PATH"] ?? "" } })).result
      const [booted, checked] = [await node("app.mjs"), await node(made.command, "seed:check")]
      assert.strictEqual(booted.stdout, "0-plain 1-js 2-bare 3-paths 4-module 2 true true\n", booted.stderr)
      assert.strictEqual(checked.stdout, "5 seeds checked, no problems.\n", checked.stderr)
      assert.notInclude(booted.stderr + checked.stderr, "Warning")
    },
    60_000
  )

  it("say the same of a seed that throws, has a wrong syntax or imports what is not there", async () => {
    const made = await project({
      "package.json": JSON.stringify({ name: "project" }),
      "lib/key.ts": library,
      "seeds/1-syntax.ts": "export default {\n  description: 'x' y\n}\n",
      "seeds/2-throws.ts": "\nthrow new Error('on purpose')\n",
      "seeds/3-export.ts": "import { Missing } from '../lib/key.js'\nexport default Missing\n",
      "seeds/4-file.ts": "import '../lib/gone.js'\nexport default {}\n"
    })
    const words = [made.command, "seed:check", "--json"]
    const options = { cwd: made.folder, env: { PATH: process.env["PATH"] ?? "" } }
    const { code, stdout } = await Projects.watch(spawn(binary, words, options)).result
    assert.strictEqual(code, 4)
    const { seeds }: { readonly seeds: ReadonlyArray<{ readonly problem: { readonly _tag: string } }> } =
      JSON.parse(stdout)
    assert.deepStrictEqual(
      seeds.map(({ problem }) => problem._tag),
      Array(4).fill("SeedImportError")
    )
    for (const word of ["on purpose", "Missing", "gone.js"]) assert.include(stdout, word)
  })
})
