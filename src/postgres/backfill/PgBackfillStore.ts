/**
 * `BackfillStore` on PostgreSQL: rows of any table or query, and events in the events table.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { DatedEvent, SourceRow } from "../../backfill/BackfillStore.js"
import { BackfillStore } from "../../backfill/BackfillStore.js"
import type { SqlSource } from "../../event/Backfill.js"
import type { Event, StreamId } from "../../event/Event.js"
import { Payload } from "../../event/Event.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { databaseError, notStored, sqlState } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { quote } from "../client/SqlText.js"
import * as PurgedStreams from "../events/PurgedStreams.js"

const reading = "reading the source of a backfill"
const appending = "appending the events of a backfill"

/** Over the statements of the fiber's transaction. */
export const make: Effect.Effect<BackfillStore["Type"], never, PgSql | OperationConfig> = Effect.gen(function* () {
  const sql = yield* PgSql
  const purgedAmong = PurgedStreams.among(sql, yield* OperationConfig)

  return BackfillStore.of({
    read: (source, { after, limit, lock, upTo }) =>
      sql
        .unsafe(select(source, { isFirst: Option.isNone(after), isLast: upTo === undefined, limit, lock }), [
          ...Option.toArray(after),
          ...(upTo === undefined ? [] : [upTo])
        ])
        .pipe(
          Effect.mapError(databaseError(reading)),
          Effect.flatMap((found) => Effect.forEach(found, toSourceRow))
        ),
    count: (source) =>
      sql.unsafe(`SELECT count(*)::text AS count FROM ${sourceOf(source)} AS q`).pipe(
        rows("counting the rows of a backfill", Count),
        Effect.map(([found]) => found?.count ?? 0)
      ),
    boundaries: (source, parts) =>
      parts === 1
        ? Effect.succeed([])
        : sql.unsafe(boundariesOf(source, parts)).pipe(
            rows("looking for the boundaries of lanes", Boundaries),
            Effect.map(([found]) => [...new Set(found?.keys ?? [])].flatMap((key) => key ?? []))
          ),
    canLock: (source) =>
      sql.unsafe(select(source, { isFirst: true, isLast: true, limit: 0, lock: true })).pipe(
        Effect.as(true),
        Effect.catchAll((error) =>
          Option.exists(sqlState(error), (state) => unlockable.has(state))
            ? Effect.succeed(false)
            : Effect.fail(databaseError(reading)(error))
        )
      ),
    look: (streams) =>
      Effect.zipWith(
        sql.unsafe(lookFor, [inputOf(streams)]).pipe(rows("looking at the streams of a backfill", Known)),
        purgedAmong(streams),
        (found, purged) => ({
          now: new Date(found[0]?.now ?? 0),
          streams: streamsIn(found).map(([row, ...others]) => ({
            tenantId: row.tenant_id,
            aggregateId: row.aggregate_id,
            isArchived: row.archived,
            isPurged: purged.some((one) => one.tenantId === row.tenant_id && one.aggregateId === row.aggregate_id),
            headers: row.exists ? Option.some(row.headers ?? {}) : Option.none(),
            backfilled: [row, ...others].flatMap(({ backfilled }) => (backfilled === null ? [] : [backfilled]))
          }))
        })
      ),
    append: (events) =>
      Effect.flatMap(
        sql.unsafe(insert, columnsOf(events)).pipe(rows(appending, Stored)),
        (found): Effect.Effect<NonEmptyReadonlyArray<Event>, DatabaseError> => {
          const ids = new Map(found.map((row) => [`${row.tenant_id}/${row.aggregate_id}/${row.version}`, row.id]))
          const stored = (event: DatedEvent) => {
            const id = ids.get(`${event.tenantId}/${event.aggregateId}/${event.version}`)
            return id === undefined ? notStored(appending, "kumiko_events") : toEvent(event, id)
          }
          const [first, ...others] = events
          return Effect.flatMap(stored(first), (one) =>
            Effect.map(Effect.forEach(others, stored), (more) => [one, ...more] as const)
          )
        }
      )
  })
})

/** feature_not_supported: its rows are none of a table's. insufficient_privilege: to lock a row takes UPDATE, DELETE or more. */
const unlockable = new Set(["0A000", "42501"])

interface PageShape {
  readonly isFirst: boolean
  readonly isLast: boolean
  readonly limit: number
  readonly lock: boolean
}

const sourceOf = ({ from }: SqlSource): string => ("table" in from ? quote(from.table) : `(${from.query})`)

const select = (source: SqlSource, { isFirst, isLast, limit, lock }: PageShape): string => {
  const column = `q.${quote(source.key)}`
  const bounds = [...(isFirst ? [] : [`${column} > $1`]), ...(isLast ? [] : [`${column} <= ${isFirst ? "$1" : "$2"}`])]
  return `SELECT q.*, ${column}::text AS ${quote(keyColumn)} FROM ${sourceOf(source)} AS q ${bounds.length === 0 ? "" : `WHERE ${bounds.join(" AND ")}`}
    ORDER BY ${column} LIMIT ${limit} ${lock ? "FOR SHARE OF q" : ""}`
}

const boundariesOf = (source: SqlSource, parts: number): string => {
  const shares = Array.from({ length: parts - 1 }, (_, at) => (at + 1) / parts).join(", ")
  return `SELECT coalesce(to_json((percentile_disc(ARRAY[${shares}]::float8[]) WITHIN GROUP (ORDER BY q.${quote(source.key)}))::text[]), '[]')::text AS keys
    FROM ${sourceOf(source)} AS q`
}

