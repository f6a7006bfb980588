/**
 * Skips in the very first apply, when there is no table yet that could keep them.
 */
import { assert, describe, it } from "@effect/vitest"
import { database, decodeHistory, decodeStatus, endless, bundled, tenant } from "../support/Command.js"
import * as EmbeddedFolder from "../support/EmbeddedFolder.js"
import * as Projects from "../support/Project.js"
import * as Reference from "../support/Reference.js"

const skippable = Projects.seedSource("yield* Effect.void", "\n  skippable: true,")
const flags = { KUMIKO_SKIP_ES_OPS_1: "1", KUMIKO_SKIP_ES_OPS_3: "1" }

const outcomes = (history: string) =>
  decodeHistory(history)
    .map(({ id, outcome }) => [id, outcome])
    .toReversed()

describe("a skip in the very first apply", () => {
  it.each([
    ["in a transaction", Projects.seedSource("yield* Effect.void")],
    ["outside any transaction", Projects.seedSource("yield* Effect.void", '\n  transaction: "none",')]
  ])("is in the history, in its turn, where the run creates the tables for a seed %s", async (_, other) => {
    const { env } = await database()
    const made = await bundled({ "seeds/1.mjs": skippable, "seeds/2.mjs": other, "seeds/3.mjs": skippable })
    const applied = await made.run(["seed:apply"], { ...env, ...flags })
    assert.strictEqual(applied.code, 0, applied.stderr)
    const expected = [
      ["1", "skipped"],
      ["2", "applied"],
      ["3", "skipped"]
    ]
    assert.deepStrictEqual(outcomes((await made.run(["history", "--json"], env)).stdout), expected)
    await made.run(["seed:apply"], { ...env, ...flags })
    assert.deepStrictEqual(outcomes((await made.run(["history", "--json"], env)).stdout), expected)
    // It was left out on purpose, and is not late therefore.
    const { seeds } = decodeStatus((await made.run(["seed:status", "--json"], env)).stdout)
    assert.deepStrictEqual(
      seeds.map(({ state }) => state),
      ["pending", "applied", "pending"]
    )
  })

  it("is in the history where the seed behind it fails, and where the run is interrupted in it", async () => {
    for (const [body, last] of [
      [Projects.seedSource('return yield* Effect.fail("no")'), "failed"],
      [endless, "interrupted"]
    ] as const) {
      const { env } = await database()
      const made = await bundled({ "seeds/1.mjs": skippable, "seeds/2.mjs": body })
      const run = made.start(["seed:apply"], { ...env, ...flags })
      if (last === "interrupted") {
        await run.says("inside")
        run.process.kill("SIGTERM")
      }
      await run.result
      assert.deepStrictEqual(outcomes((await made.run(["history", "--json"], env)).stdout), [
        ["1", "skipped"],
        ["2", last]
      ])
    }
  })

  it("is in the history on a database of the reference, whose markers are there and no attempts", async () => {
    const { env, query } = await database()
    await query(`${Reference.tables}; ${Reference.readTables}`)
    const made = await bundled({ "seeds/1.mjs": skippable, "seeds/2.mjs": tenant("two") })
    const applied = await made.run(["seed:apply"], { ...env, ...flags })
    assert.strictEqual(applied.code, 0, applied.stderr)
    assert.deepStrictEqual(outcomes((await made.run(["history", "--json"], env)).stdout), [
      ["1", "skipped"],
      ["2", "applied"]
    ])
  })

  it("creates nothing where every seed is skipped, and neither does a dry run", async () => {
    const { env, query } = await database()
    const made = await bundled({ "seeds/1.mjs": skippable, "seeds/3.mjs": skippable })
    const applied = await made.run(["seed:apply"], { ...env, ...flags })
    assert.strictEqual(applied.code, 0, applied.stderr)
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'"), [])
    await made.write("seeds/4.mjs", tenant("four"))
    await made.run(["seed:apply", "--dry-run"], { ...env, ...flags })
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'"), [])
  })

  it("is in the history of an embedded database", async () => {
    const made = await bundled({ "seeds/1.mjs": skippable, "seeds/2.mjs": tenant("two") })
    await EmbeddedFolder.prepare(made)
    const applied = await made.run(["seed:apply", "--embedded"], flags)
    assert.strictEqual(applied.code, 0, applied.stderr)
    assert.deepStrictEqual(outcomes((await made.run(["history", "--embedded", "--json"])).stdout), [
      ["1", "skipped"],
      ["2", "applied"]
    ])
  })
})
