/**
 * What a module may export as a seed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Option } from "effect"
import * as SeedModule from "../../src/seed/SeedModule.js"

describe("a plain object as the default export", () => {
  const decode = (value: unknown) =>
    Either.map(SeedModule.fromExport(value), ({ description, skippable }) => [description, skippable])

  it("is a seed when it has a description and a function, and says what it lacks otherwise", () => {
    const run = async () => undefined
    assert.deepStrictEqual(decode({ description: "", run }), Either.right(["", false]))
    assert.deepStrictEqual(
      decode({ description: "d", skippable: true, run: () => undefined }),
      Either.right(["d", true])
    )
    assert.deepStrictEqual(decode({ description: "d", run, anything: "else" }), Either.right(["d", false]))
    const wrong = (value: unknown) => Option.getOrElse(Either.getLeft(decode(value)), () => "")
    assert.include(wrong({ description: "d" }), "its run is undefined, not a function")
    assert.include(wrong({ description: "d", run: function* () {} }), "its run is a generator function")
    assert.include(wrong({ description: "d", run: async function* () {} }), "its run is a generator function")
    assert.include(wrong({ run }), "its description is undefined, not a string")
    assert.include(wrong({ description: 1, run }), "its description is of type number")
    assert.include(wrong({ description: "d", run, skippable: "yes" }), "its skippable is of type string")
    assert.include(wrong({ description: "d", run: Effect.void }), "make the seed with Seed.make")
    assert.include(wrong({ description: "a\0b", run }), "NUL")
    for (const value of [1, null, [], {}, "text"])
      assert.include(wrong(value), "not a seed made by Seed.make or an object")
  })
})
