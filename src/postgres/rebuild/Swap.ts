/**
 * The swap: a new table takes the place of the live one, with everything that it has of its own. What hangs on the live table keeps it from being
 * swapped, as that would stay behind.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { PgSql } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"
import type { Shadow } from "./Shadow.js"
import { send } from "./Shadow.js"
import type { ShadowTable } from "./ShadowTable.js"
import { list, nameOf, namesOf, sameKey } from "./ShadowTable.js"

/** What a swap cannot spare others: to be said where one is chosen. */
export const cost =
  "a swap shows transactions in REPEATABLE READ that began before it an empty table, and prepared SELECT * fail where columns changed; standbys replay it as one exclusive lock"

/** Whether nothing is in the way. */
export const isPossible = ({ live }: ShadowTable): boolean => obstacles(live).length === 0

/** What is in the way, each by its name. */
export const obstacles = ({ hanging, isPlain }: ShadowTable["live"]): ReadonlyArray<string> => [
  ...hanging,
  ...(isPlain ? [] : ["partitions or inheritance"])
]

/** Where the new table is built. */
const nextOf = (runId: string): string => nameOf(runId, "new")

/** Statements that read the catalog of the live table and give the statements for the new one, each in a column of the same name. */
const Statements = Schema.Struct({ statement: Schema.String })

const statementsFrom = (text: string) =>
  Effect.flatMap(PgSql, (sql) => sql.unsafe(text).pipe(rows("preparing the swap", Statements))).pipe(
    Effect.map((found) => found.map(({ statement }) => statement))
  )

/** Builds the new table: logged, with the rows of the shadow and the values that live rows have where the events give none. */
export const prepare = (shadow: Shadow, table: ShadowTable) =>
  shadow.run.batch(
    Effect.gen(function* () {
      const next = nextOf(shadow.run.id)
      const { live } = table
      yield* send("preparing the swap", [
        `DROP TABLE IF EXISTS ${next}`,
        `CREATE TABLE ${next} (LIKE ${live.name} INCLUDING ALL EXCLUDING INDEXES)`,
        `COMMENT ON TABLE ${next} IS ${literal(`es-ops run ${shadow.run.id}`)}`,
        copy(table, next),
        // What differs is there now; under the lock there is only what has changed since, and what stays as it is.
        `DELETE FROM ${table.want} WHERE NOT es_ops_ghost`
      ])
      yield* send("preparing the swap", [...(yield* statementsFrom(settingsOf(live.name, next))), "SELECT 1"])
      yield* send("indexing the new table", [...(yield* statementsFrom(indexesOf(live.name, next))), `ANALYZE ${next}`])
      return { value: undefined, phase: "preparing the swap" }
    })
  )

/** The rows of the shadow; a column with a default that the events do not give has the live value. */
const copy = (table: ShadowTable, next: string): string => {
  const columns = namesOf(table)
  const values = columns.map((name) =>
    table.defaulted.has(name) ? `coalesce(w.${quote(name)}, l.${quote(name)}, w.es_ops_first)` : `w.${quote(name)}`
  )
  const live = table.defaulted.size === 0 ? "" : `LEFT JOIN ${table.live.name} l ON ${sameKey(table, "l", "w")}`
  return `INSERT INTO ${next} (${list(columns)}) OVERRIDING SYSTEM VALUE SELECT ${values.join(", ")} FROM ${table.rows} w ${live}`
}

