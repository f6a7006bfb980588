/**
 * `Deliveries` on PostgreSQL: a table of our own, and a transaction that only reads for what a handler asks the database.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { AttemptError } from "../../operation/Attempt.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { Delivery } from "../../replay/Deliveries.js"
import { Deliveries } from "../../replay/Deliveries.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { quote } from "../client/SqlText.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as ReadOnlyTransaction from "./ReadOnlyTransaction.js"

const recording = "recording deliveries"

/** Deliveries in the table that the settings' schema has, or the search path finds. */
export const make: Effect.Effect<Deliveries["Type"], never, PgSql | PgSchema> = Effect.gen(function* () {
  const sql = yield* PgSql
  const { kinds } = yield* PgSchema
  const table = kinds.get("es_ops_deliveries")?.name ?? quote("es_ops_deliveries")

  const remove = (runId: string) =>
    sql
      .unsafe(`DELETE FROM ${table} WHERE run_id = $1::uuid`, [runId])
      .pipe(Effect.mapError(databaseError("deleting deliveries")), Effect.asVoid)

  const record = (runId: string, deliveries: NonEmptyReadonlyArray<Delivery>): Effect.Effect<void, DatabaseError> =>
    sql
      .unsafe(
        `INSERT INTO ${table} (run_id, event_id, tenant_id, aggregate_id, error)
          SELECT $1::uuid, i.event_id, i.tenant_id, i.aggregate_id, i.error
          FROM jsonb_to_recordset($2::jsonb) AS i (event_id bigint, tenant_id uuid, aggregate_id uuid, error jsonb)
          ON CONFLICT (run_id, event_id) DO NOTHING`,
        [runId, JSON.stringify(deliveries.map(toInput))]
      )
      .pipe(Effect.mapError(databaseError(recording)), Effect.asVoid)

  return Deliveries.of({
    record,
    remove,
    recorded: (runId, after, upTo) =>
      Effect.map(
        sql
          .unsafe(
            `SELECT event_id::text FROM ${table} WHERE run_id = $1::uuid AND event_id > $2::bigint AND event_id <= coalesce($3::bigint, event_id)`,
            [runId, `${after}`, upTo === undefined ? null : `${upTo}`]
          )
          .pipe(rows("reading deliveries", Schema.Struct({ event_id: Schema.BigInt }))),
        (found) => new Set(found.map(({ event_id }) => event_id))
      ),
    failed: (runId) =>
      Effect.map(
        sql
          .unsafe(
            `SELECT event_id::text, tenant_id::text, aggregate_id::text, error::text FROM ${table}
              WHERE run_id = $1::uuid AND error->>'_tag' <> 'StreamStopped' ORDER BY event_id`,
            [runId]
          )
          .pipe(rows("reading deliveries", Failed)),
        (found) =>
          found.map((row) => ({
            eventId: row.event_id,
            tenantId: row.tenant_id,
            aggregateId: row.aggregate_id,
            error: Option.some(row.error)
          }))
      ),
    inTurn: (work) => ReadOnlyTransaction.inTurn(sql, work)
  })
})

const toInput = ({ aggregateId, error, eventId, tenantId }: Delivery) => ({
  event_id: `${eventId}`,
  tenant_id: tenantId,
  aggregate_id: aggregateId,
  error: Option.getOrNull(error)
})

const Failed = Schema.Struct({
  event_id: Schema.BigInt,
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  error: Schema.parseJson(AttemptError)
})
