/**
 * What bodies of one transaction leave to each other in its session, in a dry run: each of them would have a transaction of its own, and begin
 * on a session that is as the application's is.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { PgStep } from "../client/PgStep.js"
import { literal } from "../client/SqlText.js"
import * as StepStatements from "./StepStatements.js"

/** The settings and prepared statements of the session, by their step, before its first body. */
const before = new WeakMap<PgStep["Type"], string>()

const prepared = "pg_catalog.pg_prepared_statements"

const look = `SELECT pg_catalog.json_build_object(
    'settings', (SELECT pg_catalog.json_object_agg(name, setting) FROM pg_catalog.pg_settings WHERE source = 'session'),
    'prepared', (SELECT pg_catalog.json_agg(name) FROM ${prepared}))::text AS text`

/** What is to be closed and forgotten: every cursor but the guard of the transaction, and what was prepared since. */
const closing = (known: string): string => `SELECT pg_catalog.concat_ws('; ',
    (SELECT pg_catalog.string_agg(pg_catalog.format('CLOSE %I', name), '; ') FROM pg_catalog.pg_cursors
      WHERE name <> '' AND name NOT LIKE ${literal(`${StepStatements.guardPrefix.replaceAll("_", "\\_")}%`)}),
    (SELECT pg_catalog.string_agg(pg_catalog.format('DEALLOCATE %I', name), '; ') FROM ${prepared}
      WHERE from_sql AND NOT coalesce((${known}::jsonb->'prepared') ? name, false))) AS text`

/** Those that the transaction began with, what is put back by itself, and what cannot be set any more once there was a temporary table. */
const own =
  "'transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'session_authorization', 'role', 'temp_buffers'"

const restoring = (known: string): string =>
  `SELECT pg_catalog.set_config(s.name, coalesce(k.setting, s.reset_val), true)
    FROM pg_catalog.pg_settings s LEFT JOIN pg_catalog.jsonb_each_text(${known}::jsonb->'settings') AS k (name, setting) ON k.name = s.name
    WHERE s.source = 'session' AND s.name NOT IN (${own}) AND s.setting IS DISTINCT FROM coalesce(k.setting, s.reset_val)`

/** The application's own settings, which the server does not list. Of the names some may be those of columns. */
const forgetting = (names: ReadonlySet<string>): string =>
  names.size === 0
    ? ""
    : `SELECT pg_catalog.set_config(name, '', true) FROM pg_catalog.unnest(ARRAY[${[...names].map(literal).join(", ")}]) AS name
        WHERE pg_catalog.current_setting(name, true) <> '' AND lower(name) NOT IN (SELECT lower(s.name) FROM pg_catalog.pg_settings s)`

/**
 * Notes what the session is like, or puts back what it was like when that was noted: settings, cursors, prepared statements and temporary
 * tables. Locks of the session and channels end with its connection; the second body may have them as well.
 */
export const settle = (step: PgStep["Type"]): Effect.Effect<void, SqlError> =>
  Effect.gen(function* () {
    const known = before.get(step)
    if (known === undefined) {
      before.set(step, literal(textOf(yield* step.send(look))))
      return
    }
    const close = textOf(yield* step.send(closing(known)))
    yield* step.send(
      [close, "DISCARD TEMP", forgetting(step.ownSettings), restoring(known)].filter((text) => text !== "").join("; ")
    )
  })

const textOf = (results: ReadonlyArray<{ readonly rows: ReadonlyArray<unknown> }>): string => {
  const row = results.at(-1)?.rows[0]
  return Predicate.hasProperty(row, "text") && Predicate.isString(row.text) ? row.text : ""
}
