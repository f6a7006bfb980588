/**
 * `EventStore` on PostgreSQL, on the events table of the system that we are drop-in for.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { expectations, refuseTakenKeys } from "../../event/AppendRules.js"
import type { Event, NewEvent, StreamId } from "../../event/Event.js"
import type { AppendError } from "../../event/EventStore.js"
import {
  EventStore,
  IdempotencyConflict,
  StreamArchived,
  StreamPurged,
  VersionConflict
} from "../../event/EventStore.js"
import { allStorable, isJson } from "../../event/JsonValue.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as ArchiveMark from "../client/ArchiveMark.js"
import * as EncodedText from "../client/EncodedText.js"
import { databaseError, notStored, refusedRow } from "../client/PgError.js"
import { appendError } from "./AppendFailure.js"
import { EventRow, toEvent } from "./EventRow.js"
import * as PurgedStreams from "./PurgedStreams.js"
import * as LateTriggers from "../client/LateTriggers.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { decodeRows, PgSql, rows, tablesFound } from "../client/PgSql.js"
import * as PgTime from "../client/PgTime.js"
import { literal } from "../client/SqlText.js"

const Answer = Schema.Struct({
  /** `changed`: the row is not the one that was sent. */
  kind: Schema.Literal("stored", "changed", "archived", "version", "key"),
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  version: Schema.NumberFromString,
  expected: Schema.NullOr(Schema.NumberFromString),
  id: Schema.NullOr(Schema.BigInt),
  created_at: Schema.NullOr(PgTime.Column),
  key: Schema.NullOr(Schema.String),
  watched: Schema.NullOr(Schema.Literal("true", "false"))
})

const Kept = Schema.Literal("true", "false")

/** `kept`: whether the row is the one that was sent. `watched`: whether it may be another one once the statement is through. */
const Stored = Schema.Struct({ id: Schema.BigInt, created_at: PgTime.Column, kept: Kept, watched: Kept })

/** `late`: the sum of the row, where deferred triggers may still take it away. */
const Found = Schema.Struct({ id: Schema.String, late: Schema.NullOr(Schema.String) })

/** The mark of an archived stream, the same. */
const Marked = Schema.Struct({ late: Schema.NullOr(Schema.String) })

const createdAt = PgTime.select("created_at")

/** The two tables, as they are named where a statement is sent. */
interface Named {
  readonly events: string
  readonly archived: string
  /** Where a step notes that the events have no trigger and no rule. */
  readonly plain: Set<string> | undefined
  /** The rows of the step that are looked at once more at its end. */
  readonly late: LateTriggers.Late | undefined
}

const byPath: Named = {
  events: "kumiko_events",
  archived: ArchiveMark.table,
  plain: undefined,
  late: undefined
}

const named: Effect.Effect<Named> = Effect.map(tablesFound, (found) =>
  Option.isNone(found)
    ? byPath
    : {
        events: found.value.tables.get('"kumiko_events"') ?? byPath.events,
        archived: found.value.tables.get('"kumiko_archived_streams"') ?? byPath.archived,
        plain: found.value.plain,
        late: found.value.late
      }
)

const columns = "aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload, metadata, created_by"

const sum = LateTriggers.sumOf(columns.split(", "))

const inputColumns = `n integer, tenant_id uuid, aggregate_id uuid, aggregate_type text, version integer, type text,
  event_version integer, payload jsonb, metadata jsonb, created_by text`

const sent = "$1::uuid, $2::text, $3::uuid, $4::integer, $5::text, $6::integer, $7::jsonb, $8::jsonb, $9::text"

