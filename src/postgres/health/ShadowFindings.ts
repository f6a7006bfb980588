/**
 * What a doctor finds of shadows: tables that rebuilds computed in, and that no unfinished run has.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import { shadowSchema } from "../schema/ShadowSchema.js"

const Row = Schema.Struct({ name: Schema.String, comment: Schema.String, size: Schema.String })

/** The finding on the tables of shadows; those of the runs of this table that have not ended are none. */
export const examine = (sql: SqlClient.SqlClient, runs: string): Effect.Effect<Finding, DatabaseError> =>
  Effect.map(sql.unsafe(query(runs)).pipe(rows("looking at the shadows", Row)), (found) => {
    if (found.length === 0) return fine("shadows", "none is left of a rebuild that is over")
    const detail = found.map(({ comment, name, size }) => `${name} (${size}) is left of ${comment}, which is over`)
    return wrong("shadows", "state", detail.join("\n"), `DROP TABLE ${found.map(({ name }) => name).join(", ")};`)
  })

/** Each is known by its comment, which names the run. */
const query = (runs: string): string =>
  `SELECT format('%I.%I', n.nspname, c.relname) AS name, coalesce(d.comment, 'a rebuild') AS comment,
      pg_size_pretty(pg_total_relation_size(c.oid)) AS size
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, LATERAL (SELECT obj_description(c.oid, 'pg_class')) AS d (comment)
    WHERE n.nspname = ${literal(shadowSchema)} AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM ${runs} r WHERE d.comment = 'es-ops run ' || r.id AND r.outcome IN ('running', 'paused'))
    ORDER BY 1`
