/**
 * Many markers in one text: what is told apart, and what has to be read in another way.
 */
import { assert, describe, it } from "@effect/vitest"
import { FastCheck, Option } from "effect"
import * as PgPeek from "../../src/postgres/PgPeek.js"

const seed = "seed-migration"

/** The row that the server gives of these markers. */
const rowOf = (markers: ReadonlyArray<readonly [string, string]>): typeof PgPeek.Row.Type => ({
  ids: markers.map(([id, type]) => (type === seed ? id : `${id}\u001e${type}`)).join("\u001f"),
  count: markers.length,
  others: markers.filter(([, type]) => type !== seed).length
})

const id = FastCheck.oneof(FastCheck.string(), FastCheck.constantFrom("a", "a\u001fb", "a\u001eb", "\u001f", ""))
const markers = FastCheck.uniqueArray(FastCheck.tuple(id, FastCheck.constantFrom(seed, "event-replay")), {
  selector: ([name]) => name
})

describe("PgPeek", () => {
  it("takes apart what it can, and never into other markers", () => {
    FastCheck.assert(
      FastCheck.property(markers, (given) => {
        const row = rowOf(given)
        const found = PgPeek.takenApart(row)
        if (Option.isSome(found)) assert.deepStrictEqual(found.value, new Map(given))
        else assert.isTrue(["\u001e", "\u001f"].some((separator) => row.ids.includes(separator)))
      })
    )
  })

  it("knows the seeds that are applied, in their order, from any others", () => {
    FastCheck.assert(
      FastCheck.property(markers, markers, (given, others) => {
        const [ids, other] = [given, others].map((all) => all.map(([name]) => name))
        const same = JSON.stringify(ids) === JSON.stringify(other)
        const row = rowOf(given.map(([name]) => [name, seed]))
        const plain = ids?.every((name) => !name.includes("\u001f")) === true
        assert.strictEqual(PgPeek.isExactly(row, ids ?? []), plain)
        if (!same) assert.isFalse(PgPeek.isExactly(row, other ?? []))
      })
    )
  })

  it("is no answer where there is another kind of operation", () => {
    assert.isFalse(
      PgPeek.isExactly(
        rowOf([
          ["a", seed],
          ["b", "event-replay"]
        ]),
        ["a", "b"]
      )
    )
    assert.isTrue(PgPeek.isExactly(PgPeek.none, []))
    assert.isFalse(PgPeek.isExactly(PgPeek.none, [""]))
  })
})
