/**
 * The shape of the house: which folder may know which, and what strangers can see.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Context } from "effect"
import * as Library from "effect-es-ops"
import { readdirSync, readFileSync } from "node:fs"
import { join, posix } from "node:path"
import { repository } from "./support/Project.js"

const src = join(repository, "src")

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts"))
  .map((path) => path.replaceAll("\\", "/"))
  .toSorted()

interface Import {
  readonly file: string
  readonly from: string
}

const imports: ReadonlyArray<Import> = files.flatMap((file) =>
  // Statements at the beginning of a line, and imports by call: not what a text in the source says.
  [
    ...readFileSync(join(src, file), "utf8").matchAll(
      /^(?:import|export)\b[^"=`]*\bfrom\s+"([^"]+)"|\bimport\(\s*"([^"]+)"/gm
    )
  ].map(([, statement, call]) => {
    const from = statement ?? call ?? ""
    return {
      file,
      from: from.startsWith(".") ? posix.join(posix.dirname(file), from).replace(/\.js$/, ".ts") : from
    }
  })
)

/** The folder of a file, or the file itself at the top. */
const room = (path: string): string => (path.includes("/") ? (path.split("/")[0] ?? "") : path)

/** Which rooms each room may import from. */
const arrows: Readonly<Record<string, ReadonlyArray<string>>> = {
  "bin.ts": ["cli"],
  "index.ts": ["EsOps.ts", "operation", "event", "identity", "seed"],
  cli: ["EsOps.ts", "seed", "event", "operation"],
  "EsOps.ts": ["seed", "identity", "event", "operation", "postgres"],
  seed: ["identity", "event", "operation"],
  identity: ["event", "operation"],
  event: ["operation"],
  operation: [],
  postgres: ["identity", "event", "operation"]
}

/** What is wrong with an import, if anything. */
const violation = ({ file, from }: Import): string | undefined => {
  const [here, there] = [room(file), room(from)]
  const at = `${file} imports ${from}`
  if (from.endsWith(".ts")) {
    if (here !== there && !(arrows[here] ?? []).includes(there)) return at
    if (here === "seed" && there === "identity" && from !== "identity/Directory.ts")
      return `${at}: seeds know the port only`
    return undefined
  }
  if (from.startsWith("@effect/sql") && here !== "postgres" && here !== "EsOps.ts") return at
  if (from.startsWith("@effect/cli") && here !== "cli") return at
  if (from.startsWith("@effect/platform-node") && here !== "cli" && here !== "bin.ts") return at
  if (["effect", "@effect/sql", "@effect/sql-pg", "@effect/platform", "@effect/cli"].includes(from))
    return `${at}: a barrel`
  return undefined
}

describe("the arrows between the folders", () => {
  it("point one way", () => {
    assert.isAbove(imports.length, 200)
    assert.deepStrictEqual(
      imports.map(violation).filter((found) => found !== undefined),
      []
    )
  })

  it("are noticed when they point the wrong way", () => {
    const wrong: ReadonlyArray<readonly [string, string]> = [
      ["operation/Operation.ts", "seed/Seed.ts"],
      ["event/Event.ts", "identity/Directory.ts"],
      ["seed/Seed.ts", "postgres/PgSql.ts"],
      ["seed/Seed.ts", "identity/Identity.ts"],
      ["identity/Identity.ts", "seed/Seed.ts"],
      ["seed/SeedRunner.ts", "@effect/sql/SqlClient"],
      ["seed/SeedRunner.ts", "@effect/cli/Command"],
      ["postgres/PgSql.ts", "@effect/platform-node/NodeContext"],
      ["operation/Attempt.ts", "effect"]
    ]
    for (const [file, from] of wrong) assert.isDefined(violation({ file, from }), `${file} → ${from}`)
  })

  it("make no circle", () => {
    const next = new Map(files.map((file) => [file, imports.filter((i) => i.file === file).map((i) => i.from)]))
    const circle = (file: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined =>
      path.includes(file)
        ? [...path, file]
        : (next.get(file) ?? []).map((to) => circle(to, [...path, file])).find((found) => found !== undefined)
    assert.isUndefined(circle("bin.ts", []))
    assert.isUndefined(circle("index.ts", []))
  })

  it("know every file", () => {
    assert.deepStrictEqual(
      files.filter((file) => arrows[room(file)] === undefined),
      []
    )
    assert.deepStrictEqual(
      files.filter((file) => posix.basename(file) === "index.ts"),
      ["index.ts"]
    )
  })
})

describe("the public surface", () => {
  it("is this, and changes on purpose only", () => {
    const surface = Object.fromEntries(
      Object.entries(Library).map(([name, namespace]) => [name, Object.keys(namespace).toSorted()])
    )
    expect(surface).toMatchSnapshot()
  })

  it("says of everything in it what it is", () => {
    const declared = /^export (?:const|class|interface|type|function) (\w+)/
    const internal = /^(cli|postgres)\/|^bin\.ts$/
    const silent = files
      .filter((file) => !internal.test(file))
      .flatMap((file) => {
        const lines = readFileSync(join(src, file), "utf8").split("\n")
        const told = new Set<string>()
        return lines.flatMap((line, index) => {
          const [, name] = declared.exec(line) ?? []
          if (name === undefined || told.has(name)) return []
          // A type beside the value of its name, and overloads, are told once.
          told.add(name)
          return lines[index - 1]?.endsWith("*/") === true ? [] : [`${file}: ${name}`]
        })
      })
    assert.deepStrictEqual(silent, [])
  })

  it("names its tags after itself", () => {
    const keys = Object.values(Library)
      .flatMap((namespace) => Object.values<unknown>(namespace))
      .flatMap((value) => (Context.isTag(value) ? [value.key] : []))
    assert.isAbove(keys.length, 10)
    assert.deepStrictEqual(
      keys.filter((key) => !key.startsWith("effect-es-ops/")),
      []
    )
    assert.strictEqual(new Set(keys).size, keys.length)
  })
})
