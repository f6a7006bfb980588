import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import { freesLock } from "../../../src/postgres/client/LockControl.js"

describe("a statement that frees locks of its session", () => {
  it.each([
    ["DISCARD ALL", "DISCARD ALL"],
    ["discard/* all */\n--x\n  All;", "DISCARD ALL"],
    ["SELECT 1; SET x = 1; Discard All", "DISCARD ALL"],
    ["SELECT pg_advisory_unlock(1702063984)", "pg_advisory_unlock"],
    ["select PG_ADVISORY_UNLOCK_ALL ()", "pg_advisory_unlock_all"],
    [`SELECT pg_catalog . "pg_advisory_unlock_all" ( )`, "pg_advisory_unlock_all"],
    [`SELECT U&"pg\\005fadvisory_unlock_all"()`, "pg_advisory_unlock_all"],
    ["SELECT pg_advisory_unlock_shared($1)", "pg_advisory_unlock_shared"],
    ["WITH a AS (SELECT 1, pg_advisory_unlock/**/(1)) TABLE a", "pg_advisory_unlock"],
    ["VALUES ('it''s', pg_advisory_unlock_all())", "pg_advisory_unlock_all"],
    [String.raw`SELECT E'\'', pg_advisory_unlock_all() --'`, "pg_advisory_unlock_all"],
    [`SELECT 1 AS "--", pg_advisory_unlock_all()`, "pg_advisory_unlock_all"],
    ["DO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$", "pg_advisory_unlock_all"],
    ["do language plpgsql $a$ begin perform $b$x$b$, pg_advisory_unlock(1, 2); end $a$", "pg_advisory_unlock"],
    ["PREPARE p AS SELECT pg_advisory_unlock_all()", "pg_advisory_unlock_all"]
  ])("is found in %j", (text, statement) => {
    assert.deepStrictEqual(freesLock(text), Option.some(statement))
  })

  it.each([
    "SELECT 'pg_advisory_unlock_all()'",
    "SELECT 1 -- DISCARD ALL",
    "/* /* pg_advisory_unlock_all() */ DISCARD ALL */ SELECT 1",
    "DISCARD TEMP",
    "DISCARD PLANS; DELETE FROM x WHERE ALL",
    "INSERT INTO notes VALUES ($$DISCARD ALL$$)",
    String.raw`INSERT INTO notes VALUES (E'\'DISCARD ALL')`,
    `SELECT "discard all" FROM t`,
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $f$ SELECT pg_advisory_unlock_all() $f$",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT my_pg_advisory_unlock()",
    "UPDATE t SET discard = all_of"
  ])("is not found in %j", (text) => {
    assert.deepStrictEqual(freesLock(text), Option.none())
  })
})