/** One event, where its stream is as `version` expects it. */
const insertOf = ({ archived, events, plain }: Named, version: number): string => {
  const stream = `FROM ${events} WHERE tenant_id = $3::uuid AND aggregate_id = $1::uuid`
  const expected =
    version === 1
      ? `NOT EXISTS (SELECT ${stream})`
      : `(SELECT version ${stream} ORDER BY version DESC LIMIT 1) = $4::integer - 1`
  const isSent = plain?.has(events) === true ? "'true'" : `((${columns}) = (${sent}))::text`
  return `INSERT INTO ${events} (${columns}) SELECT ${sent}
    WHERE ${expected} AND NOT EXISTS (SELECT FROM ${archived} WHERE tenant_id = $3::uuid AND aggregate_id = $1::uuid)
    RETURNING id::text, ${createdAt}, ${isSent} AS kept, ${mayTakeAway(events, plain)}, pg_notify('kumiko_events_new', '')`
}

/**
 * Whether the table may have triggers or rules, which may take a row away or change it behind its INSERT: RETURNING does not see that. Partitions
 * have their own.
 */
const mayTakeAway = (table: string, plain: ReadonlySet<string> | undefined): string =>
  plain?.has(table) === true
    ? "'false' AS watched"
    : `(SELECT c.relhastriggers OR c.relhasrules OR c.relkind <> 'r'
    FROM pg_catalog.pg_class c WHERE c.oid = ${literal(table)}::pg_catalog.regclass)::text AS watched`

const ourTables = ["kumiko_events", ArchiveMark.table]

const decodeStored = decodeRows("appending an event", Stored)

