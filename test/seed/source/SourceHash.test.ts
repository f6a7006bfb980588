/**
 * The hash of a seed's source, over what the compiler makes of it: the compiled file has the hash of the file that it was made of.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { transform } from "esbuild"
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { execPath } from "node:process"
import { promisify } from "node:util"
import { afterAll } from "vitest"
import * as SourceHash from "../../../src/seed/source/SourceHash.js"
import { repository } from "../../support/Project.js"

const folders: Array<string> = []

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

const hash = (text: string, path = "a.ts"): Promise<string> => Effect.runPromise(SourceHash.of(path, text))

/** What tsc makes of a file for Node; its errors of types are no reason not to. */
const compiled = async (texts: ReadonlyArray<string>, options: object = {}): Promise<ReadonlyArray<string>> => {
  const folder = await mkdtemp(join(tmpdir(), "es-ops-hash-"))
  folders.push(folder)
  await writeFile(join(folder, "package.json"), '{ "type": "module" }')
  const compilerOptions = { target: "es2022", module: "nodenext", types: [], outDir: "out", ...options }
  await writeFile(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions, files: texts.map((_, n) => `${n}.ts`) })
  )
  for (const [n, text] of texts.entries()) await writeFile(join(folder, `${n}.ts`), text)
  await promisify(execFile)(execPath, [join(repository, "node_modules/typescript/bin/tsc"), "-p", folder]).catch(
    () => undefined
  )
  return Promise.all(texts.map((_, n) => readFile(join(folder, "out", `${n}.js`), "utf8")))
}

const seed = `// what it is for
import { Effect, Option, type Layer } from "effect"
import { SqlClient } from "@effect/sql"
import { Seed, SeedContext } from 'effect-es-ops'
import type { PromiseSeed } from "effect-es-ops"
import { roles } from "../lib/roles.js"

/** A row. */
interface Row { readonly id: string; name?: string }
type Names = ReadonlyArray<string>
declare const secret: string
export type { Row }

const names: Names = ["a", "b"] as const
function first(this: void, rows: ReadonlyArray<Row>, at?: number): Row | undefined
function first(rows: ReadonlyArray<Row>, at = 0): Row | undefined { return rows[at]! }
class Counter<T extends object = Row> implements Iterable<T> {
  private readonly rows: Array<T> = []
  declare total: number
  count?: number
  static of<T extends object>(): Counter<T> { return new Counter<T>() }
  [Symbol.iterator](): Iterator<T> { return (this.rows as Iterable<T>)[Symbol.iterator]() }
};

export default Seed.make({
  description: "a \\u00fc seed", // with a comment
  skippable: true,
  run: Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = (yield* sql<Row>\`
      SELECT id FROM things WHERE n > \${1_000} AND t = 'x'\`) satisfies ReadonlyArray<Row>
    const big = 10n, matches = /a+/u.test(names[0]!), nothing = null, wrong = false, holes = [, 1, ,]
    label: for (const { id, name: other = "x", ...rest } of rows) {
      if (first(rows)?.name !== id && !(rest as any)?.b.c) continue label
      yield* Effect.log(\`\${id}: \${other}\`, roles[id as keyof typeof roles] ?? big)
    }
    const user = yield* SeedContext.findUserByEmail(<string>"a@b.c")
    return Option.isSome(user) ? new Counter<Row>().count : (nothing ?? (matches || wrong), holes)
  })
})
`

