/**
 * What a doctor finds of triggers and rules by which our tables store other rows than were sent, or none.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import type { PgSchema } from "../schema/PgSchema.js"
import type { PgTable } from "../schema/PgTable.js"

type Change = "INSERT" | "UPDATE" | "DELETE"

/** What changes a table of ours while seeds are applied, marked, unmarked and renamed. */
const changesOf = (
  { attempts, markers }: Pick<PgSchema["Type"], "markers" | "attempts">,
  { isOwned, name, writes }: PgTable
): ReadonlyArray<Change> => {
  if (name === markers) return ["INSERT", "DELETE"]
  return isOwned || name === attempts ? ["INSERT", "UPDATE"] : [...new Set<Change>(["INSERT", ...writes])]
}

const Row = Schema.Struct({
  kind: Schema.Literal("trigger", "rule"),
  name: Schema.String,
  relation: Schema.String,
  changes: Schema.String,
  routine: Schema.String
})

/** Those that fire in this session, of the tables that the search path finds and of their partitions. */
export const examine = (
  sql: SqlClient.SqlClient,
  schema: Pick<PgSchema["Type"], "markers" | "attempts" | "tables" | "kinds">
): Effect.Effect<Finding, DatabaseError> => {
  const tables = [...schema.tables, ...schema.kinds.values()]
  const asked = tables.map((table) => ({
    name: table.name,
    owned: table.isOwned,
    changes: changesOf(schema, table)
  }))
  return Effect.map(
    sql
      .unsafe(query(JSON.stringify(asked), tables.map(patternOf).join("|")))
      .pipe(rows("looking at triggers and rules", Row)),
    (found) => {
      if (found.length === 0) return fine("triggers and rules", "none that swallows or changes rows")
      const detail = found.map(
        ({ changes, kind, name, relation, routine }) =>
          `${kind} ${name} on ${relation} (${changes}${routine === "" ? "" : `, ${routine}`}) can swallow or change the rows that are written there: a step whose row is not stored as it was sent fails`
      )
      const fixes = found.map(({ kind, name, relation }) =>
        kind === "rule" ? `DROP RULE ${name} ON ${relation};` : `ALTER TABLE ${relation} DISABLE TRIGGER ${name};`
      )
      const fix = `Let it keep the rows as they are sent (RETURN NEW), or do without it: ${fixes.join(" ")}`
      return wrong("triggers and rules", "state", detail.join("\n"), fix)
    }
  )
}

/** The name of a table without its schema, in a regular expression. */
const patternOf = ({ name }: PgTable): string =>
  name
    .replace(/^.*\."/, "")
    .replaceAll('"', "")
    .replaceAll(/\W/g, ".")

/** What fires in a session of this role (`session_replication_role`): always, or as origin, or as replica. */
const fires = (column: string): string =>
  `${column} = ANY (CASE current_setting('session_replication_role') WHEN 'replica' THEN '{A,R}' ELSE '{A,O}' END::"char"[])`

/**
 * On the table of a feature, a trigger that fills a column such as the time of the last change is usual: there it is one that can answer without
 * the new row. Of those that fire behind the rows, whose answer nobody takes, it is those that change or delete rows of our tables.
 */
const query = (asked: string, names: string): string =>
  `WITH asked AS (SELECT w.*, to_regclass(w.name) AS oid
      FROM jsonb_to_recordset(${literal(asked)}::jsonb) AS w (name text, owned boolean, changes text[])),
    relations AS (SELECT a.*, r.relid FROM asked a, LATERAL (SELECT a.oid AS relid
      UNION SELECT relid FROM pg_partition_tree(a.oid)) AS r WHERE a.oid IS NOT NULL)
  SELECT 'trigger' AS kind, quote_ident(t.tgname) AS name, relid::regclass::text AS relation,
      (CASE WHEN t.tgtype & 64 = 64 THEN 'INSTEAD OF ' WHEN t.tgtype & 2 = 2 THEN 'BEFORE ' ELSE 'AFTER ' END) || c.changes AS changes, t.tgfoid::regprocedure::text AS routine
    FROM relations r JOIN pg_trigger t ON t.tgrelid = r.relid JOIN pg_proc p ON p.oid = t.tgfoid,
      LATERAL (SELECT string_agg(m.name, ' OR ') AS changes FROM (VALUES ('INSERT', 4), ('UPDATE', 16), ('DELETE', 8)) AS m (name, bit)
        WHERE t.tgtype & m.bit = m.bit AND m.name = ANY (r.changes)) AS c
    WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND ${fires("t.tgenabled")} AND c.changes IS NOT NULL AND CASE WHEN t.tgtype & 66 = 0
      THEN p.prosrc ~* ${literal(`\\m(delete\\s+from|update)\\s+(only\\s+)?(\\w+\\.|"[^"]+"\\.)?"?(${names})\\M`)}
      ELSE t.tgtype & 1 = 1 AND (NOT r.owned OR t.tgtype & 64 = 64 OR p.prosrc ~* '\\mreturn\\s+(null|old)\\M' OR p.prosrc = 'suppress_redundant_updates_trigger') END
  UNION ALL SELECT 'rule', quote_ident(w.rulename), relid::regclass::text,
      'ON ' || CASE w.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END || CASE WHEN w.is_instead THEN ' DO INSTEAD' ELSE ' DO ALSO' END, ''
    FROM relations r JOIN pg_rewrite w ON w.ev_class = r.relid
    WHERE ${fires("w.ev_enabled")} AND CASE w.ev_type WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' WHEN '4' THEN 'DELETE' END = ANY (r.changes)
  ORDER BY 1 DESC, 3, 2`