/** Streams in `kumiko_events`; statements join the transaction of their fiber. */
export const make: Effect.Effect<EventStore["Type"], never, PgSql | OperationConfig> = Effect.gen(function* () {
  const sql = yield* PgSql
  const config = yield* OperationConfig
  const purgedAmong = PurgedStreams.among(sql, config)
  const encoding = EncodedText.unknown()
  const bounded = PatientStatement.make(sql, config, "write", ourTables)

  /** One statement: checks every stream, writes all events or none, and notifies; it answers with what it wrote or why it did not. */
  const append = (events: NonEmptyReadonlyArray<NewEvent>, keys: boolean, tables: Named) => {
    const [table, archived, all] = [tables.events, tables.archived, columns].map((text) => sql.literal(text))
    const taken = keys
      ? sql`SELECT i.tenant_id, i.aggregate_id, i.metadata->>'idempotencyKey' AS key FROM input i JOIN ${table} e
          ON e.tenant_id = i.tenant_id AND (e.metadata->>'idempotencyKey') = (i.metadata->>'idempotencyKey')`
      : sql`SELECT NULL::uuid AS tenant_id, NULL::uuid AS aggregate_id, NULL AS key WHERE false`
    return sql`
      WITH input AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(${JSON.stringify(events.map(toInput))}::jsonb) AS i (${sql.literal(inputColumns)})
      ), streams AS (
        SELECT s.*, coalesce((SELECT max(e.version) FROM ${table} e
            WHERE e.tenant_id = s.tenant_id AND e.aggregate_id = s.aggregate_id), 0) AS actual,
          EXISTS (SELECT FROM ${archived} a
            WHERE a.tenant_id = s.tenant_id AND a.aggregate_id = s.aggregate_id) AS archived
        FROM (SELECT tenant_id, aggregate_id, min(version) - 1 AS expected FROM input GROUP BY tenant_id, aggregate_id) AS s
      ), refused AS (
        SELECT * FROM streams WHERE archived OR actual <> expected
      ), taken AS (
        ${taken}
      ), stored AS (
        INSERT INTO ${table} (${all}) SELECT ${all}
        FROM input WHERE NOT EXISTS (SELECT FROM refused) AND NOT EXISTS (SELECT FROM taken) ORDER BY n
        RETURNING id, created_at, ${all}, ${sql.literal(mayTakeAway(tables.events, tables.plain))}
      ), notified AS MATERIALIZED (
        SELECT pg_notify('kumiko_events_new', '') FROM (SELECT FROM stored LIMIT 1) AS any_stored
      )
      SELECT CASE WHEN ${sql.literal(isKept)} THEN 'stored' ELSE 'changed' END AS kind, s.tenant_id::text, s.aggregate_id::text,
        s.version::text, NULL AS expected, s.id::text, ${sql.literal(createdAt)}, NULL AS key, s.watched
      FROM stored s LEFT JOIN input i ON i.tenant_id = s.tenant_id AND i.aggregate_id = s.aggregate_id AND i.version = s.version
        LEFT JOIN notified ON true
      UNION ALL SELECT CASE WHEN archived THEN 'archived' ELSE 'version' END, tenant_id::text, aggregate_id::text, actual::text,
        expected::text, NULL, NULL, NULL, NULL FROM refused
      UNION ALL SELECT 'key', tenant_id::text, aggregate_id::text, '0', NULL, NULL, NULL, key, NULL FROM taken`.pipe(
      bounded,
      Effect.mapError((error) => appendError(events, error)),
      Effect.flatMap(decodeRows("appending events", Answer))
    )
  }

  /**
   * One event without an idempotency key, written if its stream is as expected. Its statement is planned faster than that for many, which
   * says why, where nothing was written.
   */
  const appendOne = (event: NewEvent, tables: Named) =>
    sql
      .unsafe(insertOf(tables, event.version), [
        event.aggregateId,
        event.aggregateType,
        event.tenantId,
        event.version,
        event.type,
        event.eventVersion,
        JSON.stringify(event.payload),
        JSON.stringify(event.metadata),
        event.metadata.userId
      ])
      .pipe(
        bounded,
        Effect.mapError((error) => appendError([event], error)),
        Effect.flatMap(decodeStored),
        Effect.flatMap(([found]) => (found?.kept === "false" ? changed : Effect.succeed(Option.fromNullable(found)))),
        Effect.tap(Option.match({ onNone: () => Effect.void, onSome: stay([event], tables) }))
      )

  /** Fails where a trigger or rule took one of these events away behind their INSERT, or changed it. */
  const stay =
    (events: NonEmptyReadonlyArray<NewEvent>, tables: Named) =>
    (answer: { readonly watched: typeof Answer.fields.watched.Type } | undefined) =>
      answer?.watched !== "true"
        ? Effect.sync(() => void tables.plain?.add(tables.events))
        : Effect.flatMap(
            sql`SELECT s.id::text AS id, ${sql.literal(LateTriggers.column(tables.events, sum))}
              FROM jsonb_to_recordset(${JSON.stringify(events.map(toInput))}::jsonb) AS i (${sql.literal(inputColumns)})
              JOIN ${sql.literal(tables.events)} s ON s.tenant_id = i.tenant_id AND s.aggregate_id = i.aggregate_id AND s.version = i.version
              WHERE ${sql.literal(isKept)}`.pipe(bounded, rows("appending events", Found)),
            (found) => {
              if (found.length !== events.length) return changed
              noteLate(tables, found)
              return Effect.void
            }
          )

  const appendMany = (events: NonEmptyReadonlyArray<NewEvent>, tables: Named) =>
    Effect.gen(function* () {
      yield* expectations(events)
      yield* refuseTakenKeys([], events)
      const keys = events.some(({ metadata }) => metadata.idempotencyKey !== undefined)
      const answers = yield* append(events, keys, tables)
      const byKey = new Map(answers.map((answer) => [answerKey(answer), answer]))
      const appended = yield* Effect.forEach(events, (event) => storedAs(event, byKey, answers))
      yield* stay(events, tables)(answers.find((answer) => answer.watched === "true"))
      return appended
    }).pipe(Effect.catchTag("StreamArchived", purgedOr))

  /** A purged stream keeps its archive mark, and so costs an append of any other nothing. */
  const purgedOr = (archived: StreamArchived): Effect.Effect<never, StreamArchived | StreamPurged | DatabaseError> =>
    Effect.flatMap(purgedAmong([archived]), ([purged]) =>
      Effect.fail(purged === undefined ? archived : new StreamPurged(purged))
    )

  const appendStorable = (events: NonEmptyReadonlyArray<NewEvent>): ReturnType<typeof appendMany> =>
    Effect.flatMap(named, (tables) => {
      const [event, ...others] = events
      if (others.length > 0 || event.metadata.idempotencyKey !== undefined) return appendMany(events, tables)
      return Effect.flatMap(appendOne(event, tables), (found): ReturnType<typeof appendMany> =>
        Option.isSome(found) ? Effect.succeed([stored(event, found.value)]) : appendMany(events, tables)
      )
    })

  const eventRows = (stream: StreamId, { events }: Named): Effect.Effect<ReadonlyArray<Event>, DatabaseError> =>
    Effect.map(
      sql`SELECT id::text, tenant_id::text, aggregate_id::text, aggregate_type, version::text, type, event_version::text,
          payload::text, metadata::text, ${sql.literal(createdAt)}, created_by
        FROM ${sql.literal(events)} e WHERE tenant_id = ${stream.tenantId}::uuid AND aggregate_id = ${stream.aggregateId}::uuid
        ORDER BY e.version`.pipe(bounded, rows("loading a stream", EventRow)),
      (found) => found.map(toEvent)
    )

  const versionOf = ({ aggregateId, tenantId }: StreamId, { events }: Named) =>
    Effect.map(
      sql`SELECT coalesce(max(version), 0)::text AS version FROM ${sql.literal(events)}
        WHERE tenant_id = ${tenantId}::uuid AND aggregate_id = ${aggregateId}::uuid`.pipe(
        bounded,
        rows("reading a stream's version", Schema.Struct({ version: Schema.NumberFromString }))
      ),
      ([found]) => found?.version ?? 0
    )

  /** A stream that is archived stays as it is. */
  const archive = ({ aggregateId, aggregateType, archivedBy, reason, tenantId }: Archiving, tables: Named) =>
    Effect.gen(function* () {
      const archived = sql.literal(tables.archived)
      const held = yield* EncodedText.fit(encoding, reason ?? "", EncodedText.asking(sql))
      const isThere = sql`SELECT ${sql.literal(ArchiveMark.late(tables.archived))} FROM ${archived}
        WHERE tenant_id = ${tenantId}::uuid AND aggregate_id = ${aggregateId}::uuid`
      const marked = yield* sql`INSERT INTO ${archived} (tenant_id, aggregate_id, aggregate_type, archived_by, reason)
          SELECT ${tenantId}::uuid, ${aggregateId}::uuid, ${aggregateType}::text, ${archivedBy}::text, ${reason === undefined ? null : held}::text
          WHERE NOT EXISTS (${isThere}) ON CONFLICT DO NOTHING RETURNING 1 AS marked`.pipe(
        bounded,
        Effect.mapError((error) => refusedRow(error, archiving, ArchiveMark.table) ?? databaseError(archiving)(error))
      )
      const [purged] = marked.length > 0 ? [] : yield* purgedAmong([{ tenantId, aggregateId }])
      if (purged !== undefined) return yield* new StreamPurged(purged)
      // Also behind an INSERT, of which a trigger may leave nothing.
      const [found] = yield* isThere.pipe(bounded, rows(archiving, Marked))
      if (found === undefined) return yield* notStored(archiving, ArchiveMark.table)
      if (found.late !== null) yield* ArchiveMark.noteLate(tables.archived, [{ tenantId, aggregateId }])
    })

  return EventStore.of({
    append: (events) =>
      Effect.useSpan("EventStore.append", { captureStackTrace: false }, () =>
        events.every(isStorable) ? appendStorable(events) : Effect.flatMap(allStorable(events), appendStorable)
      ),
    load: (stream) => Effect.flatMap(named, (tables) => eventRows(stream, tables)),
    version: (stream) => Effect.flatMap(named, (tables) => versionOf(stream, tables)),
    archive: (stream) => Effect.flatMap(named, (tables) => archive(stream, tables))
  })
})

