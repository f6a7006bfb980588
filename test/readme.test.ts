/**
 * The README says what is true, in little: its programs are those of the examples, its commands run, and its words are explained.
 */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { database, project } from "./support/Command.js"
import * as Pages from "./support/Pages.js"
import { repository } from "./support/Project.js"
import * as Projects from "./support/Project.js"

const readme = await Pages.page("README.md")
const lines = Pages.linesOf(readme)

type Manifest = { readonly peerDependencies?: Readonly<Record<string, string>> } & {
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
  readonly scripts: Readonly<Record<string, string>>
}

const manifest = (path: string): Manifest => JSON.parse(readFileSync(join(repository, path, "package.json"), "utf8"))

/** Every package that must be there beside this one: peers, and what they have as peers in turn. */
const peers = (path = ".", found: ReadonlyMap<string, string> = new Map()): ReadonlyMap<string, string> => {
  const { peerDependencies = {}, peerDependenciesMeta = {} } = manifest(path)
  return Object.entries(peerDependencies)
    .filter(([name]) => peerDependenciesMeta[name]?.optional !== true && !found.has(name))
    .reduce((before, [name, range]) => {
      return before.has(name) ? before : peers(`node_modules/${name}`, new Map([...before, [name, range]]))
    }, found)
}

describe("the README", () => {
  it("is short", () => {
    assert.isAtMost(Buffer.byteLength(readme.text), 12_288)
  })

  it("has no block that nobody looks at", () => {
    assert.isAbove(readme.blocks.length, 4)
    for (const { language, name } of readme.blocks) assert.match(`${language} ${name}`, /^(sh |ts examples\/\S+\.ts)$/)
  })

  it("quotes programs of the examples, which compile and run", async () => {
    const quotes = readme.blocks.filter(({ language }) => language === "ts")
    assert.isAbove(quotes.length, 4)
    for (const { name, text } of quotes) assert.strictEqual(text, await Pages.read(name), name)
  })

  it("explains each word that a newcomer lacks where it first stands", () => {
    const words = [
      "seed",
      "replica",
      "event-sourced",
      "marker",
      "event",
      "stream",
      "tenant",
      "write handler",
      "projection"
    ]
    const prose = readme.text.replaceAll(/^```[\s\S]*?^```$|`[^`\n]*`|\]\([^)]*\)|effect-es-ops/gm, "")
    for (const word of [...words, "feature", "advisory lock"]) {
      const first = new RegExp(`\\*\\*${word}\\*\\*|\\b${word}s?\\b(?!-)`, "i").exec(prose)
      if (word === "event") assert.match(prose, /\*\*event\*\* says/)
      else assert.strictEqual(first?.[0].toLowerCase(), `**${word}**`, word)
    }
  })

  it("names every command", async () => {
    const { remove, run: command } = await Projects.make({})
    const { stdout } = await command(["--help"])
    await remove()
    const names = [...stdout.matchAll(/^ {2}([a-z]+(?::[a-z]+)?)/gm)].map(([, name = ""]) => name)
    assert.isAbove(names.length, 8)
    for (const name of names) assert.match(readme.text, new RegExp(`^\\| \`${name}\\b`, "m"), name)
  })

  it("begins with the two commands that the pipeline runs and the package knows", async () => {
    assert.deepStrictEqual(lines.slice(0, 2), ["npm ci && npm start", "npm ci && npm test"])
    const ci = await Pages.read(".ci/run")
    for (const part of ["npm ci", "npm test"]) assert.include(ci.split("\n"), part)
    const { scripts } = manifest(".")
    assert.strictEqual(scripts["start"], "npm run --silent build && node dist/bin.js seed:apply --embedded")
    for (const part of ["build", "check", "lint", "vitest run"]) assert.include(scripts["test"], part)
  })

  it("installs the versions that the package asks for, and all of them where nobody else brings them", () => {
    const [npm = "", pnpm = "", yarn = ""] = lines.filter((line) => / effect-es-ops /.test(line))
    const named = (line: string) => line.split(" ").slice(2)
    assert.deepStrictEqual(
      [npm, pnpm, yarn].map((line) => line.split(" ").slice(0, 3).join(" ")),
      ["npm install effect-es-ops", "pnpm add effect-es-ops", "yarn add effect-es-ops"]
    )
    const wanted = [...peers()].map(([name, range]) =>
      name === "effect" ? "effect@3" : `${name}@${range.replace(/^\^(0\.\d+)\..*$/, "$1")}`
    )
    assert.deepStrictEqual(named(pnpm).toSorted(), ["effect-es-ops", ...wanted].toSorted())
    assert.deepStrictEqual(named(yarn), named(pnpm))
    for (const one of named(npm)) assert.include(named(pnpm), one)
  })

  it("gives commands that run, in the order in which they stand, here on a server", async () => {
    const [seed] = readme.blocks.filter(({ language }) => language === "ts")
    const name = seed?.name.replace(/^.*(?=seeds\/)/, "") ?? ""
    const { run } = await project({ [name]: seed?.text ?? "" })
    const { env, query } = await database()
    const commands = lines.filter((line) => line.startsWith("npx es-ops "))
    assert.isAbove(commands.length, 3)
    for (const line of commands) {
      const result = await run(line.replace(" --embedded", "").split(" ").slice(2), env)
      assert.strictEqual(result.code, 0, `${line}\n${result.stdout}${result.stderr}`)
    }
    assert.strictEqual((await query("SELECT 1 FROM plans")).length, 2)
  })
})
