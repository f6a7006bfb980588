import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { beginsReading, firstWords, look, names, transactionControl } from "../../../src/postgres/client/SqlText.js"

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

describe("a text of a body", () => {
  const passing = [
    "INSERT INTO t (a) SELECT f(1)",
    "UPDATE t SET a = 1; DELETE FROM t WHERE b = 'x; SET y = 1'",
    "SELECT count(*), coalesce(max(a), 0) FROM t WHERE (b IN (1, 2)) AND c = 'f(1)'",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "SET LOCAL lock_timeout = '1s'; SET CONSTRAINTS ALL DEFERRED; SET TRANSACTION READ ONLY",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET a.b = '1'; RETURN NEW; END $$; -- SET x",
    "SELECT pg_advisory_xact_lock(1), pg_sleep(1), setval('s', 1)",
    ";; /* SET x = 1 */ ; SELECT 1;",
    ""
  ]
  it("that only reads and writes leaves nothing in its session", () => {
    for (const text of passing) assert.isFalse(look(text, []).outlives, text)
  })

  const leaving = [
    "SET a = 1",
    "-- comment\nset session authorization x",
    "SELECT 1; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "RESET ALL",
    "LISTEN x",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "LOAD 'x'",
    "DO $$ BEGIN PERFORM 1; END $$",
    "CALL p()",
    "SELECT my_function(1)",
    "(SELECT my_function(1))",
    "INSERT INTO t SELECT pg_catalog.set_config('a.b', 'c', false)",
    'SELECT "pg_advisory_lock" (1)',
    "SELECT pg_try_advisory_lock_shared(1)"
  ]
  it("that may leave something in its session is told from those", () => {
    for (const text of leaving) assert.isTrue(look(text, []).outlives, text)
  })

  it("that sets the application's own settings tells their names, which may be parameters", () => {
    assert.deepStrictEqual(look("SET app.tenant = 'a'", []).settings, ["app.tenant"])
    assert.deepStrictEqual(look("SELECT set_config($1, $2, true)", ["app.tenant", "a"]).settings, ["app.tenant"])
    assert.deepStrictEqual(look("UPDATE a.b SET c = 1", []).settings, [])
  })
})
