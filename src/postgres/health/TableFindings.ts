/**
 * What a doctor finds of tables that are there: indexes that they lack, and sequences that are behind them.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import type { PgTable } from "../schema/PgTable.js"
import * as Tables from "../schema/PgTable.js"
import * as SchemaDifference from "../schema/SchemaDifference.js"

/** The findings on the tables that the search path finds. */
export const examine = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<PgTable>
): Effect.Effect<ReadonlyArray<Finding>, DatabaseError> =>
  Effect.map(
    Effect.all([missingIndexes(sql, tables), sequences(sql, tables), columns(sql, tables)]),
    ([indexes, behind, refused]) => [indexes, behind, ...refused]
  )

/** Only the owner of a table may add what it lacks. */
const columns = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<PgTable>
): Effect.Effect<ReadonlyArray<Finding>, DatabaseError> => {
  const additions = new Map(tables.flatMap(Tables.additions).map((addition) => [addition.name, addition]))
  if (additions.size === 0) return Effect.succeed([])
  const asked = [...additions.values()].map(({ added, name }) => ({ name, ...added }))
  return Effect.map(
    sql
      .unsafe(
        `SELECT c.name FROM jsonb_to_recordset(${literal(JSON.stringify(asked))}::jsonb) AS c (name text, "table" text, "column" text)
          JOIN pg_class t ON t.oid = to_regclass(c."table")
        WHERE NOT pg_has_role(t.relowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_attribute a
          WHERE a.attrelid = t.oid AND a.attname = c."column" AND NOT a.attisdropped)`
      )
      .pipe(rows("looking at the columns", Schema.Struct({ name: Schema.String }))),
    (found) => {
      if (found.length === 0) return []
      const statements = found.flatMap(({ name }) => additions.get(name)?.statements ?? [])
      const detail = found.map(({ name }) => `${name} is missing, and this role does not own the table`)
      const fix = `Let the owner of the table run: ${statements.map((statement) => `${statement};`).join(" ")}`
      return [wrong("columns", "database", detail.join("\n"), fix)]
    }
  )
}

const missingIndexes = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<PgTable>
): Effect.Effect<Finding, DatabaseError> =>
  Effect.map(SchemaDifference.missingIndexes(sql, tables), (found) => {
    const missing = found.filter(({ statement }) => !statement.startsWith("REINDEX"))
    if (missing.length === 0) return fine("missing indexes", "none")
    const detail = missing.map(
      ({ columns, isUnique, table }) =>
        `${table} has no ${isUnique ? "unique index" : "index"} on ${columns.join(", ")}`
    )
    return wrong(
      "missing indexes",
      "state",
      detail.join("\n"),
      missing.map(({ statement }) => `${statement};`).join(" ")
    )
  })

const SequenceRow = Schema.Struct({ table_name: Schema.String, column: Schema.String, sequence: Schema.String })

const StateRow = Schema.Struct({ next: Schema.BigInt, newest: Schema.NullOr(Schema.BigInt) })

/** The sequences that the tables' defaults and identities take numbers of. */
const sequencesOf = (sql: SqlClient.SqlClient, tables: ReadonlyArray<PgTable>) =>
  sql
    .unsafe(
      `SELECT DISTINCT t.name AS table_name, quote_ident(a.attname) AS column, s.oid::regclass::text AS sequence
        FROM jsonb_array_elements_text(${literal(JSON.stringify(tables.map(({ name }) => name)))}::jsonb) AS t (name)
          JOIN pg_attribute a ON a.attrelid = to_regclass(t.name) AND a.attnum > 0 AND NOT a.attisdropped
          LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
          JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND (
              (d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid)
              OR (d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum))
          JOIN pg_class s ON s.relkind = 'S' AND s.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE d.refobjid END
        ORDER BY 1, 2`
    )
    .pipe(rows("looking for the sequences", SequenceRow))

/** A sequence that was restored without its table, or set back, gives out numbers that are taken. */
const sequences = (sql: SqlClient.SqlClient, tables: ReadonlyArray<PgTable>): Effect.Effect<Finding, DatabaseError> =>
  Effect.gen(function* () {
    const behind: Array<typeof SequenceRow.Type> = []
    for (const found of yield* sequencesOf(sql, tables)) {
      const { column, sequence, table_name } = found
      const state = yield* sql
        .unsafe(
          `SELECT (CASE WHEN s.is_called THEN s.last_value + 1 ELSE s.last_value END)::text AS next,
            (SELECT max(${column})::bigint::text FROM ${table_name}) AS newest FROM ${sequence} AS s`
        )
        .pipe(
          rows("looking at a sequence", StateRow),
          // A role that may only use it cannot look at it.
          Effect.catchIf(
            ({ connectionLost }) => !connectionLost,
            () => Effect.succeed([])
          )
        )
      if (state.some(({ newest, next }) => newest !== null && next <= newest)) behind.push(found)
    }
    if (behind.length === 0) return fine("sequences", "none is behind its table")
    const detail = behind.map(
      ({ sequence, table_name }) => `${sequence} is behind ${table_name}: the next numbers that it gives are taken`
    )
    const fixes = behind.map(
      ({ column, sequence, table_name }) =>
        `SELECT setval(${literal(sequence)}, (SELECT max(${column}) FROM ${table_name}));`
    )
    return wrong("sequences", "state", detail.join("\n"), fixes.join(" "))
  })
