/**
 * `EventStore` on PostgreSQL, on the events table of the system that we are drop-in for.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import { isNonEmptyReadonlyArray } from "effect/Array"
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
import type { Answer, Given } from "./AppendStatement.js"
import * as AppendStatement from "./AppendStatement.js"
import { EventRow, toEvent } from "./EventRow.js"
import * as PurgedStreams from "./PurgedStreams.js"
import * as LateTriggers from "../client/LateTriggers.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { decodeRows, PgSql, rows, tablesFound } from "../client/PgSql.js"
import * as PgTime from "../client/PgTime.js"
import { literal } from "../client/SqlText.js"

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

const { columns } = AppendStatement

const sum = LateTriggers.sumOf(columns.split(", "))

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
const decodeAnswers = decodeRows("appending events", AppendStatement.Answer)

/** Streams in `kumiko_events`; statements join the transaction of their fiber. */
export const make: Effect.Effect<EventStore["Type"], never, PgSql | OperationConfig> = Effect.gen(function* () {
  const sql = yield* PgSql
  const config = yield* OperationConfig
  const purgedAmong = PurgedStreams.among(sql, config)
  const encoding = EncodedText.unknown()
  const bounded = PatientStatement.make(sql, config, "write", ourTables)

  /** One statement: checks every stream, writes all events or none, and notifies; it answers with what it wrote or why it did not. */
  const append = (given: NonEmptyReadonlyArray<NewEvent>, { archived, events, plain }: Named) => {
    const keys = given.some(({ metadata }) => metadata.idempotencyKey !== undefined)
    const watched = mayTakeAway(events, plain)
    const target = { events, archived, watched, isPlain: plain?.has(events) === true }
    return sql.unsafe(AppendStatement.text(target, keys), AppendStatement.paramsOf(given)).pipe(
      bounded,
      Effect.mapError((error) => appendError(given, error)),
      Effect.flatMap(decodeAnswers)
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
    (events: NonEmptyReadonlyArray<NewEvent>, tables: Named) => (answer: Pick<Answer, "watched"> | undefined) =>
      answer?.watched !== "true"
        ? Effect.sync(() => void tables.plain?.add(tables.events))
        : Effect.flatMap(
            sql
              .unsafe(
                AppendStatement.kept(tables.events, LateTriggers.column(tables.events, sum)),
                AppendStatement.paramsOf(events)
              )
              .pipe(bounded, rows("appending events", Found)),
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
      const answers = yield* append(events, tables)
      const given = AppendStatement.givenOf(answers)
      const appended: Array<Event> = []
      for (const [place, event] of events.entries()) {
        const found = given.get(place)
        if (found === undefined) return yield* notAppended(event, answers)
        appended.push(stored(event, found))
      }
      if (!isNonEmptyReadonlyArray(appended)) return yield* changed
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
        isJson(events) ? appendStorable(events) : Effect.flatMap(allStorable(events), appendStorable)
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

const changed = notStored("appending events", "kumiko_events")

/** Behind the INSERT they are there as they were sent; deferred triggers are still to come. */
const noteLate = ({ events, late }: Named, found: ReadonlyArray<typeof Found.Type>): void => {
  const rows = found.flatMap((row) => (row.late === null ? [] : [{ id: row.id, sum: row.late }]))
  if (late !== undefined && rows.length > 0) LateTriggers.note(late, events, sameEvent, rows)
}

const sameEvent: LateTriggers.Sameness = { columns: "id bigint, sum text", same: `s.id = k.id AND ${sum} = k.sum` }

/** The event as it is stored; key by key, as V8 gives each object that is spread and added to a shape of its own. */
const stored = (event: NewEvent, { created_at, id }: Given): Event => ({
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

/** Why an event was not written: then none was. */
const notAppended = (event: NewEvent, answers: ReadonlyArray<Answer>): Effect.Effect<never, AppendError> => {
  const refused = answers.find(({ kind }) => kind !== "stored")
  if (refused === undefined || answers.some(({ kind }) => kind === "changed")) return changed
  const stream = {
    tenantId: refused.tenant_id ?? event.tenantId,
    aggregateId: refused.aggregate_id ?? event.aggregateId
  }
  if (refused.kind === "archived") return new StreamArchived(stream)
  if (refused.kind === "key") {
    return new IdempotencyConflict({ tenantId: stream.tenantId, idempotencyKey: refused.key ?? "" })
  }
  const actual = Option.fromNullable(refused.version)
  return new VersionConflict({ ...stream, expected: refused.expected ?? event.version - 1, actual })
}
