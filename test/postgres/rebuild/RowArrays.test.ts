/**
 * Arrays of values as they are sent, told by what the server makes of them.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as RowArrays from "../../../src/postgres/rebuild/RowArrays.js"
import * as Database from "../../support/TestDatabase.js"

const texts = ["", "plain", "NULL", `a "quoted" \\ word`, "{a,b}", "comma, and\nline", " ", "😀", null]
const values = [null, 1, "NULL", { a: `"\\`, b: [null, {}] }, [], true, undefined]

layer(Database.layer)("an array of values", (it) => {
  it.effect("is read by the server as the values that it was made of", () =>
    Effect.gen(function* () {
      const { query } = yield* Database.TestDatabase
      const read = (type: "text" | "jsonb" | "bigint" | "boolean", of: ReadonlyArray<unknown>) =>
        Effect.map(
          Effect.promise(() =>
            query(`SELECT to_json($1::${type}[]) AS found`, [RowArrays.text(type, of, (value) => value)])
          ),
          ([row]) => row?.["found"]
        )
      assert.deepStrictEqual(yield* read("text", texts), texts)
      assert.deepStrictEqual(yield* read("text", texts.slice(0, -1)), texts.slice(0, -1))
      assert.deepStrictEqual(
        yield* read("jsonb", values),
        values.map((value) => value ?? null)
      )
      assert.deepStrictEqual(yield* read("bigint", [1n, "2", 3, null]), [1, 2, 3, null])
      assert.deepStrictEqual(yield* read("boolean", [true, false, null]), [true, false, null])
      assert.deepStrictEqual(yield* read("text", []), [])
    })
  )
})
