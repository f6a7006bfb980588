/**
 * The statement that appends many events: it checks every stream, writes all events or none, and notifies. What many events share, such as their
 * metadata, is sent once. Pure.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Schema from "effect/Schema"
import type { EventMetadata, NewEvent } from "../../event/Event.js"
import type { RecordedTime } from "../../operation/RecordedTime.js"
import * as PgTime from "../client/PgTime.js"

/** What is known of a table of events: whether its rows stay as they are sent, and the column that says whether they may not. */
export interface Target {
  readonly events: string
  readonly archived: string
  readonly isPlain: boolean
  readonly watched: string
}

/** What the statement answers with: what was stored, by the time of its creation, and each reason why nothing was. */
export const Answer = Schema.Struct({
  /** `changed`: a row is not the one that was sent. */
  kind: Schema.Literal("stored", "changed", "archived", "version", "key"),
  tenant_id: Schema.NullOr(Schema.String),
  aggregate_id: Schema.NullOr(Schema.String),
  version: Schema.NullOr(Schema.NumberFromString),
  expected: Schema.NullOr(Schema.NumberFromString),
  key: Schema.NullOr(Schema.String),
  /** Of each event its place among those that were sent, and the id that it got: `0:41 1:42`. */
  ids: Schema.NullOr(Schema.String),
  created_at: Schema.NullOr(PgTime.Column),
  watched: Schema.NullOr(Schema.Literal("true", "false"))
})
export type Answer = typeof Answer.Type

/** What the server gave to an event. */
export interface Given {
  readonly id: bigint
  readonly created_at: RecordedTime
}

/** What was given to the events that are stored, by their places. */
export const givenOf = (answers: ReadonlyArray<Answer>): ReadonlyMap<number, Given> => {
  const given = new Map<number, Given>()
  for (const { created_at, ids, kind } of answers) {
    if (kind !== "stored" || created_at === null || ids === null) continue
    for (const pair of ids.split(" ")) {
      const [place, id = ""] = pair.split(":")
      given.set(Number(place), { id: BigInt(id), created_at })
    }
  }
  return given
}

/** The columns of an event that are sent. */
export const columns =
  "aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload, metadata, created_by"

const sameEvent = "i.tenant_id = s.tenant_id AND i.aggregate_id = s.aggregate_id AND i.version = s.version"

/** Whether the row that was stored is the one that was sent. */
const isKept = `i.n IS NOT NULL AND (${columns.replaceAll(/\w+/g, "s.$&")}) = (${columns.replaceAll(/\w+/g, "i.$&")})`

/** The events of the parameters. */
const input = `SELECT e.n, e.aggregate_id, h.aggregate_type, h.tenant_id, e.version, h.type, h.event_version, e.payload, h.metadata, h.created_by
  FROM jsonb_to_recordset($1::jsonb) AS e (n integer, head integer, aggregate_id uuid, version integer, payload jsonb)
    JOIN jsonb_to_recordset($2::jsonb) AS h (head integer, tenant_id uuid, aggregate_type text, type text, event_version integer,
      metadata jsonb, created_by text) ON h.head = e.head`

const taken = (table: string): string =>
  `SELECT i.tenant_id, i.aggregate_id, i.metadata->>'idempotencyKey' AS key FROM input i JOIN ${table} e
    ON e.tenant_id = i.tenant_id AND (e.metadata->>'idempotencyKey') = (i.metadata->>'idempotencyKey')`

const noneTaken = "SELECT NULL::uuid AS tenant_id, NULL::uuid AS aggregate_id, NULL AS key WHERE false"

/** The text, for events of which some have an idempotency key or none has. */
export const text = ({ archived, events, isPlain, watched }: Target, keys: boolean): string => `
  WITH input AS MATERIALIZED (
    ${input}
  ), streams AS (
    SELECT s.*, coalesce((SELECT max(e.version) FROM ${events} e
        WHERE e.tenant_id = s.tenant_id AND e.aggregate_id = s.aggregate_id), 0) AS actual,
      EXISTS (SELECT FROM ${archived} a
        WHERE a.tenant_id = s.tenant_id AND a.aggregate_id = s.aggregate_id) AS archived
    FROM (SELECT tenant_id, aggregate_id, min(version) - 1 AS expected FROM input GROUP BY tenant_id, aggregate_id) AS s
  ), refused AS (
    SELECT * FROM streams WHERE archived OR actual <> expected
  ), taken AS (
    ${keys ? taken(events) : noneTaken}
  ), stored AS (
    INSERT INTO ${events} (${columns}) SELECT ${columns}
    FROM input WHERE NOT EXISTS (SELECT FROM refused) AND NOT EXISTS (SELECT FROM taken) ORDER BY n
    RETURNING id, created_at, ${isPlain ? "tenant_id, aggregate_id, version" : columns}, ${watched}
  ), notified AS MATERIALIZED (
    SELECT pg_notify('kumiko_events_new', '') FROM (SELECT FROM stored LIMIT 1) AS any_stored
  )
  SELECT CASE WHEN bool_and((${isPlain ? "i.n IS NOT NULL" : isKept}) IS TRUE) THEN 'stored' ELSE 'changed' END AS kind,
    NULL AS tenant_id, NULL AS aggregate_id, NULL AS version, NULL AS expected, NULL AS key,
    string_agg(i.n || ':' || s.id, ' ') AS ids, ${PgTime.select("created_at")}, bool_or(s.watched::boolean)::text AS watched
  FROM stored s LEFT JOIN input i ON ${sameEvent} LEFT JOIN notified ON true GROUP BY s.created_at
  UNION ALL SELECT CASE WHEN archived THEN 'archived' ELSE 'version' END, tenant_id::text, aggregate_id::text, actual::text,
    expected::text, NULL, NULL, NULL, NULL FROM refused
  UNION ALL SELECT 'key', tenant_id::text, aggregate_id::text, '0', NULL, key, NULL, NULL, NULL FROM taken`

/** The rows of the same events that are there as they were sent, with another column. */
export const kept = (table: string, column: string): string =>
  `SELECT s.id::text AS id, ${column} FROM (${input}) AS i JOIN ${table} s ON ${sameEvent} WHERE ${isKept}`

/** The parameters of both: the events, and what they share. */
export const paramsOf = (events: NonEmptyReadonlyArray<NewEvent>): readonly [events: string, heads: string] => {
  const heads = new Map<string, Head>()
  const metadata = new Map<EventMetadata, number>()
  const rows = events.map((event, n) => {
    if (!metadata.has(event.metadata)) metadata.set(event.metadata, metadata.size)
    const { aggregateType, eventVersion, tenantId, type } = event
    const shared = JSON.stringify([metadata.get(event.metadata), tenantId, aggregateType, type, eventVersion])
    const head = heads.get(shared) ?? headOf(event, heads.size)
    heads.set(shared, head)
    return { n, head: head.head, aggregate_id: event.aggregateId, version: event.version, payload: event.payload }
  })
  return [JSON.stringify(rows), JSON.stringify([...heads.values()])]
}

type Head = ReturnType<typeof headOf>

const headOf = ({ aggregateType, eventVersion, metadata, tenantId, type }: NewEvent, head: number) => ({
  head,
  tenant_id: tenantId,
  aggregate_type: aggregateType,
  type,
  event_version: eventVersion,
  metadata,
  created_by: metadata.userId
})
