/**
 * Which program a command line loads.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFile, spawnSync } from "node:child_process"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { configFileNames } from "../../../src/cli/ConfigFileNames.js"
import * as Program from "../../../src/cli/process/Program.js"
import { project, tenant } from "../../support/Command.js"
import { repository } from "../../support/Project.js"

const nothing = () => false

describe("the program of a command line", () => {
  it("is the linked one where effects of the project's own are run", () => {
    assert.strictEqual(Program.choose(["seed:apply", "--json"], nothing), "linked")
    assert.strictEqual(Program.choose(["seed:status", "--config", "a.ts"], nothing), "linked")
    assert.strictEqual(Program.choose(["seed:status", "--config=a.ts"], nothing), "linked")
    assert.strictEqual(Program.choose(["projection:rebuild", "a", "--cluster"], nothing), "linked")
    assert.strictEqual(Program.choose(["projection:rebuild", "a"], nothing, { ES_OPS_CLUSTER: "1" }), "linked")
    assert.strictEqual(Program.choose(["seed:status"], nothing, { ES_OPS_CLUSTER: "1" }), "whole")
    for (const name of configFileNames)
      assert.strictEqual(
        Program.choose(["seed:status"], (file) => file === name),
        "linked"
      )
  })

  it("is the whole one for everything else, and none for the version", () => {
    for (const words of [["seed:status", "--check"], ["history"], ["--help"], ["--version", "--json"], []])
      assert.strictEqual(Program.choose(words, nothing), "whole")
    assert.strictEqual(Program.choose(["--version"], nothing), "version")
  })

  it("loads nothing of other commands for a status, when it is the whole one", async () => {
    const textOf = async (name: string): Promise<string> => {
      const text = await readFile(join(repository, "dist", "whole", name), "utf8")
      const imported = [...text.matchAll(/(?:from|import)"\.\/([^"]+)"/g)].map(([, path = ""]) => textOf(path))
      return [text, ...(await Promise.all(imported))].join("\n")
    }
    const text = await textOf("Process.js")
    assert.include(text, "Shows every seed with its state")
    assert.notInclude(text, "Computes read tables again from the events")
    assert.notInclude(text, "SnapshotRows")
  })

  it("loads effect's modules for a seed only, when it is the whole one", async () => {
    const loaded = async (files: Readonly<Record<string, string>>) => {
      const { folder } = await project({
        ...files,
        // A hook of Node's loader that says what is loaded.
        "hook.mjs": `export const load = (url, context, next) => {
  if (url.includes("/node_modules/effect/")) process._rawDebug("loaded effect")
  return next(url, context)
}`,
        "register.mjs": `import { register } from "node:module"\nregister("./hook.mjs", import.meta.url)`
      })
      const command = [join(repository, "dist", "bin.js"), "seed:check"]
      const ran = await promisify(execFile)(process.execPath, ["--import", "./register.mjs", ...command], {
        cwd: folder
      })
      assert.match(ran.stdout, /no problems/)
      return ran.stderr.includes("loaded effect")
    }
    assert.isFalse(await loaded({ "seeds/a.mjs": `export default { description: "a", run: async () => {} }` }))
    assert.isTrue(await loaded({ "seeds/a.mjs": tenant("a") }))
  })

  it("does not load Node's fetch, which the driver asks for where there is no navigator", async () => {
    const told = `process.once("exit", () =>
  console.error("fetch", process.moduleLoadList.some((name) => name.includes("undici/undici"))))`
    const { folder } = await project({ "told.mjs": told })
    const command = [join(repository, "dist", "bin.js"), "seed:status"]
    const ran = spawnSync(process.execPath, ["--import", "./told.mjs", ...command], {
      cwd: folder,
      encoding: "utf8",
      env: { DATABASE_URL: "postgres://nobody@127.0.0.1:1/nothing" }
    })
    assert.strictEqual(ran.status, 6, ran.stderr)
    assert.include(ran.stderr, "fetch false")
  })
})