/** Storage parameters, statistics targets, grants, replica identity. */
const settingsOf = (live: string, next: string): string => {
  const of = (name: string) => `${literal(name)}::regclass`
  return `SELECT statement FROM (
    SELECT 1 AS n, format('ALTER TABLE ${inFormat(next)} SET (%s)', array_to_string(c.reloptions, ', ')) FROM pg_class c WHERE c.oid = ${of(live)} AND c.reloptions IS NOT NULL
    UNION ALL SELECT 2, format('ALTER TABLE ${inFormat(next)} SET (%s)', (SELECT string_agg('toast.' || o, ', ') FROM unnest(t.reloptions) AS o))
      FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = ${of(live)} AND t.reloptions IS NOT NULL
    UNION ALL SELECT 3, format('ALTER TABLE ${inFormat(next)} ALTER COLUMN %I SET STATISTICS %s', a.attname, a.attstattarget) FROM pg_attribute a
      WHERE a.attrelid = ${of(live)} AND a.attnum > 0 AND NOT a.attisdropped AND coalesce(a.attstattarget, -1) >= 0
    UNION ALL SELECT 4, format('ALTER TABLE ${inFormat(next)} ALTER COLUMN %I SET (%s)', a.attname, array_to_string(a.attoptions, ', ')) FROM pg_attribute a
      WHERE a.attrelid = ${of(live)} AND a.attoptions IS NOT NULL AND NOT a.attisdropped
    UNION ALL SELECT 5, 'ALTER TABLE ${inFormat(next)} REPLICA IDENTITY ' || CASE c.relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END FROM pg_class c
      WHERE c.oid = ${of(live)} AND c.relreplident IN ('f', 'n')
    UNION ALL SELECT 6, 'ALTER TABLE ${inFormat(next)} SET TABLESPACE ' || quote_ident(t.spcname) FROM pg_class c JOIN pg_tablespace t ON t.oid = c.reltablespace
      WHERE c.oid = ${of(live)}
    UNION ALL SELECT 7, 'REVOKE ALL ON ${inFormat(next)} FROM ' || quote_ident(pg_get_userbyid(c.relowner)) FROM pg_class c WHERE c.oid = ${of(live)} AND c.relacl IS NOT NULL
    UNION ALL SELECT 8, format('GRANT %s ON ${inFormat(next)} TO %s%s', g.privilege_type, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
        CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
      FROM pg_class c, aclexplode(c.relacl) g WHERE c.oid = ${of(live)}
  ) AS s (n, statement) ORDER BY n`
}

/** A name inside a format. */
const inFormat = (name: string): string => name.replaceAll("'", "''").replaceAll("%", "%%")

/** Each index under a name that tells which it stands for; constraints as constraints. */
const indexesOf = (live: string, next: string): string => `SELECT coalesce(
    (SELECT format('ALTER TABLE ${inFormat(next)} ADD CONSTRAINT %I %s', 'es_ops_' || i.indexrelid, pg_get_constraintdef(f.oid)) FROM pg_constraint f
      WHERE f.conindid = i.indexrelid AND f.conrelid = i.indrelid AND f.contype IN ('p', 'u', 'x')),
    format('CREATE %sINDEX %I ON ${inFormat(next)} USING %s', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, 'es_ops_' || i.indexrelid,
      substr(pg_get_indexdef(i.indexrelid), length(format('CREATE %sINDEX %I ON ${inFormat(live)} USING ',
        CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname)) + 1))) AS statement
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  WHERE i.indrelid = ${literal(live)}::regclass AND i.indisvalid ORDER BY i.indexrelid`

