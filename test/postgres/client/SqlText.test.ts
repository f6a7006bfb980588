import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { beginsReading, firstWords, names, transactionControl } from "../../../src/postgres/client/SqlText.js"

describe("the first words of a statement", () => {
  const cases: ReadonlyArray<readonly [string, number, ReadonlyArray<string>]> = [
    ["select 1", 1, ["SELECT"]],
    ["  \n\t insert INTO x", 2, ["INSERT", "INTO"]],
    ["-- a\n--b\nupdate x", 1, ["UPDATE"]],
    ["/* a /* nested */ still */ delete from x", 1, ["DELETE"]],
    [";;/**/; commit", 1, ["COMMIT"]],
    ["rollback/**/to--\nx", 3, ["ROLLBACK", "TO", "X"]],
    ["((select 1))", 3, ["(", "(", "SELECT"]],
    ["commit; begin", 2, ["COMMIT"]],
    ["'select'", 1, []],
    ["/* never closed select", 1, []],
    ["-- only a comment", 1, []],
    ["", 1, []]
  ]
  it.each(cases)("of %j, %d of them", (text, count, words) => {
    assert.deepStrictEqual(firstWords(text, count), words)
  })

  it("tell what would end, begin or prepare a transaction", () => {
    const refused = [
      "begin",
      "START TRANSACTION",
      "commit",
      "END",
      "abort",
      "rollback",
      "ROLLBACK WORK",
      "rollback and chain",
      "prepare transaction 'x'",
      "rollback transaction"
    ]
    for (const text of refused) assert.isTrue(Option.isSome(transactionControl(text)), text)
    const allowed = [
      "SAVEPOINT a",
      "rollback to a",
      "ROLLBACK TO SAVEPOINT a",
      "rollback work to savepoint a",
      "rollback transaction to a",
      "RELEASE a",
      "prepare p as select 1",
      "select 'commit'",
      "endless",
      "beginning"
    ]
    for (const text of allowed) assert.deepStrictEqual(transactionControl(text), Option.none(), text)
  })

  it("tell what reads", () => {
    for (const text of [
      "select 1",
      "WITH x AS (SELECT 1) TABLE x",
      "values (1)",
      "table x",
      "show all",
      "explain select 1",
      "(select 1)"
    ]) {
      assert.isTrue(beginsReading(text), text)
    }
    for (const text of ["insert into x", "selected", "", "set x = 1", "copy x from stdin", ")select 1"]) {
      assert.isFalse(beginsReading(text), text)
    }
  })

  it("take a search path for the names in it, and nothing else", () => {
    assert.deepStrictEqual(names('"$user", public'), Option.some(["$user", "public"]))
    assert.deepStrictEqual(names('My_Schema,"a ""b"", c"'), Option.some(["my_schema", 'a "b", c']))
    for (const text of ["", " ", '"', '""', "a b", "a,", "1a", "a; DROP TABLE b"]) {
      assert.deepStrictEqual(names(text), Option.none(), text)
    }
  })
})
