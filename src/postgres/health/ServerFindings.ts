/**
 * What a doctor finds of a server that takes no writes, or not all of them: a standby, transactions that are read-only by default, and policies
 * of rows on our tables.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import type { PgTable } from "../schema/PgTable.js"

/** The findings on the server, and on the tables that the search path finds. */
export const examine = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<PgTable>
): Effect.Effect<ReadonlyArray<Finding>, DatabaseError> => Effect.all([writable(sql), rowSecurity(sql, tables)])

const Writing = Schema.Struct({ standby: Schema.Boolean, setting: Schema.String, source: Schema.String })

const writable = (sql: SqlClient.SqlClient): Effect.Effect<Finding, DatabaseError> =>
  Effect.map(
    sql`SELECT pg_is_in_recovery() AS standby, setting, source FROM pg_settings
      WHERE name = 'default_transaction_read_only'`.pipe(rows("asking whether the server takes writes", Writing)),
    ([found]) => {
      if (found?.standby === true) {
        const fix = "Name the primary server: what is applied there arrives here by itself."
        return wrong("writable", "database", "the server is a standby (in recovery): it takes no writes", fix)
      }
      if (found?.setting !== "on") return fine("writable", "the server takes writes")
      const detail = `default_transaction_read_only is on (set by: ${found.source}): seeds and writes say READ WRITE themselves and are applied all the same`
      const fix =
        "If the database is not meant to be read only, by what set it: ALTER ROLE … RESET, ALTER DATABASE … RESET or ALTER SYSTEM RESET default_transaction_read_only;"
      return wrong("writable", "state", detail, fix)
    }
  )

const Policies = Schema.Struct({ name: Schema.String, role: Schema.String })

/** A policy hides rows and refuses them without an error, except for who may pass it. */
const rowSecurity = (sql: SqlClient.SqlClient, tables: ReadonlyArray<PgTable>): Effect.Effect<Finding, DatabaseError> =>
  Effect.map(
    sql`SELECT w.name, quote_ident(current_user) AS role
      FROM jsonb_to_recordset(${JSON.stringify(tables.map(({ name }) => ({ name })))}::jsonb) AS w (name text)
      WHERE row_security_active(to_regclass(w.name))`.pipe(rows("looking at row level security", Policies)),
    (found) => {
      const [first] = found
      if (first === undefined) return fine("row level security", "none of the tables has it for this role")
      const names = found.map(({ name }) => name).join(", ")
      const detail = `policies decide which rows this role reads and writes: ${names}; what they hide is missing without an error`
      const fix = `Apply with a role that passes them (ALTER ROLE ${first.role} BYPASSRLS;), or ${found.map(({ name }) => `ALTER TABLE ${name} DISABLE ROW LEVEL SECURITY;`).join(" ")}`
      return wrong("row level security", "state", detail, fix)
    }
  )
