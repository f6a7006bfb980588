/**
 * What a doctor finds of runs: those that have not ended and that nobody is in.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { seedMigration } from "../../operation/Operation.js"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"

const Row = Schema.Struct({
  id: Schema.String,
  operation_type: Schema.String,
  name: Schema.String,
  outcome: Schema.String
})

/** The finding on the runs of this table. */
export const examine = (sql: SqlClient.SqlClient, runs: string): Effect.Effect<Finding, DatabaseError> =>
  Effect.map(
    sql
      .unsafe(
        `SELECT id::text AS id, operation_type, name, outcome FROM ${runs}
          WHERE outcome = 'paused' OR (outcome = 'running' AND coalesce(lease_until < clock_timestamp(), true))
          ORDER BY started_at, name, id`
      )
      .pipe(rows("looking at the runs", Row)),
    (found) => {
      if (found.length === 0) return fine("runs", "none was left half-way")
      const detail = found.map(({ name, operation_type, outcome }) =>
        operation_type === seedMigration
          ? `the seed "${name}" is half done, and no process is in it`
          : `${operation_type} "${name}" is ${outcome === "paused" ? "paused" : "half done, and no process is in it"}`
      )
      const fixes = found.map(({ id, operation_type }) =>
        operation_type === seedMigration
          ? "es-ops seed:apply goes on with it."
          : `The command that began it goes on with it; es-ops runs:cancel ${id} ends it.`
      )
      return wrong("runs", "state", detail.join("\n"), [...new Set(fixes)].join(" "))
    }
  )

/** The condition by which a name is that of a table which is there. */
export const thereOf = (sql: SqlClient.SqlClient, runs: string): Effect.Effect<boolean, DatabaseError> =>
  Effect.map(
    sql
      .unsafe(`SELECT 1 AS found WHERE to_regclass(${literal(runs)}) IS NOT NULL`)
      .pipe(rows("looking for the runs", Schema.Struct({}))),
    (found) => found.length > 0
  )
