/**
 * What is said of applied seeds whose files are not what they were: an edit is one of the code.
 */
import { assert, describe, it } from "@effect/vitest"
import { createHash } from "node:crypto"
import { rename } from "node:fs/promises"
import { join } from "node:path"
import { database, decodeDoctor, decodeStatus, project } from "../support/Command.js"

const source = `import { Effect } from "effect"
import { Seed, type SeedContext } from "effect-es-ops"

// What it is for.
interface Names { readonly all: ReadonlyArray<string> }
const names = { all: ["a"] } as const satisfies Names

export default Seed.make({
  description: "a seed",
  run: Effect.log(names.all[0]!)
})
`

/** What tsc makes of it for ES2022. */
const compiled = `import { Effect } from "effect";
import { Seed } from "effect-es-ops";
const names = { all: ["a"] };
export default Seed.make({
    description: "a seed",
    run: Effect.log(names.all[0])
});
//# source${"Mapping"}URL=1.js.map
`

const applied = async (text: string) => {
  const { env, query } = await database()
  const made = await project({ "seeds/1.ts": text })
  const { code, stderr } = await made.run(["seed:apply"], env)
  assert.strictEqual(code, 0, stderr)
  const changed = async () => {
    const { counts, seeds } = decodeStatus((await made.run(["seed:status", "--json"], env)).stdout)
    const { checks } = decodeDoctor((await made.run(["doctor", "--json"], env)).stdout)
    const flag = seeds[0]?.changed
    assert.deepStrictEqual(
      [counts.changed, checks.find(({ name }) => name === "changed")?.ok],
      flag === true ? [1, false] : [0, true]
    )
    return flag
  }
  return { ...made, query, changed }
}

describe("an applied seed", () => {
  it("is not changed by comments, layout and line endings, nor by being compiled, and by code it is", async () => {
    const made = await applied(source)
    assert.isFalse(await made.changed())
    await made.write(
      "seeds/1.ts",
      `/* a licence */\r\n${source.replaceAll("\n", "\r\n").replace("// What it is for.", "")}`
    )
    assert.isFalse(await made.changed())
    await rename(join(made.folder, "seeds/1.ts"), join(made.folder, "seeds/1.js"))
    await made.write("seeds/1.js", compiled)
    assert.isFalse(await made.changed())
    await made.write("seeds/1.js", compiled.replace('"a"', '"b"'))
    assert.isTrue(await made.changed())
  })

  it("is not changed as the hash was recorded by an earlier release, and by an edit it is", async () => {
    const made = await applied(source)
    const recorded = createHash("sha256").update(source).digest("hex")
    await made.query(`UPDATE es_ops_attempts SET source_hash = '${recorded}'`)
    assert.isFalse(await made.changed())
    await made.write("seeds/1.ts", source.replace('"a"', '"b"'))
    assert.isTrue(await made.changed())
  })

  it("of which no source was recorded is not changed", async () => {
    const made = await applied(source)
    await made.write("seeds/1.ts", source.replace('"a"', '"b"'))
    await made.query("UPDATE es_ops_attempts SET source_hash = NULL")
    assert.isFalse(await made.changed())
  })
})