/** What is done under the lock, after which the names are as they were. */
const exchange = (live: ShadowTable["live"], next: string): string => {
  const of = (name: string) => `${literal(name)}::regclass`
  const name = live.table.name
  return `SELECT statement FROM (
    SELECT 1 AS n, format('ALTER TABLE ${inFormat(next)} ALTER COLUMN %I RESTART WITH %s', a.attname, (
        SELECT coalesce(pg_sequence_last_value(q.seqrelid) + q.seqincrement, q.seqstart) FROM pg_sequence q
        WHERE q.seqrelid = pg_get_serial_sequence(${literal(live.name)}, a.attname)::regclass))
      FROM pg_attribute a WHERE a.attrelid = ${of(live.name)} AND a.attidentity <> '' AND NOT a.attisdropped
    UNION ALL SELECT 2, format('ALTER SEQUENCE %s OWNED BY NONE', d.objid::regclass) FROM pg_depend d JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S'
      WHERE d.refobjid = ${of(live.name)} AND d.deptype = 'a' AND d.classid = 'pg_class'::regclass
    UNION ALL SELECT 3, 'DROP TABLE ${inFormat(live.name)}'
    UNION ALL SELECT 4, 'COMMENT ON TABLE ${inFormat(next)} IS ' || coalesce(quote_literal(obj_description(${of(live.name)}, 'pg_class')), 'NULL')
    UNION ALL SELECT 5, 'ALTER TABLE ${inFormat(next)} SET SCHEMA ${quote(live.schema)}'
    UNION ALL SELECT 6, 'ALTER TABLE ${quote(live.schema)}.${next.slice(next.indexOf(".") + 1)} RENAME TO ${quote(name)}'
    UNION ALL SELECT 7, format('ALTER INDEX ${inFormat(quote(live.schema))}.%I RENAME TO %I', 'es_ops_' || i.indexrelid, c.relname)
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = ${of(live.name)} AND i.indisvalid
    UNION ALL SELECT 8, format('ALTER SEQUENCE %s OWNED BY ${inFormat(live.name)}.%I', d.objid::regclass, a.attname) FROM pg_depend d
      JOIN pg_class q ON q.oid = d.objid AND q.relkind = 'S' JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
      WHERE d.refobjid = ${of(live.name)} AND d.deptype = 'a' AND d.classid = 'pg_class'::regclass
    UNION ALL SELECT 9, format('ALTER TABLE ${inFormat(live.name)} CLUSTER ON %I', c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indrelid = ${of(live.name)} AND i.indisclustered
    UNION ALL SELECT 10, format('ALTER TABLE ${inFormat(live.name)} REPLICA IDENTITY USING INDEX %I', c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE i.indrelid = ${of(live.name)} AND i.indisreplident
  ) AS s (n, statement) ORDER BY n`
}

/** Brings the new table to what is wanted, and lets it take the place. Nobody else may read or write meanwhile. */
export const run = (shadow: Shadow, table: ShadowTable): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.gen(function* () {
    const next = nextOf(shadow.run.id)
    const { live, want } = table
    const columns = namesOf(table)
    const all = live.columns.filter(({ isGenerated }) => !isGenerated).map(({ name }) => name)
    const values = columns.map((name) =>
      table.defaulted.has(name) ? `coalesce(w.${quote(name)}, l.${quote(name)}, w.es_ops_first)` : `w.${quote(name)}`
    )
    const stay = (condition: string) =>
      `INSERT INTO ${next} (${list(all)}) OVERRIDING SYSTEM VALUE SELECT ${list(all, "l")} FROM ${live.name} l WHERE EXISTS (${condition})`
    yield* send("swapping the table", [
      // What is wanted was computed, or has changed since; keys that keep their live rows, and rows without events, come from there.
      `DELETE FROM ${next} n USING ${want} w WHERE ${sameKey(table, "n", "w")}`,
      `DELETE FROM ${next} n USING ${table.kept} k WHERE ${sameKey(table, "n", "k")}`,
      `INSERT INTO ${next} (${list(columns)}) OVERRIDING SYSTEM VALUE SELECT ${values.join(", ")} FROM ${want} w
        LEFT JOIN ${live.name} l ON ${sameKey(table, "l", "w")} WHERE w.es_ops_present`,
      stay(`SELECT FROM ${table.kept} k WHERE ${sameKey(table, "l", "k")}`),
      ...(shadow.policy.ghosts === "keep"
        ? [stay(`SELECT FROM ${want} w WHERE w.es_ops_ghost AND ${sameKey(table, "l", "w")}`)]
        : [])
    ])
    yield* send("swapping the table", yield* statementsFrom(exchange(live, next)))
  })
