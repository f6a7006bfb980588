/**
 * `ArchiveMarks` on PostgreSQL: the rows of `kumiko_archived_streams`.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { StreamId } from "../../event/Event.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { StreamState } from "../../stream/ArchiveMarks.js"
import { ArchiveMarks } from "../../stream/ArchiveMarks.js"
import * as EncodedText from "../client/EncodedText.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { PgSql, rows } from "../client/PgSql.js"
import * as PurgedStreams from "../events/PurgedStreams.js"

const StateRow = Schema.Struct({
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  aggregate_type: Schema.NullOr(Schema.String),
  events: Schema.NumberFromString,
  types: Schema.parseJson(Schema.Array(Schema.String)),
  archived: Schema.Literal("t", "f")
})

const looking = `SELECT i.tenant_id::text, i.aggregate_id::text, coalesce(e.aggregate_type, a.aggregate_type) AS aggregate_type,
    e.events::text, e.types::text, CASE WHEN a.tenant_id IS NULL THEN 'f' ELSE 't' END AS archived
  FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (tenant_id uuid, aggregate_id uuid)) WITH ORDINALITY AS i (tenant_id, aggregate_id, n)
    CROSS JOIN LATERAL (SELECT count(*) AS events, (array_agg(aggregate_type ORDER BY version))[1] AS aggregate_type,
        coalesce(jsonb_agg(DISTINCT type), '[]') AS types
      FROM kumiko_events e WHERE e.tenant_id = i.tenant_id AND e.aggregate_id = i.aggregate_id) AS e
    LEFT JOIN kumiko_archived_streams a ON a.tenant_id = i.tenant_id AND a.aggregate_id = i.aggregate_id
  ORDER BY i.n`

const setting = `INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_by, reason)
  SELECT tenant_id, aggregate_id, aggregate_type, archived_by, reason
  FROM jsonb_to_recordset($1::jsonb) AS i (tenant_id uuid, aggregate_id uuid, aggregate_type text, archived_by text, reason text)
  WHERE NOT EXISTS (SELECT FROM kumiko_archived_streams a WHERE a.tenant_id = i.tenant_id AND a.aggregate_id = i.aggregate_id)
  ORDER BY tenant_id, aggregate_id ON CONFLICT DO NOTHING
  RETURNING tenant_id::text, aggregate_id::text`

const given = "jsonb_to_recordset($1::jsonb) AS i (tenant_id uuid, aggregate_id uuid)"

const locking = `SELECT a.tenant_id::text, a.aggregate_id::text FROM kumiko_archived_streams a
    JOIN ${given} ON a.tenant_id = i.tenant_id AND a.aggregate_id = i.aggregate_id
  ORDER BY a.tenant_id, a.aggregate_id FOR UPDATE OF a`

const removing = `DELETE FROM kumiko_archived_streams a USING ${given}
  WHERE a.tenant_id = i.tenant_id AND a.aggregate_id = i.aggregate_id RETURNING a.tenant_id::text, a.aggregate_id::text`

/** Marks of the archived streams; statements join the transaction of their fiber. */
export const make: Effect.Effect<ArchiveMarks["Type"], never, PgSql | OperationConfig> = Effect.gen(function* () {
  const sql = yield* PgSql
  const config = yield* OperationConfig
  const encoding = EncodedText.unknown()
  const fit = (text: string) => EncodedText.fit(encoding, text, EncodedText.asking(sql))
  const purgedAmong = PurgedStreams.among(sql, config)
  const patient = PatientStatement.make(sql, config, "write", ["kumiko_archived_streams", "kumiko_events"])

  const streams = (text: string, action: string, about: ReadonlyArray<unknown>) =>
    Effect.map(
      sql.unsafe(text, [JSON.stringify(about)]).pipe(patient, rows(action, PurgedStreams.StreamRow)),
      (found): ReadonlyArray<StreamId> =>
        found.map((row) => ({ tenantId: row.tenant_id, aggregateId: row.aggregate_id }))
    )

  const look = (asked: NonEmptyReadonlyArray<StreamId>) =>
    Effect.gen(function* () {
      const found = yield* sql
        .unsafe(looking, [JSON.stringify(asked.map(toRow))])
        .pipe(patient, rows("looking at streams", StateRow))
      const purged = new Set((yield* purgedAmong(asked)).map(keyOf))
      return found.map((row): StreamState => ({
        tenantId: row.tenant_id,
        aggregateId: row.aggregate_id,
        aggregateType: Option.fromNullable(row.aggregate_type),
        events: row.events,
        types: row.types,
        isArchived: row.archived === "t",
        isPurged: purged.has(keyOf({ tenantId: row.tenant_id, aggregateId: row.aggregate_id }))
      }))
    })

  return ArchiveMarks.of({
    look,
    set: (marks) =>
      Effect.gen(function* () {
        const about = yield* Effect.forEach(marks, (mark) =>
          Effect.map(Effect.transposeMapOption(mark.reason, fit), (reason) => ({
            ...toRow(mark),
            aggregate_type: mark.aggregateType,
            archived_by: mark.archivedBy,
            reason: Option.getOrNull(reason)
          }))
        )
        const changed = yield* streams(setting, "archiving streams", about)
        // The mark of a purged stream stays: it is among those that had one.
        const before = without(marks, changed)
        return { changed, purged: Arr.isNonEmptyReadonlyArray(before) ? yield* purgedAmong(before) : [] }
      }),
    remove: (asked) =>
      Effect.gen(function* () {
        const marked = yield* streams(locking, "locking archive marks", asked.map(toRow))
        if (!Arr.isNonEmptyReadonlyArray(marked)) return { changed: [], purged: [] }
        const purged = yield* purgedAmong(marked)
        const changed = yield* streams(removing, "restoring streams", without(marked, purged).map(toRow))
        return { changed, purged }
      })
  })
})

const toRow = ({ aggregateId, tenantId }: StreamId) => ({ tenant_id: tenantId, aggregate_id: aggregateId })

const keyOf = ({ aggregateId, tenantId }: StreamId): string => `${tenantId}/${aggregateId}`.toLowerCase()

const without = <S extends StreamId>(all: ReadonlyArray<S>, some: ReadonlyArray<StreamId>): ReadonlyArray<S> => {
  const keys = new Set(some.map(keyOf))
  return all.filter((stream) => !keys.has(keyOf(stream)))
}
