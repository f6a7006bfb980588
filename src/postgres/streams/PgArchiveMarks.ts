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
import type { DatabaseError } from "../../operation/OperationError.js"
import type { MarksChanged, NewMark, StreamState } from "../../stream/ArchiveMarks.js"
import { ArchiveMarks } from "../../stream/ArchiveMarks.js"
import * as ArchiveMark from "../client/ArchiveMark.js"
import * as EncodedText from "../client/EncodedText.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { databaseError, notStored, refusedRow } from "../client/PgError.js"
import { decodeRows, PgSql, rows } from "../client/PgSql.js"
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

const MarkRow = Schema.Struct({ ...PurgedStreams.StreamRow.fields, late: Schema.NullOr(Schema.String) })

/** The marks of some streams, which a trigger may take away behind the statement that set them. */
const finding = `SELECT a.tenant_id::text, a.aggregate_id::text, ${ArchiveMark.late(ArchiveMark.table)} FROM kumiko_archived_streams a
  JOIN jsonb_to_recordset($1::jsonb) AS i (tenant_id uuid, aggregate_id uuid) ON a.tenant_id = i.tenant_id AND a.aggregate_id = i.aggregate_id`

const [archiving, restoring] = ["archiving streams", "restoring streams"] as const

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
      sql.unsafe(text, [JSON.stringify(about)]).pipe(
        patient,
        Effect.mapError((error) => refusedRow(error, action, ArchiveMark.table) ?? databaseError(action)(error)),
        Effect.flatMap(decodeRows(action, PurgedStreams.StreamRow))
      ),
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

  /** Those that have no mark, of streams that were marked just now or had one: another may have restored them meanwhile, or a trigger did. */
  const unmarked = (marks: NonEmptyReadonlyArray<NewMark>) =>
    Effect.gen(function* () {
      const found = yield* sql
        .unsafe(finding, [JSON.stringify(marks.map(toRow))])
        .pipe(patient, rows(archiving, MarkRow))
      const streams = found.map((row) => ({ ...row, tenantId: row.tenant_id, aggregateId: row.aggregate_id }))
      yield* ArchiveMark.noteLate(
        ArchiveMark.table,
        streams.filter(({ late }) => late !== null)
      )
      return without(marks, streams)
    })

  const set = (marks: NonEmptyReadonlyArray<NewMark>, isLast = false): Effect.Effect<MarksChanged, DatabaseError> =>
    Effect.gen(function* () {
      const about = yield* Effect.forEach(marks, (mark) =>
        Effect.map(Effect.transposeMapOption(mark.reason, fit), (reason) => ({
          ...toRow(mark),
          aggregate_type: mark.aggregateType,
          archived_by: mark.archivedBy,
          reason: Option.getOrNull(reason)
        }))
      )
      const changed = yield* streams(setting, archiving, about)
      const missing = yield* unmarked(marks)
      const lost = missing.length > without(missing, changed).length
      if (lost || (isLast && missing.length > 0)) return yield* notStored(archiving, ArchiveMark.table)
      // The mark of a purged stream stays: it is among those that had one.
      const before = without(marks, changed)
      const purged = Arr.isNonEmptyReadonlyArray(before) ? yield* purgedAmong(before) : []
      if (!Arr.isNonEmptyReadonlyArray(missing)) return { changed, purged }
      const more = yield* set(missing, true)
      return { changed: [...changed, ...more.changed], purged: [...purged, ...more.purged] }
    })

  return ArchiveMarks.of({
    look,
    set: (marks) => set(marks),
    remove: (asked) =>
      Effect.gen(function* () {
        const marked = yield* streams(locking, "locking archive marks", asked.map(toRow))
        if (!Arr.isNonEmptyReadonlyArray(marked)) return { changed: [], purged: [] }
        const purged = yield* purgedAmong(marked)
        const restored = without(marked, purged)
        const changed = yield* streams(removing, restoring, restored.map(toRow))
        // They are locked: none was another's to restore.
        if (changed.length < restored.length) return yield* notStored(restoring, ArchiveMark.table)
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