/** `EventStore` on PostgreSQL. */
export const layer: Layer.Layer<EventStore, never, PgSql | OperationConfig> = Layer.effect(EventStore, make)

type Archiving = Parameters<EventStore["Type"]["archive"]>[0]

const archiving = "archiving a stream"

/** Whether the row that was stored is the one that was sent. */
const isKept = `i.n IS NOT NULL AND (${columns.replaceAll(/\w+/g, "s.$&")}) = (${columns.replaceAll(/\w+/g, "i.$&")})`

const changed = notStored("appending events", "kumiko_events")

const isStorable = ({ metadata, payload }: NewEvent): boolean => isJson(payload) && isJson(metadata)

/** Behind the INSERT they are there as they were sent; deferred triggers are still to come. */
const noteLate = ({ events, late }: Named, found: ReadonlyArray<typeof Found.Type>): void => {
  const rows = found.flatMap((row) => (row.late === null ? [] : [{ id: row.id, sum: row.late }]))
  if (late !== undefined && rows.length > 0) LateTriggers.note(late, events, sameEvent, rows)
}

const sameEvent: LateTriggers.Sameness = { columns: "id bigint, sum text", same: `s.id = k.id AND ${sum} = k.sum` }

const toInput = (event: NewEvent, n: number) => ({
  n,
  tenant_id: event.tenantId,
  aggregate_id: event.aggregateId,
  aggregate_type: event.aggregateType,
  version: event.version,
  type: event.type,
  event_version: event.eventVersion,
  payload: event.payload,
  metadata: event.metadata,
  created_by: event.metadata.userId
})

