/**
 * The pages in docs/, and those of examples, findings and contributors, say what is true: links lead somewhere, quotes are files, programs compile,
 * commands run, and tables are complete.
 */
import { assert, describe, it } from "@effect/vitest"
import { ProjectionDocument, SeedDocument, SeedProblem } from "effect-es-ops"
import { existsSync, readdirSync, statSync } from "node:fs"
import { join, posix } from "node:path"
import { database, project } from "./support/Command.js"
import type { Page } from "./support/Pages.js"
import * as Pages from "./support/Pages.js"
import { repository } from "./support/Project.js"

/** Without the reference, which is made from the comments of src where somebody asks for it. */
const docs = (await Pages.pagesIn("docs")).filter(({ path }) => !path.startsWith("docs/api/"))
const others = [...(await Pages.pagesIn("examples")), ...(await Pages.pagesIn("findings"))]
const pages = [
  ...docs,
  ...others,
  ...(await Promise.all(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(Pages.page)))
]

const named = (path: string): Page => {
  const found = pages.find((page) => page.path === path)
  if (found === undefined) throw new Error(`there is no ${path}`)
  return found
}

const command = named("docs/command.md")
const production = named("docs/production.md")
const scripts: Readonly<Record<string, string>> = JSON.parse(await Pages.read("package.json")).scripts