describe("the hash of a seed's source", () => {
  it("is that of what tsc compiles it to, with and without comments, source maps and kept imports", async () => {
    const promise = `import type { PromiseSeed } from "effect-es-ops"
const keys = ["a"]
export default {
  description: "plain",
  async run(ctx: PromiseSeed.PromiseContext): Promise<void> {
    for (const key of keys) await ctx.systemWriteAs("tenant:write:create", { key, name: "n" as string }, undefined, [])
  }
} satisfies PromiseSeed.Plain
`
    const short = `import { Effect } from "effect"\nimport { Seed } from "effect-es-ops"\nexport default Seed.make({ description: "", run: Effect.void })`
    const texts = [seed, promise, short]
    for (const options of [
      {},
      { removeComments: true, sourceMap: true },
      { verbatimModuleSyntax: true },
      { target: "esnext" }
    ]) {
      const outs = await compiled(texts, options)
      for (const [n, out] of outs.entries()) {
        assert.notStrictEqual(out, texts[n])
        assert.strictEqual(await hash(out, "a.js"), await hash(texts[n] ?? ""), out)
      }
    }
  })

  it("is that of what tsc compiles where the compiler names the files that modules become", async () => {
    const text = `import { a } from "./lib/a.ts"\nexport { b } from "./lib/b.mts"\nexport default a`
    const [out = ""] = await compiled([text], {
      allowImportingTsExtensions: true,
      rewriteRelativeImportExtensions: true
    })
    assert.include(out, "./lib/a.js")
    assert.strictEqual(await hash(out, "a.js"), await hash(text))
  })

  it("is that of what tsc makes of enums and parameter properties", async () => {
    const text = `import { base } from "./base.js"
enum Plan { Free, Pro = 5, Team, "two words" = -1 }
export enum Role { Admin = "admin", Member = 'member' }
enum Flag { None = 0, Read = 1 << 0, Write = 1 << 1, All = Read | Write, Text = "a" + "b" }
class Price extends base {
  static first = 1
  rest = 2
  constructor(private readonly amount: number, plain: string, public currency = "EUR") {
    super(plain)
    this.rest = amount
  }
}
class Other { constructor(readonly n?: number) { if (n) throw new Error("no") } other() { enum Inner { A } return Inner.A } }
export default [Plan.Pro, Role.Admin, Flag.All, new Price(1, ""), Other]
`
    const [out = ""] = await compiled([text], { target: "esnext", removeComments: true })
    assert.include(out, "function (Plan)")
    assert.strictEqual(await hash(out, "a.js"), await hash(text), out)
    for (const [before, after] of [
      ["Pro = 5", "Pro = 6"],
      ["Free, Pro", "Free2, Pro"],
      ["1 << 1", "1 << 2"],
      ["readonly amount", "readonly sum"],
      ["private readonly amount", "amount"]
    ] as const)
      assert.notStrictEqual(await hash(text.replace(before, after)), await hash(text), after)
  })

  it("is that of what esbuild makes of it, as it is loaded or as a module, whose exports stand at its end", async () => {
    const others = [
      seed,
      `export const size = 1, dash = "—"\nexport function firstOf() { return undefined }\n${seed}`,
      `export default function () { return \`— \${1} \\u2014\` }\nexport const tag = String.raw\`\\u2014\``,
      "export default class Seed { a = undefined }",
      "const one = 1\nexport { one, one as two }\nexport default one"
    ]
    for (const text of others)
      for (const options of [
        {},
        { format: "esm" },
        { format: "esm", target: "node20", sourcemap: "inline" }
      ] as const) {
        const { code } = await transform(text, { loader: "ts", sourcefile: "a-seed.ts", ...options })
        assert.strictEqual(await hash(code, "a.js"), await hash(text), code)
      }
    assert.notStrictEqual(await hash("export default `a`"), await hash("export default `b`"))
    assert.notStrictEqual(
      await hash("var x_default = 1; export { x_default as default }"),
      await hash("export default 2")
    )
    assert.notStrictEqual(await hash("const a = 1; export { a as b }"), await hash("export const b = 1"))
  })

  it("leaves out comments, line endings and layout", async () => {
    const others = [
      seed.replaceAll("\n", "\r\n"),
      seed.replace("// with a comment", ""),
      `/* a licence */\n${seed}\n// the end\n`,
      `\uFEFF${seed}`,
      seed.replace("skippable: true,", "skippable:\n    true,"),
      seed.replace("'effect-es-ops'", '"effect-es-ops"')
    ]
    for (const other of others) assert.strictEqual(await hash(other), await hash(seed))
  })

  it("is another for every change of the code", async () => {
    const changes: ReadonlyArray<readonly [string, string]> = [
      ["n > ${1_000}", "n > ${1_001}"],
      ["t = 'x'", "t = 'y'"],
      ["SELECT id", "SELECT  id"],
      ["skippable: true", "skippable: false"],
      ["wrong = false", "wrong = true"],
      ["nothing = null", "nothing = false"],
      ["nothing = null", "nothing = undefined"],
      ["[, 1, ,]", "[, 1]"],
      ["10n", "11n"],
      ["10n", "10"],
      ["/a+/u", "/a+/"],
      ["?.name", ".name"],
      ["nothing ??", "nothing ||"],
      ["const { id,", "let { id,"],
      ["...rest", "rest"],
      ["static of", "of"],
      ["roles.js", "rules.js"],
      ["Option.isSome", "Option.isNone"],
      ["continue label", "break label"],
      ["a \\u00fc seed", "another seed"],
      ["yield* Effect.log", "Effect.log"],
      ["at = 0", "at = 1"],
      ["(matches || wrong)", "matches || wrong"]
    ]
    for (const [from, to] of changes) {
      const other = seed.replace(from, () => to)
      assert.notStrictEqual(other, seed, from)
      assert.notStrictEqual(await hash(other), await hash(seed), from)
    }
  })

  it("is that of the text where the source cannot be parsed", async () => {
    const text = "export default {,\r\n"
    const plain = createHash("sha256").update("export default {,\n").digest("hex")
    assert.strictEqual(await hash(text), plain)
  })

  it("may be that of the text, as earlier releases recorded it", async () => {
    const recorded = createHash("sha256").update(seed).digest("hex")
    const matches = (text: string) =>
      Effect.runPromise(Effect.map(SourceHash.comparison, (isOf) => isOf("a.ts", text, recorded)))
    assert.isTrue(await matches(seed))
    assert.isTrue(await matches(seed.replaceAll("\n", "\r\n")))
    assert.isFalse(await matches(seed.replace("1_000", "2_000")))
  })
})