const Count = Schema.Struct({ count: Schema.NumberFromString })

const Boundaries = Schema.Struct({ keys: Schema.parseJson(Schema.Array(Schema.NullOr(Schema.String))) })

const keyColumn = "es_ops_key"

const toSourceRow = (row: unknown): Effect.Effect<SourceRow, DatabaseError> => {
  if (!Predicate.isReadonlyRecord(row) || !Predicate.isString(row[keyColumn])) {
    return DatabaseError.because(
      reading,
      "the key of a row is null: it has to be a unique column that always has a value"
    )
  }
  const { [keyColumn]: key, ...rest } = row
  return Effect.succeed({ key: String(key), row: rest })
}

const inputOf = (streams: ReadonlyArray<StreamId>): string =>
  JSON.stringify(streams.map(({ aggregateId, tenantId }) => ({ tenant_id: tenantId, aggregate_id: aggregateId })))

const lookFor = `SELECT i.tenant_id::text, i.aggregate_id::text,
    EXISTS (SELECT FROM kumiko_archived_streams a WHERE a.tenant_id = i.tenant_id AND a.aggregate_id = i.aggregate_id) AS archived,
    e.version IS NOT NULL AS exists,
    CASE WHEN jsonb_typeof(e.metadata->'headers') = 'object' THEN (e.metadata->'headers')::text END AS headers,
    b.headers::text AS backfilled, (extract(epoch FROM clock_timestamp()) * 1000)::bigint::text AS now
  FROM jsonb_to_recordset($1::jsonb) AS i (tenant_id uuid, aggregate_id uuid) LEFT JOIN LATERAL (
    SELECT version, metadata FROM kumiko_events e WHERE e.tenant_id = i.tenant_id AND e.aggregate_id = i.aggregate_id
    ORDER BY version LIMIT 1) AS e ON true
  LEFT JOIN LATERAL (
    SELECT jsonb_build_object(${["backfill", "backfillKey", "backfillDigest"].map((name) => `'${name}', coalesce(m.metadata->'headers'->>'${name}', '')`).join(", ")}) AS headers
    FROM kumiko_events m WHERE m.aggregate_id = i.aggregate_id AND m.metadata->'headers'->>'backfill' IS NOT NULL
      AND e.metadata->'headers'->>'backfill' IS NULL OFFSET 0) AS b ON true`

const HeadersRow = Schema.Record({
  key: Schema.String,
  value: Schema.Union(Schema.String, Schema.Number, Schema.Boolean)
})

const Known = Schema.Struct({
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  archived: Schema.Boolean,
  exists: Schema.Boolean,
  headers: Schema.NullOr(Schema.parseJson(HeadersRow)),
  backfilled: Schema.NullOr(Schema.parseJson(HeadersRow)),
  now: Schema.NumberFromString
})

/** The rows of each stream; they stand together, as the statement looks at one stream after another. */
const streamsIn = (found: ReadonlyArray<typeof Known.Type>) =>
  Arr.isNonEmptyReadonlyArray(found)
    ? Arr.groupWith(found, (a, b) => a.aggregate_id === b.aggregate_id && a.tenant_id === b.tenant_id)
    : []

const insert = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload, metadata, created_at, created_by)
  SELECT aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload::jsonb, metadata::jsonb, created_at, created_by
  FROM unnest($1::text::uuid[], $2::text::text[], $3::text::uuid[], $4::text::integer[], $5::text::text[], $6::text::integer[], $7::text::text[], $8::text::text[], $9::text::timestamptz[], $10::text::text[])
    WITH ORDINALITY AS i (aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload, metadata, created_at, created_by, n)
  ORDER BY n RETURNING id::text, tenant_id::text, aggregate_id::text, version::text`

/**
 * An array for each column, as the text of an array: drivers differ in what they make of them. The payloads are text already, so that digits that
 * JavaScript cannot hold stay.
 */
const columnsOf = (events: ReadonlyArray<DatedEvent>): ReadonlyArray<string> => [
  arrayOf(events.map(({ aggregateId }) => aggregateId)),
  arrayOf(events.map(({ aggregateType }) => aggregateType)),
  arrayOf(events.map(({ tenantId }) => tenantId)),
  arrayOf(events.map(({ version }) => `${version}`)),
  arrayOf(events.map(({ type }) => type)),
  arrayOf(events.map(({ eventVersion }) => `${eventVersion}`)),
  arrayOf(events.map(({ payload }) => payload)),
  arrayOf(events.map(({ metadata }) => JSON.stringify(metadata))),
  arrayOf(events.map(({ createdAt }) => createdAt.toISOString())),
  arrayOf(events.map(({ createdBy }) => createdBy))
]

const arrayOf = (texts: ReadonlyArray<string>): string =>
  `{${texts.map((text) => `"${text.replaceAll(/[\\"]/g, "\\$&")}"`).join(",")}}`

const Stored = Schema.Struct({
  id: Schema.BigInt,
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  version: Schema.NumberFromString
})

const parsePayload = Schema.decodeUnknown(Schema.parseJson(Payload))

const toEvent = (event: DatedEvent, id: bigint): Effect.Effect<Event, DatabaseError> =>
  Effect.mapBoth(parsePayload(event.payload), {
    onFailure: (cause) => DatabaseError.because(appending, "a payload is no JSON object", { cause }),
    onSuccess: (payload) => ({
      ...event,
      id,
      payload,
      createdAt: DateTime.unsafeMake(event.createdAt)
    })
  })
