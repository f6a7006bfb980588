/**
 * The word that somebody meant, by the one that was typed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import * as Spelling from "../../../src/cli/input/Spelling.js"

const words = ["seed:new", "seed:mark", "seed:unmark", "seed:apply", "--dry-run", "--database-url", "--to"]

describe("the word that was meant", () => {
  it("is the nearest, a slip of the keys away, or the only one that begins so", () => {
    for (const [given, meant] of [
      ["seed:aply", "seed:apply"],
      ["seed:appyl", "seed:apply"],
      ["Seed:Apply", "seed:apply"],
      ["seed:umnark", "seed:unmark"],
      ["--dry", "--dry-run"],
      ["--dryrun", "--dry-run"],
      ["--database", "--database-url"],
      ["--t", "--to"]
    ] as const)
      assert.deepStrictEqual(Spelling.meant(given, words), Option.some(meant), given)
  })

  it("is none where several are as likely, or none is near", () => {
    for (const given of ["", "seed", "--d", "apply", "migrate", "--verbose"])
      assert.deepStrictEqual(Spelling.meant(given, words), Option.none(), given)
  })
})
