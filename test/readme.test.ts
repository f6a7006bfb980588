/**
 * The README says what is true: its quotes are the files, its programs compile, its commands run.
 */
import { assert, describe, it } from "@effect/vitest"
import { SeedDocument } from "effect-es-ops"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { inject } from "vitest"
import * as Projects from "./support/Project.js"

const { repository } = Projects
const run = promisify(execFile)
const read = (path: string) => readFile(join(repository, path), "utf8")

interface Block {
  readonly language: string
  readonly name: string
  readonly text: string
}

const readme = await read("README.md")

const blocks: ReadonlyArray<Block> = [...readme.matchAll(/^```(\w*) ?(.*)\n([\s\S]*?)^```$/gm)].map(
  ([, language = "", name = "", text = ""]) => ({ language, name, text })
)

const lines = blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.trim().split("\n"))

describe("the README", () => {
  it("has no block that nobody looks at", () => {
    assert.isAbove(blocks.length, 4)
    for (const { language, name } of blocks) assert.match(`${language} ${name}`, /^(sh |ts \S+\.ts|yaml ci\.yml)$/)
  })

  it("shows a pipeline of commands that there are", () => {
    const [pipeline] = blocks.filter(({ name }) => name === "ci.yml")
    const commands = [...(pipeline?.text.matchAll(/run: npx es-ops (.*)$/gm) ?? [])].map(([, words]) => words)
    assert.deepStrictEqual(commands, ["seed:check", "seed:apply --json", "seed:status --check"])
    for (const command of commands) assert.include(lines.join("\n"), `es-ops ${command?.split(" ")[0]}`)
  })

  it("names every option, variable, exit code and document", async () => {
    const { run: command } = await Projects.make({})
    const pages = await Promise.all(
      [
        "seed:new",
        "seed:check",
        "seed:status",
        "seed:apply",
        "seed:mark",
        "seed:unmark",
        "history",
        "schema",
        "doctor"
      ].map((name) => command([name, "--help"]))
    )
    const said = pages.map(({ stdout }) => stdout).join("\n")
    const options = new Set([...said.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, option = ""]) => option))
    assert.isAbove(options.size, 10)
    const own = new Set(["--to", "--retry", "--dry-run", "--check", "--reason"])
    for (const option of options) {
      const row = own.has(option) ? new RegExp(`\`[^\`]*${option}\\b`) : new RegExp(`^\\| \`${option}\\b`, "m")
      assert.match(readme, row, option)
    }
    for (const variable of ["DATABASE_URL", "ES_OPS_APPLIED_BY"])
      assert.match(readme, new RegExp(`^\\|.*\\| \`${variable}\``, "m"))
    for (const [variable] of said.matchAll(/ES_OPS_[A-Z_]+/g)) assert.include(readme, variable)
    for (const name of Object.keys(SeedDocument).filter((key) => key.endsWith("Document"))) {
      assert.include(readme, `\`${name}\``)
    }
    for (const code of ["0", "1", "2", "3", "4", "5", "6"]) assert.match(readme, new RegExp(`^\\| ${code} +\\| `, "m"))
  })

  const quotes = blocks.filter(({ name }) => name.startsWith("seeds/"))
  it("quotes the sample seeds", async () => {
    assert.strictEqual(quotes.length, 2)
    for (const { name, text } of quotes) assert.strictEqual(text, await read(name), name)
  })

  it("shows programs that compile", { timeout: 120_000 }, async () => {
    const modules = join(repository, "node_modules")
    const folder = await mkdtemp(join(repository, "test", "fixtures", "readme-"))
    try {
      for (const { name, text } of blocks.filter(({ language }) => language === "ts")) {
        await mkdir(dirname(join(folder, name)), { recursive: true })
        await writeFile(join(folder, name), text)
      }
      const paths = { "effect-es-ops": ["../../../dist/index.d.ts"] }
      const compilerOptions = { noEmit: true, noUnusedLocals: true, paths }
      const config = { extends: "../../../tsconfig.json", compilerOptions, include: ["."], exclude: [] }
      await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }))
      await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config))
      const tsc = join(modules, "typescript", "bin", "tsc")
      const { stdout } = await run(process.execPath, [tsc, "-p", folder]).catch((failed: unknown) => {
        throw new Error(JSON.stringify(failed))
      })
      assert.strictEqual(stdout, "")
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it("gives commands that run, in the order in which they stand", { timeout: 120_000 }, async () => {
    const { host, password, port, user } = inject("postgres")
    const project = await Projects.make(Object.fromEntries(quotes.map(({ name, text }) => [name, text])))
    const database = `readme_${process.pid}`
    const url = `postgres://${user}:${password}@${host}:${port}`
    const { Client } = await import("pg")
    const admin = new Client({ connectionString: `${url}/postgres` })
    await admin.connect()
    await admin.query(`CREATE DATABASE ${database}`)
    try {
      const commands = lines.filter((line) => line.startsWith("es-ops "))
      assert.isAbove(commands.length, 3)
      for (const line of commands) {
        const result = await project.run(line.split(" ").slice(1), { DATABASE_URL: `${url}/${database}` })
        assert.strictEqual(result.code, 0, `${line}\n${result.stdout}${result.stderr}`)
      }
    } finally {
      await admin.query(`DROP DATABASE ${database} WITH (FORCE)`)
      await admin.end()
      await project.remove()
    }
  })

  it("begins with the two commands that the pipeline runs and the package knows", async () => {
    assert.deepStrictEqual(
      lines.filter((line) => !line.startsWith("es-ops ")),
      ["npm ci && npm start", "npm ci && npm test", "npm install effect-es-ops"]
    )
    const ci = await read(".ci/run")
    for (const part of ["npm ci", "npm test"]) assert.include(ci.split("\n"), part)
    const scripts: Readonly<Record<string, string>> = JSON.parse(await read("package.json")).scripts
    assert.strictEqual(scripts["start"], "npm run --silent build && node dist/bin.js seed:apply --embedded")
    for (const part of ["build", "check", "lint", "vitest run"]) assert.include(scripts["test"], part)
  })

  const [example] = blocks.filter(({ name }) => name === "seed.test.ts")
  it("shows a test that passes", { timeout: 120_000 }, async () => {
    assert.isDefined(example)
    const folder = await mkdtemp(join(repository, "test", "fixtures", "readme-"))
    try {
      await writeFile(join(folder, "seed.test.ts"), example?.text.replace("./seeds/", "../../../seeds/") ?? "")
      const vitest = join(repository, "node_modules", "vitest", "vitest.mjs")
      const config = join(repository, "test", "fixtures", "vitest.config.js")
      const { stdout } = await run(process.execPath, [vitest, "run", "--config", config, folder], { cwd: repository })
      assert.include(stdout, "1 passed")
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
