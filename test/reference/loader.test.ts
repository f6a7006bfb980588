/**
 * Seeds of ours met by a replica of the reference, which takes every object with a description and a function `run` for one of its own.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Seed } from "effect-es-ops"
import { bundled, database } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Reference from "../support/Reference.js"

const reference = async (files: Readonly<Record<string, string>>) => {
  const { env, query } = await database()
  await query(`${Reference.tables}; ${Reference.readTables}; CREATE TABLE ledger (seed text, by text)`)
  const made = await bundled({ ...files, "reference.mjs": Reference.boot })
  return { ...made, env, query, boot: () => made.node("reference.mjs", env) }
}

const insert = "yield* sql`INSERT INTO ledger VALUES ('1', 'ours')`"

describe("a replica of the reference, with this package installed,", () => {
  it.each([
    ["run is an Effect", Projects.seedSource(insert)],
    ["run is a function", Projects.seedSource(insert).replace("run: Effect.gen", "run: () => Effect.gen")],
    ["transaction is none", Projects.seedSource(insert, '\n  transaction: "none",')],
    ["description is empty", Projects.seedSource(insert).replace(/"a seed of a test"/, '""')]
  ])(
    "is stopped by an Effect seed whose %s: no marker, and words that name the package; ours applies it",
    async (_, seed) => {
      const made = await reference({ "seeds/1.mjs": seed })
      const stopped = await made.boot()
      assert.strictEqual(stopped.code, 1)
      assert.match(stopped.stderr, /effect-es-ops.*es-ops seed:apply.*Seed\.fromPromise/)
      assert.deepStrictEqual(await made.query("SELECT id FROM kumiko_es_operations"), [])
      const applied = await made.run(["seed:apply"], made.env)
      assert.strictEqual(applied.code, 0, applied.stderr)
      assert.deepStrictEqual(await made.query("SELECT * FROM ledger"), [{ seed: "1", by: "ours" }])
      const passed = await made.boot()
      assert.deepStrictEqual([passed.code, passed.stdout], [0, "[]\n"])
    }
  )

  it("runs what Seed.fromPromise makes, and so does ours", async () => {
    const seed = (key: string) => `import { Seed } from "effect-es-ops"
      export default Seed.fromPromise({ description: "${key}", run: async (ctx) => {
        await ctx.systemWriteAs("tenant:write:create", { key: "${key}", name: "n" })
      } })`
    const made = await reference({ "seeds/1.mjs": seed("one") })
    const theirs = await made.boot()
    assert.deepStrictEqual([theirs.code, theirs.stdout], [0, '["1"]\n'], theirs.stderr)
    assert.deepStrictEqual(await made.query("SELECT * FROM ledger"), [{ seed: "one", by: "reference" }])
    await made.write("seeds/2.mjs", seed("two"))
    const ours = await made.run(["seed:apply"], made.env)
    assert.strictEqual(ours.code, 0, ours.stderr)
    assert.deepStrictEqual(await made.query("SELECT key FROM read_tenants"), [{ key: "two" }])
    assert.deepStrictEqual(await made.query("SELECT id, notes FROM kumiko_es_operations ORDER BY 1"), [
      { id: "1", notes: "one" },
      { id: "2", notes: "two" }
    ])
  })

  it("is stopped by what Seed.fromPromise makes of a function that returns an Effect, which nobody would run", async () => {
    const made = await reference({
      "seeds/1.mjs": `import { Effect } from "effect"
        import { Seed } from "effect-es-ops"
        export default Seed.fromPromise({ description: "x", run: () => Effect.void })`
    })
    const stopped = await made.boot()
    assert.strictEqual(stopped.code, 1)
    assert.include(stopped.stderr, "run returned an Effect, which nobody runs")
    assert.deepStrictEqual(await made.query("SELECT id FROM kumiko_es_operations"), [])
  })
})

describe("a seed made by Seed.make", () => {
  it("throws at once where a stranger calls its run, also one that does not wait for it", () => {
    const seed = Seed.make({ description: "x", run: Effect.void })
    assert.throws(() => Reflect.apply(seed.run, seed, [{}]), /effect-es-ops/)
  })
})
