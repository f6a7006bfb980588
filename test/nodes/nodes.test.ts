/**
 * The built command on the other supported versions of Node, in short; `npm run test:nodes` runs the tests on each of them.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { database, decodeApply, project, tenant } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Nodes from "./Nodes.js"

describe.each(Nodes.majors)("the command on Node %s", (major) => {
  let binary: string
  beforeAll(async () => {
    binary = await Nodes.binaryOf(major)
  })

  it("checks TypeScript and JavaScript seeds, applies them once and shows them as applied", async () => {
    const { env, query } = await database()
    const made = await project({
      "seeds/1-effect.ts": tenant("one"),
      "seeds/2-plain.ts": `interface Context {
  systemWriteAs(handler: string, payload: unknown): Promise<unknown>
}
const key: string = "two"
export default {
  description: "an async function",
  run: async (ctx: Context): Promise<void> => {
    await ctx.systemWriteAs("tenant:write:create", { key, name: key })
  }
}`,
      "seeds/3-module.mjs": tenant("three")
    })
    const esOps = async (...args: ReadonlyArray<string>) => {
      const options = { cwd: made.folder, env: { PATH: process.env["PATH"] ?? "", ...env } }
      const { code, stderr, stdout } = await Projects.watch(spawn(binary, [made.command, ...args], options)).result
      assert.strictEqual(code, 0, `${args.join(" ")}: ${stderr}${stdout}`)
      return stdout
    }
    assert.strictEqual(await esOps("seed:check"), "3 seeds checked, no problems.\n")
    assert.deepStrictEqual(
      decodeApply(await esOps("seed:apply", "--json")).applied.map(({ events, id }) => [id, events]),
      [
        ["1-effect", 1],
        ["2-plain", 1],
        ["3-module", 1]
      ]
    )
    assert.match(await esOps("seed:status", "--check"), /\n3 applied\.\n$/)
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 3 }])
  })
})
