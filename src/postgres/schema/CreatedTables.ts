/**
 * The record of projections whose tables were just created: they lack what events of their types there are.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { AskedProjection } from "../../event/ProjectionRecords.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { databaseError } from "../client/PgError.js"
import { rows } from "../client/PgSql.js"

const VersionRow = Schema.Struct({ name: Schema.String, version: Schema.NumberFromString })

const ThereRow = Schema.Struct({ events: Schema.Literal("t", "f"), records: Schema.Literal("t", "f") })

/** Where they are recorded: the quoted name of the table, and what creates it if it is missing. */
interface Records {
  readonly name: string
  readonly create: Effect.Effect<void, DatabaseError>
}

/** Records the version that each was created with: that of its definition, or 0 where an event of its types is there. */
export const record = (
  sql: SqlClient.SqlClient,
  projections: ReadonlyArray<AskedProjection>,
  records: Records
): Effect.Effect<void, DatabaseError> =>
  Effect.gen(function* () {
    const there = (table: string) => sql`CASE WHEN to_regclass(${table}) IS NULL THEN 'f' ELSE 't' END`
    const [tables] = yield* sql`SELECT ${there("kumiko_events")} AS events, ${there(records.name)} AS records`.pipe(
      rows("looking for events", ThereRow)
    )
    const given = JSON.stringify(projections.map(({ events, name, version }) => ({ name, version, events })))
    const asked = sql`jsonb_to_recordset(${given}::jsonb) AS a (name text, version integer, events jsonb)`
    const version =
      tables?.events === "t"
        ? sql`CASE WHEN EXISTS (SELECT FROM kumiko_events e
            WHERE e.type = ANY (ARRAY(SELECT jsonb_array_elements_text(a.events)))) THEN 0 ELSE a.version END`
        : sql`a.version`
    const created = yield* sql`SELECT a.name, (${version})::text AS version FROM ${asked}`.pipe(
      rows("looking for events of projections", VersionRow)
    )
    // A table without a record counts as of version 1.
    const isRecorded = tables?.records === "t"
    const written = created.filter((projection) => isRecorded || projection.version !== 1)
    if (written.length === 0) return
    if (!isRecorded) yield* records.create
    yield* sql`INSERT INTO ${sql.literal(records.name)} (projection, version, built_at)
      SELECT w.name, w.version, clock_timestamp() FROM jsonb_to_recordset(${JSON.stringify(written)}::jsonb)
        AS w (name text, version integer)
      ON CONFLICT (projection) DO UPDATE SET version = EXCLUDED.version, built_at = EXCLUDED.built_at, run_id = NULL`.pipe(
      Effect.mapError(databaseError("recording new tables"))
    )
  })
