/**
 * Many markers in one text: what is told apart, and what has to be read in another way.
 */
import { assert, describe, it } from "@effect/vitest"
import { FastCheck, Option } from "effect"
import { Operation } from "effect-es-ops"
import { order } from "../../../src/operation/AppliedOperations.js"
import * as LogRow from "../../../src/postgres/log/LogRow.js"

const type = Operation.seedMigration

/** The row that the server gives of seeds with these ids, and of these markers of other types. */
const rowOf = (
  ids: ReadonlyArray<string>,
  others: Readonly<Record<string, string>> = {}
): typeof LogRow.AppliedRow.Type => ({
  ids: ids.join("\u001f"),
  count: ids.length,
  others
})

const id = FastCheck.oneof(FastCheck.string(), FastCheck.constantFrom("a", "a\u001fb", "b", "\u001f", ""))
const ids = FastCheck.uniqueArray(id).map((some) => some.toSorted(order))

describe("applied ids in one text", () => {
  it("are taken apart where they can be, and never into other markers", () => {
    FastCheck.assert(
      FastCheck.property(ids, (given) => {
        const found = LogRow.toApplied(type, rowOf(given))
        if (Option.isSome(found)) assert.deepStrictEqual([...found.value.keys()], given)
        else assert.isTrue(given.some((name) => name.includes("\u001f")))
      })
    )
  })

  it("are known, in whichever order, from any others", () => {
    FastCheck.assert(
      FastCheck.property(ids, ids, (given, other) => {
        const isSame = (expected: ReadonlyArray<string>, found = given) =>
          Option.exists(LogRow.toApplied(type, rowOf(found)), (applied) => applied.isExactly(type, expected))
        assert.strictEqual(isSame(given), !given.some((name) => name.includes("\u001f")))
        assert.strictEqual(isSame(given.toReversed()), isSame(given))
        assert.strictEqual(isSame(given, given.toReversed()), isSame(given))
        if (JSON.stringify(given) !== JSON.stringify(other)) assert.isFalse(isSame(other))
      })
    )
  })

  it("are not exactly those that are listed twice, nor an id without a letter where there is none", () => {
    const applied = Option.getOrThrow(LogRow.toApplied(type, rowOf(["a", "b"])))
    assert.isFalse(applied.isExactly(type, ["a", "b", "b"]))
    assert.isFalse(applied.isExactly(type, ["a", "a"]))
    const none = Option.getOrThrow(LogRow.toApplied(type, LogRow.noneApplied))
    assert.isTrue(none.isExactly(type, []))
    assert.isFalse(none.isExactly(type, [""]))
  })

  it("keep other kinds of operation apart, by their type", () => {
    const applied = Option.getOrThrow(LogRow.toApplied(type, rowOf(["a", "b"], { c: "event-replay" })))
    assert.isTrue(applied.isExactly(type, ["a", "b"]))
    assert.isFalse(applied.isExactly(type, ["a", "b", "c"]))
    assert.isTrue(applied.isExactly("event-replay", ["c"]))
    assert.deepStrictEqual([applied.get("a"), applied.get("c"), applied.size], [type, "event-replay", 3])
  })
})