/** A heading's anchor, as the places that show these pages make it. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, "")
    .replaceAll(" ", "-")

const anchorsOf = ({ text }: Page) => [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading))

describe("the pages", () => {
  it("link to what there is", () => {
    const links = pages.flatMap(({ path, text }) =>
      [...text.replaceAll(/^```[\s\S]*?^```$/gm, "").matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = ""]) => ({ path, to }))
    )
    assert.isAbove(links.length, 50)
    for (const { path, to } of links.filter((link) => !link.to.startsWith("https://"))) {
      const [file = "", anchor] = to.split("#")
      const target = file === "" ? path : posix.join(posix.dirname(path), file)
      assert.isTrue(existsSync(join(repository, target)), `${path}: ${to}`)
      if (anchor !== undefined) assert.include(anchorsOf(named(target)), anchor, `${path}: ${to}`)
    }
  })

  it("have no block that nobody looks at", () => {
    assert.isAbove(docs.flatMap(({ blocks }) => blocks).length, 10)
    for (const { blocks, path } of pages)
      for (const { language, name } of blocks)
        assert.match(`${language} ${name}`, /^(sh |mermaid |ts \S+\.ts|yaml ci\.yml)$/, path)
  })

  it("name their readers in the first line", () => {
    for (const { path, text } of pages.filter((page) => page.path !== "README.md" && page.path !== "CHANGELOG.md"))
      if (!/^examples\/.+\//.test(path)) assert.match(text, /^# .+\n\nFor those who /, path)
      else assert.match(text, /^# .+\n\nFor those who /, path)
  })

  it("are listed by the page that leads to them", () => {
    for (const { path } of docs.filter((page) => !page.path.endsWith("README.md"))) {
      const index = named(posix.join(posix.dirname(path), "README.md"))
      assert.include(index.text, `(${posix.basename(path)})`, path)
    }
  })

  it("name scripts that the package has, and all of them for those who change it", () => {
    const contributing = named("CONTRIBUTING.md").text
    for (const name of Object.keys(scripts).filter((script) => script !== "prepack")) {
      const said = name === "test" || name === "start" ? `npm ${name}` : `npm run ${name}`
      assert.include(contributing, said, name)
    }
  })

  it("quote files as they are", async () => {
    const quotes = pages.flatMap(({ blocks }) => blocks.filter(Pages.isQuote))
    assert.strictEqual(quotes.filter(({ name }) => name.startsWith("seeds/")).length, 2)
    for (const { name, text } of quotes) assert.strictEqual(text, await Pages.read(name), name)
  })

  const programs = docs.flatMap(({ blocks }) => blocks.filter(({ language }) => language === "ts"))
  it("show programs that compile", async () => {
    const compilerOptions = {
      noEmit: true,
      noUnusedLocals: true,
      paths: { "effect-es-ops": ["../../../dist/index.d.ts"] }
    }
    const config = { extends: "../../../tsconfig.json", compilerOptions, include: ["."], exclude: [] }
    const names = programs.map(({ name }) => name)
    assert.strictEqual(new Set(names).size, names.length)
    const tsconfig = { name: "tsconfig.json", text: JSON.stringify(config) }
    assert.strictEqual(await Pages.inFolder([...programs, tsconfig], Pages.compile), "")
  })

  it("show tests that pass", async () => {
    const tests = programs.filter(({ name }) => name.endsWith(".test.ts"))
    assert.strictEqual(tests.length, 3)
    const files = tests.map(({ name, text }) => ({ name, text: text.replace("./seeds/", "../../../seeds/") }))
    assert.include(await Pages.inFolder(files, Pages.runTests), "3 passed")
  })
})

describe("the page of the command", () => {
  it("shows a pipeline of commands that there are", () => {
    const [pipeline] = command.blocks.filter(({ name }) => name === "ci.yml")
    const commands = [...(pipeline?.text.matchAll(/run: npx es-ops (.*)$/gm) ?? [])].map(([, words]) => words)
    assert.deepStrictEqual(commands, ["seed:check", "seed:apply --json", "seed:status --check"])
    const lines = Pages.linesOf(command).join("\n")
    for (const words of commands) assert.include(lines, `es-ops ${words?.split(" ")[0]}`)
  })

  it("names every option, variable, exit code and document", async () => {
    const { run } = await project({})
    const help = await Promise.all(
      [
        "seed:new",
        "seed:check",
        "seed:status",
        "seed:apply",
        "seed:mark",
        "seed:unmark",
        "seed:rename",
        "snapshot:verify",
        "snapshot:rebuild",
        "event:replay",
        "event:backfill",
        "projection:status",
        "projection:rebuild",
        "projection:diff",
        "runs",
        "runs:cancel",
        "stream:move",
        "stream:archive",
        "stream:restore",
        "stream:purge",
        "history",
        "schema",
        "doctor"
      ].map((name) => run([name, "--help"]))
    )
    const said = help.map(({ stdout }) => stdout).join("\n")
    const options = new Set([...said.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, option = ""]) => option))
    assert.isAbove(options.size, 10)
    const own = new Set([
      "--to",
      "--retry",
      "--restart",
      "--pause-between",
      "--dry-run",
      "--check",
      "--reason",
      "--diff",
      "--grants",
      "--id",
      "--tenant",
      "--from",
      "--plan",
      "--merge",
      "--outdated",
      "--expect",
      "--archived-before",
      "--export",
      "--keep-rows",
      "--accept-projection-loss",
      "--yes"
    ])
    const ofReplay = ["since", "until", "from-id", "to-id", "type", "tenant", "stream", "all", "include-archived"]
    for (const name of [...ofReplay, "rate", "concurrency", "on-error", "yes"]) own.add(`--${name}`)
    for (const option of options) {
      const row = own.has(option) ? new RegExp(`\`[^\`]*${option}\\b`) : new RegExp(`^\\| \`${option}\\b`, "m")
      assert.match(command.text, row, option)
    }
    for (const variable of ["DATABASE_URL", "ES_OPS_APPLIED_BY"])
      assert.match(command.text, new RegExp(`^\\|.*\\| \`${variable}\``, "m"))
    for (const [variable] of said.matchAll(/ES_OPS_[A-Z_]+/g)) assert.include(command.text, variable)
    for (const name of Object.keys({ ...SeedDocument, ...ProjectionDocument }).filter((key) =>
      key.endsWith("Document")
    )) {
      assert.include(command.text, `\`${name}\``)
    }
    for (const code of ["0", "1", "2", "3", "4", "5", "6"])
      assert.match(command.text, new RegExp(`^\\| ${code} +\\| `, "m"))
  })

  it("gives commands that run, in the order in which they stand", async () => {
    const quotes = named("docs/seeds.md").blocks.filter(Pages.isQuote)
    const { run } = await project(Object.fromEntries(quotes.map(({ name, text }) => [name, text])))
    const { env } = await database()
    const commands = Pages.linesOf(command).filter((line) => line.startsWith("npx es-ops "))
    assert.isAbove(commands.length, 3)
    for (const line of commands) {
      const result = await run(line.split(" ").slice(2), env)
      assert.strictEqual(result.code, 0, `${line}\n${result.stdout}${result.stderr}`)
    }
  })
})

describe("the page on production", () => {
  it("says of each problem what it means", () => {
    for (const tag of SeedProblem.SeedProblemTag.literals)
      assert.match(production.text, new RegExp(`^\\| \`${tag}\` +\\| `, "m"), tag)
  })

  it("says of each failure of a run what to do", () => {
    const failures = ["SeedFailed", "SeedFailedElsewhere", "SeedInterrupted", "SeedsInconsistent", "SettingError"]
    const around = ["LockTimeout", "DatabaseError", "CommitUnknown", "SeedsPending", "UnknownSeed"]
    for (const tag of [...failures, ...around])
      assert.match(production.text, new RegExp(`^\\| \`${tag}\` +\\| `, "m"), tag)
  })
})

describe("the page on costs", () => {
  it("has every row of the benchmark", async () => {
    const works = ["Seed", "Write", "Boot", "Command", "Purge", "Peer"].map((name) =>
      Pages.read(`test/bench/${name}Works.ts`)
    )
    const names = (await Promise.all(works)).flatMap((text) =>
      [...text.matchAll(/\bname: "([a-z-]+)",\s+work:/g)].map(([, name = ""]) => name)
    )
    assert.isAbove(names.length, 15)
    for (const name of names) assert.match(named("docs/costs.md").text, new RegExp(`^\\| ${name} +\\| `, "m"), name)
  })
})

describe("the folder of findings", () => {
  it("has scripts that can be run, and clean up behind them", async () => {
    const names = readdirSync(join(repository, "findings")).filter((name) => name !== "README.md")
    for (const name of names) {
      assert.match(name, /^[a-z0-9-]+\.sh$/)
      assert.isAbove(statSync(join(repository, "findings", name)).mode & 0o111, 0, name)
      const text = await Pages.read(`findings/${name}`)
      assert.match(text, /^#!\/usr\/bin\/env bash\n/, name)
      for (const part of ["set -euo pipefail", "trap "]) assert.include(text, part, name)
    }
  })
})
