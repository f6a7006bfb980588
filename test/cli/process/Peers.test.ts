/**
 * The command beside packages that are missing or of another version: one sentence, and the line to type.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Command from "../../support/Command.js"
import { decodeApply, decodeError } from "../../support/Command.js"
import { repository, seedSource } from "../../support/Project.js"
import * as Peers from "../../../src/cli/process/Peers.js"

let folder = ""

const installed: Readonly<Record<string, string>> = {
  "@effect/experimental": "0.61.1",
  "@effect/platform": "0.97.2",
  "@effect/sql": "0.52.1",
  "@effect/sql-pg": "0.53.0",
  effect: "3.22.4"
}

/** The folder of a project with the built command and these packages, of which nothing but their versions is there. */
const project = (name: string, versions: Readonly<Record<string, string | undefined>>): string => {
  const made = join(folder, name)
  const packages = join(made, "node_modules")
  cpSync(join(repository, "dist"), join(packages, "effect-es-ops", "dist"), { recursive: true })
  cpSync(join(repository, "package.json"), join(packages, "effect-es-ops", "package.json"))
  for (const [name, version] of Object.entries({ ...installed, ...versions })) {
    if (version === undefined) continue
    mkdirSync(join(packages, name), { recursive: true })
    writeFileSync(join(packages, name, "package.json"), JSON.stringify({ name, version }))
  }
  return made
}

const run = (cwd: string, ...args: ReadonlyArray<string>) =>
  spawnSync(process.execPath, [join(cwd, "node_modules", "effect-es-ops", "dist", "bin.js"), ...args], {
    cwd,
    encoding: "utf8",
    env: {}
  })

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "es-ops-peers-"))
})

afterAll(() => rmSync(folder, { recursive: true }))

describe("the packages that the command shares with a project", () => {
  it("fit by their ranges", () => {
    const fit = [
      ["3.22.0", "^3.22.0"],
      ["3.30.1", "^3.22.0"],
      ["0.97.2", "^0.97.0"]
    ] as const
    for (const [version, range] of fit) assert.isTrue(Peers.fits(version, range), version)
    const misfit = [
      ["3.21.9", "^3.22.0"],
      ["4.0.0-beta.1", "^3.22.0"],
      ["0.98.0", "^0.97.0"],
      ["0.96.9", "^0.97.0"],
      ["0.97.1", "^0.97.2"]
    ] as const
    for (const [version, range] of misfit) assert.isFalse(Peers.fits(version, range), version)
  })

  it("are named where they do not fit, with the line to type and no stack, as text and as a document", () => {
    const cwd = project("wrong", { effect: "4.1.0", "@effect/sql": undefined, "@effect/sql-pg": "0.52.9" })
    writeFileSync(join(cwd, "pnpm-lock.yaml"), "")
    const sentence =
      "effect-es-ops does not work with the packages that are installed (@effect/sql-pg is 0.52.9, not ^0.53.0; effect is 4.1.0, not ^3.22.0; missing: @effect/sql). Type: pnpm add @effect/sql@0.52 @effect/sql-pg@0.53 effect@3"
    const text = run(cwd, "seed:apply", "--embedded")
    assert.deepStrictEqual([text.status, text.stdout, text.stderr], [4, "", `error: ${sentence}\n`])
    const json = run(cwd, "seed:apply", "--json")
    assert.deepStrictEqual(decodeApply(json.stdout).failed, {
      id: null,
      error: { _tag: "SettingError", message: sentence, cause: null }
    })
    writeFileSync(join(cwd, "es-ops.config.js"), "")
    const other = run(cwd, "history", "--json")
    assert.deepStrictEqual(decodeError(other.stdout), { error: { _tag: "SettingError", message: sentence } })
    assert.strictEqual(other.status, 4)
    assert.strictEqual(run(cwd, "seed:apply", "--help").status, 0)
  })

  it("are named by a command that has its own as well, if it loads seeds, and a doctor looks at the rest", () => {
    const cwd = project("own", { effect: undefined })
    mkdirSync(join(cwd, "seeds"))
    writeFileSync(join(cwd, "seeds", "1.mjs"), 'import "effect"')
    const sentence = /^(?:error|warning): effect-es-ops does not work .*missing: effect.* Type: npm install effect@3\n$/
    for (const command of ["seed:check", "seed:status"]) {
      const { status, stderr, stdout } = run(cwd, command)
      assert.deepStrictEqual([status, stdout], [4, ""], command)
      assert.match(stderr, sentence)
    }
    assert.match(decodeError(run(cwd, "seed:check", "--json").stdout).error.message, /missing: effect/)
    const doctor = run(cwd, "doctor", "--database-url", "postgres://u@127.0.0.1:1/db")
    assert.match(doctor.stderr.split("\n")[0] ?? "", /^warning: .*missing: effect/)
    assert.include(doctor.stdout, "connection")
    assert.strictEqual(run(cwd, "seed:new", "two").stderr, "")
  })

  it("are to be installed again where they cannot be loaded, as text and as a document", () => {
    // Their manifests fit, and nothing else of them is there.
    const cwd = project("hollow", {})
    const text = run(cwd, "seed:apply", "--embedded")
    assert.deepStrictEqual([text.status, text.stdout], [4, ""])
    assert.match(text.stderr, /^error: effect-es-ops cannot be loaded .* \(Cannot find .*\)\. Install .*\n$/)
    const { failed } = decodeApply(run(cwd, "seed:apply", "--json").stdout)
    assert.deepInclude(failed?.error, { _tag: "SettingError" })
  })

  it("are installed by what has the lock file, of a folder above it too", () => {
    const found = [{ name: "effect", range: "^3.22.0", found: undefined }]
    const typed = (lock: string) => Peers.explanation(found, (name) => name === lock).split("Type: ")[1]
    assert.strictEqual(typed("../pnpm-lock.yaml"), "pnpm add effect@3")
    assert.strictEqual(typed("yarn.lock"), "yarn add effect@3")
    assert.strictEqual(typed("none"), "npm install effect@3")
  })

  it("leave it unknown which seeds were edited where the parser is missing, which is said", async () => {
    const { env } = await Command.database()
    const made = await Command.project({ "seeds/1.mjs": seedSource("") })
    assert.strictEqual((await made.run(["seed:apply"], env)).code, 0)
    const cwd = project("parserless", {})
    const status = spawnSync(
      process.execPath,
      [
        join(cwd, "node_modules", "effect-es-ops", "dist", "bin.js"),
        "seed:status",
        "--seeds",
        join(made.folder, "seeds")
      ],
      { cwd, encoding: "utf8", env }
    )
    assert.strictEqual(status.status, 0, status.stderr)
    assert.include(status.stdout, "1 applied.")
    assert.notInclude(status.stdout, "changed")
    assert.include(
      status.stderr,
      "which seeds were edited since they were applied is not known: oxc-parser cannot be loaded"
    )
  })
})
