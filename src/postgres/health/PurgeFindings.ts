/**
 * What a doctor finds of purged streams: those that a program which knows no tombstones has brought back.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Finding } from "../../operation/DatabaseHealth.js"
import { fine, wrong } from "../../operation/HealthFinding.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"

const Row = Schema.Struct({
  back: Schema.NumberFromString,
  unmarked: Schema.NumberFromString,
  first: Schema.parseJson(Schema.Array(Schema.String)),
  types: Schema.parseJson(Schema.Array(Schema.String))
})

const hasEvents =
  "EXISTS (SELECT FROM kumiko_events e WHERE e.tenant_id = p.tenant_id AND e.aggregate_id = p.aggregate_id)"

const isUnmarked =
  "NOT EXISTS (SELECT FROM kumiko_archived_streams a WHERE a.tenant_id = p.tenant_id AND a.aggregate_id = p.aggregate_id)"

/** The finding on the tombstones of this table. */
export const examine = (sql: SqlClient.SqlClient, stones: string): Effect.Effect<Finding, DatabaseError> =>
  Effect.map(
    sql
      .unsafe(
        `SELECT count(*) FILTER (WHERE f.has_events)::text AS back, count(*) FILTER (WHERE f.is_unmarked)::text AS unmarked,
          coalesce(to_json((array_agg(f.aggregate_id ORDER BY f.aggregate_id))[1:3]), '[]')::text AS first,
          coalesce(to_json(array_agg(DISTINCT f.aggregate_type)), '[]')::text AS types
        FROM (SELECT p.aggregate_id, p.aggregate_type, ${hasEvents} AS has_events, ${isUnmarked} AS is_unmarked FROM ${stones} p) AS f
        WHERE f.has_events OR f.is_unmarked`
      )
      .pipe(rows("looking at the purged streams", Row)),
    ([found]) => {
      if (found === undefined || found.back + found.unmarked === 0) return fine("purged streams", "none came back")
      const { back, first, types, unmarked } = found
      const detail = [
        ...(back === 0 ? [] : [`${back} purged streams have events again`]),
        ...(unmarked === 0
          ? []
          : [`${unmarked} purged streams have no archive mark any more, so that they can be written`])
      ]
      const fixes = [
        ...(unmarked === 0
          ? []
          : [
              `INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_by, reason) SELECT p.tenant_id, p.aggregate_id, p.aggregate_type, p.purged_by, 'purged' FROM ${stones} p WHERE ${isUnmarked};`
            ]),
        ...(back === 0
          ? []
          : [
              `es-ops stream:purge --archived-before 0s ${types.map((type) => `--type ${type}`).join(" ")} deletes what came.`
            ])
      ]
      return wrong(
        "purged streams",
        "state",
        `${detail.join("\n")}: ${first.join(", ")}, brought back by a program that knows nothing of purges`,
        fixes.join(" ")
      )
    }
  )
