/**
 * `EventFeed` on PostgreSQL: pages of the events table by the keys of its indexes.
 */
import type { Fragment } from "@effect/sql/Statement"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Event, StreamId } from "../../event/Event.js"
import type { Selection, StreamPosition } from "../../event/EventFeed.js"
import { EventFeed, EventsUnordered } from "../../event/EventFeed.js"
import { describe } from "../../operation/ErrorDescription.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import * as EventSequence from "./EventSequence.js"
import { columns, toEvent } from "./FeedRow.js"
import * as Settling from "./Settling.js"

const StreamRow = Schema.Struct({ tenant_id: Schema.String, aggregate_id: Schema.String })

const CountRow = Schema.Struct({ count: Schema.NumberFromString })

const BoundariesRow = Schema.Struct({ ids: Schema.parseJson(Schema.Array(Schema.NullOr(Schema.String))) })

/** Of a table with more than these bytes, about as much is looked at: enough for boundaries, wherever in it the events are. */
const percentage = "least(100, 100 * 12000000.0 / greatest(1, pg_relation_size('kumiko_events')))"

/** The inner ends of so many parts, as shares. Most ids of version 7 begin alike: equal ranges of them would all be in one. */
const fractionsOf = (parts: number): string =>
  `ARRAY[${Array.from({ length: parts - 1 }, (_, at) => (at + 1) / parts).join(", ")}]::float8[]`

/** Pages of `kumiko_events`; statements join the transaction of their fiber. */
export const make: Effect.Effect<EventFeed["Type"], never, PgSql> = Effect.gen(function* () {
  const sql = yield* PgSql

  const where = (selection: Selection, more: ReadonlyArray<Fragment> = []): Fragment =>
    sql.and([...conditions(sql, selection), ...more])

  const selected = (action: string, rest: Fragment): Effect.Effect<ReadonlyArray<Event>, DatabaseError> =>
    sql`SELECT ${sql.literal(columns)} FROM kumiko_events e WHERE ${rest}`.values.pipe(
      Effect.mapError(databaseError(action)),
      Effect.flatMap((found) =>
        Effect.try({
          try: () => found.map(toEvent),
          catch: (cause) => DatabaseError.because(action, describe(cause).message, { cause })
        })
      )
    )

  const atLeast = (id: string) => sql`e.aggregate_id >= ${id}::uuid`

  /** One condition: to two of the same column the planner gives the product of their shares, and sorts what it takes to be few events. */
  const behind = ({ aggregateId, tenantId, version }: StreamPosition) =>
    sql`(e.aggregate_id, e.tenant_id, e.version) > (${aggregateId}::uuid, ${tenantId}::uuid, ${version}::integer)`

  /** Where a page begins: of a place and a first id, the one that is further on says what the other does. */
  const begins = (after: Option.Option<StreamPosition>, from: Option.Option<string>): ReadonlyArray<Fragment> => {
    const isFurther = ({ aggregateId }: StreamPosition) =>
      !Option.exists(from, (id) => id.toLowerCase() > aggregateId.toLowerCase())
    const place = Option.map(Option.filter(after, isFurther), behind)
    return Option.toArray(Option.orElse(place, () => Option.map(from, atLeast)))
  }

  return EventFeed.of({
    settled: (timeout) =>
      Effect.flatMap(EventSequence.look(sql), (found) =>
        "problem" in found
          ? DatabaseError.because("settling the events", new EventsUnordered({ reason: found.problem }).message)
          : Effect.as(Settling.wait(sql, Duration.decode(timeout)), found.last)
      ),
    problem: Effect.map(EventSequence.look(sql), (found) =>
      "problem" in found ? Option.some(new EventsUnordered({ reason: found.problem })) : Option.none()
    ),
    page: (selection, limit) =>
      selected("reading a page of events", sql`${where(selection)} ORDER BY e.id LIMIT ${limit}`),
    pageByStream: (selection, { after, from, to }, limit) =>
      selected(
        "reading a page of streams",
        sql`${where(selection, [
          ...begins(after, from),
          ...Option.toArray(Option.map(to, (id) => sql`e.aggregate_id < ${id}::uuid`))
        ])} ORDER BY e.aggregate_id, e.tenant_id, e.version LIMIT ${limit}`
      ),
    ofAggregates: (selection, ids) =>
      selected(
        "reading the events of aggregates",
        sql`${where(selection, [
          sql`e.aggregate_id = ANY (ARRAY(SELECT jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb)::uuid))`
        ])} ORDER BY e.aggregate_id, e.tenant_id, e.version`
      ),
    boundaries: (selection, parts) =>
      parts === 1
        ? Effect.succeed([])
        : sql`SELECT coalesce(to_json(percentile_disc(${sql.literal(fractionsOf(parts))}) WITHIN GROUP (ORDER BY e.aggregate_id::text)), '[]')::text AS ids
          FROM kumiko_events e TABLESAMPLE SYSTEM (${sql.literal(percentage)}) WHERE ${where(selection)}`.pipe(
            rows("looking for the boundaries of lanes", BoundariesRow),
            Effect.map(([found]) => [...new Set(found?.ids ?? [])].flatMap((id) => id ?? []))
          ),
    count: (selection) =>
      sql`SELECT count(*)::text AS count FROM kumiko_events e WHERE ${where(selection)}`.pipe(
        rows("counting events", CountRow),
        Effect.map(([found]) => found?.count ?? 0)
      ),
    archivedAmong: (streams) =>
      sql`SELECT a.tenant_id::text, a.aggregate_id::text FROM kumiko_archived_streams a
        WHERE (a.tenant_id, a.aggregate_id) IN (SELECT s.tenant_id, s.aggregate_id
          FROM jsonb_to_recordset(${JSON.stringify(streams.map(toInput))}::jsonb) AS s (tenant_id uuid, aggregate_id uuid))`.pipe(
        rows("looking for archived streams", StreamRow),
        Effect.map((found) =>
          found.map(({ aggregate_id, tenant_id }) => ({ tenantId: tenant_id, aggregateId: aggregate_id }))
        )
      )
  })
})

