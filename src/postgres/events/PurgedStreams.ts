/**
 * The tombstones of purged streams, as whoever writes to a stream asks for them: only once a write was refused, or nothing was there to change.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { StreamId } from "../../event/Event.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as PatientStatement from "../client/PatientStatement.js"
import type { PgSql } from "../client/PgSql.js"
import { rows } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"

/** The quoted name of the table. */
export const tableOf = ({ schema }: Pick<OperationConfig["Type"], "schema">): string =>
  quote(
    Option.match(schema, { onNone: () => "es_ops_purged_streams", onSome: (own) => `${own}.es_ops_purged_streams` })
  )

/** Gives those of some streams that were purged. The table is there once a stream was. */
export const among = (
  sql: PgSql["Type"],
  config: Pick<OperationConfig["Type"], "schema" | "lockTimeout">
): ((streams: NonEmptyReadonlyArray<StreamId>) => Effect.Effect<ReadonlyArray<StreamId>, DatabaseError>) => {
  const table = tableOf(config)
  const patient = PatientStatement.make(sql, config, "read", [table])
  let isThere = false
  return (streams) =>
    Effect.gen(function* () {
      if (!isThere) {
        const [found] = yield* sql
          .unsafe(
            `SELECT c.relname::text AS name FROM pg_class c WHERE c.oid = to_regclass(${literal(table)}) AND has_table_privilege(c.oid, 'SELECT')`
          )
          .pipe(rows("looking for the purged streams", NameRow))
        isThere = found !== undefined
        if (!isThere) return []
      }
      const input = JSON.stringify(
        streams.map(({ aggregateId, tenantId }) => ({ tenant_id: tenantId, aggregate_id: aggregateId }))
      )
      const found = yield* sql
        .unsafe(
          `SELECT p.tenant_id::text, p.aggregate_id::text FROM ${table} p
            JOIN jsonb_to_recordset($1::jsonb) AS i (tenant_id uuid, aggregate_id uuid) USING (tenant_id, aggregate_id)`,
          [input]
        )
        .pipe(patient, rows("looking for purged streams", StreamRow))
      return found.map((row) => ({ tenantId: row.tenant_id, aggregateId: row.aggregate_id }))
    })
}

const NameRow = Schema.Struct({ name: Schema.String })

/** A stream, as it is selected. */
export const StreamRow = Schema.Struct({ tenant_id: Schema.String, aggregate_id: Schema.String })