const answerKey = (row: { readonly tenant_id: string; readonly aggregate_id: string; readonly version: number }) =>
  `${row.tenant_id}/${row.aggregate_id}/${row.version}`

/** The event as it is stored; key by key, as V8 gives each object that is spread and added to a shape of its own. */
const stored = (event: NewEvent, { created_at, id }: Pick<typeof Stored.Type, "id" | "created_at">): Event => ({
  tenantId: event.tenantId,
  aggregateId: event.aggregateId,
  aggregateType: event.aggregateType,
  version: event.version,
  type: event.type,
  eventVersion: event.eventVersion,
  payload: event.payload,
  metadata: event.metadata,
  id,
  createdAt: created_at,
  createdBy: event.metadata.userId
})

/** The event as the answers have it, or why it was not written: then none was. */
const storedAs = (
  event: NewEvent,
  byKey: ReadonlyMap<string, typeof Answer.Type>,
  answers: ReadonlyArray<typeof Answer.Type>
): Effect.Effect<Event, AppendError> => {
  const found = byKey.get(`${event.tenantId}/${event.aggregateId}/${event.version}`.toLowerCase())
  if (found?.kind === "stored" && found.id !== null && found.created_at !== null) {
    return Effect.succeed(stored(event, { id: found.id, created_at: found.created_at }))
  }
  if (answers.some(({ kind }) => kind === "changed")) return changed
  const refused = answers.find(({ kind }) => kind !== "stored")
  const stream = {
    tenantId: refused?.tenant_id ?? event.tenantId,
    aggregateId: refused?.aggregate_id ?? event.aggregateId
  }
  if (refused === undefined) return changed
  if (refused?.kind === "archived") return new StreamArchived(stream)
  if (refused?.kind === "key") {
    return new IdempotencyConflict({ tenantId: stream.tenantId, idempotencyKey: refused.key ?? "" })
  }
  const actual = Option.fromNullable(refused?.version)
  return new VersionConflict({ ...stream, expected: refused?.expected ?? event.version - 1, actual })
}