/** `EventFeed` on PostgreSQL. */
export const layer: Layer.Layer<EventFeed, never, PgSql> = Layer.effect(EventFeed, make)

const toInput = ({ aggregateId, tenantId }: StreamId) => ({ tenant_id: tenantId, aggregate_id: aggregateId })

const conditions = (sql: PgSql["Type"], selection: Selection): ReadonlyArray<Fragment> => {
  const { after, aggregateId, aggregateTypes, since, tenantId, types, until, upTo, withoutArchived = false } = selection
  const { belowAggregate, fromAggregate } = selection
  return [
    ...(after === undefined ? [] : [sql`e.id > ${`${after}`}::bigint`]),
    ...(upTo === undefined ? [] : [sql`e.id <= ${`${upTo}`}::bigint`]),
    ...(types === undefined ? [] : [sql.in("e.type", types)]),
    ...(aggregateTypes === undefined ? [] : [sql.in("e.aggregate_type", aggregateTypes)]),
    ...(tenantId === undefined ? [] : [sql`e.tenant_id = ${tenantId}::uuid`]),
    ...(aggregateId === undefined ? [] : [sql`e.aggregate_id = ${aggregateId}::uuid`]),
    ...(fromAggregate === undefined ? [] : [sql`e.aggregate_id >= ${fromAggregate}::uuid`]),
    ...(belowAggregate === undefined ? [] : [sql`e.aggregate_id < ${belowAggregate}::uuid`]),
    ...(since === undefined ? [] : [sql`e.created_at >= ${since.toISOString()}::timestamptz`]),
    ...(until === undefined ? [] : [sql`e.created_at < ${until.toISOString()}::timestamptz`]),
    ...(withoutArchived
      ? [
          sql`NOT EXISTS (SELECT FROM kumiko_archived_streams a WHERE a.tenant_id = e.tenant_id AND a.aggregate_id = e.aggregate_id)`
        ]
      : [])
  ]
}
