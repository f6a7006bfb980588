/**
 * Many markers in one text, or in its digest: what is told apart, and what has to be read in another way.
 */
import { assert, describe, it } from "@effect/vitest"
import { FastCheck, Option } from "effect"
import { Operation } from "effect-es-ops"
import { createHash } from "node:crypto"
import * as AppliedIds from "../../../src/postgres/log/AppliedIds.js"

/** The row that the server gives of seeds with these ids, and of so many markers of another type. */
const rowOf = (ids: ReadonlyArray<string>, others = 0): typeof AppliedIds.Row.Type => ({
  ids: ids.join("\u001f"),
  count: ids.length,
  others
})

const id = FastCheck.oneof(FastCheck.string(), FastCheck.constantFrom("a", "a\u001fb", "b", "\u001f", ""))
const ids = FastCheck.uniqueArray(id).map((some) => some.toSorted(Operation.order))
const many = Array.from({ length: 1001 }, (_, n) => `${n}`.padStart(4, "0"))

describe("AppliedIds", () => {
  it("takes apart what it can, and never into other markers", () => {
    FastCheck.assert(
      FastCheck.property(ids, (given) => {
        const found = AppliedIds.idsOf(rowOf(given))
        if (Option.isSome(found)) assert.deepStrictEqual(found.value, given)
        else assert.isTrue(given.some((name) => name.includes("\u001f")))
      })
    )
  })

  it("knows the seeds that are applied, in whichever order, from any others", () => {
    FastCheck.assert(
      FastCheck.property(ids, ids, (given, other) => {
        const isSame = (expected: ReadonlyArray<string>, found = given) =>
          Option.exists(AppliedIds.briefOf(expected), (row) => AppliedIds.isSame(rowOf(found), row))
        assert.strictEqual(isSame(given), !given.some((name) => name.includes("\u001f")))
        assert.strictEqual(isSame(given.toReversed()), isSame(given))
        assert.strictEqual(isSame(given, given.toReversed()), isSame(given))
        if (JSON.stringify(given) !== JSON.stringify(other)) assert.isFalse(isSame(other))
      })
    )
  })

  it("tells many by the digest of their text", () => {
    const brief = Option.getOrThrow(AppliedIds.briefOf(many))
    const digest = createHash("sha256").update(many.join("\u001f")).digest("hex")
    assert.deepStrictEqual(brief, { ids: digest, count: 1001 })
    assert.isFalse(AppliedIds.isWhole(brief))
    assert.isTrue(AppliedIds.isWhole(Option.getOrThrow(AppliedIds.briefOf(many.slice(1)))))
  })

  it("does not take other kinds of operation for seeds, nor is kept from an answer by them", () => {
    const expected = Option.getOrThrow(AppliedIds.briefOf(["a", "b"]))
    assert.isTrue(AppliedIds.isSame(rowOf(["a", "b"], 1), expected))
    assert.isTrue(Option.isNone(AppliedIds.idsOf(rowOf(["a", "b"], 1))))
    assert.isFalse(Option.exists(AppliedIds.briefOf([""]), (row) => AppliedIds.isSame(AppliedIds.none, row)))
    assert.isTrue(Option.exists(AppliedIds.briefOf([]), (row) => AppliedIds.isSame(AppliedIds.none, row)))
  })
})
