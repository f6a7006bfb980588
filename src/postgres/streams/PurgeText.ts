/**
 * The statements of purges. Each that is about streams takes them as one jsonb parameter. Payloads are text of the server's all the way.
 */
import * as Option from "effect/Option"
import type { StreamId } from "../../event/Event.js"
import type { PurgedBy, PurgeSelection } from "../../stream/StreamPurges.js"
import { literal } from "../client/SqlText.js"
import type { Known, StreamTables } from "./StreamTables.js"

const given = "jsonb_to_recordset($1::jsonb) AS i (tenant_id uuid, aggregate_id uuid, aggregate_type text)"

const same = (table: string, other = "i"): string =>
  `${table}.tenant_id = ${other}.tenant_id AND ${table}.aggregate_id = ${other}.aggregate_id`

/** What stands for the tombstones before there are any. */
export const noStones = "(SELECT NULL::uuid AS tenant_id, NULL::uuid AS aggregate_id, NULL::uuid AS run_id WHERE false)"

const meant = ({ before, tenantId, types }: PurgeSelection): string =>
  [
    types.length === 0 ? "false" : `a.aggregate_type IN (${types.map(literal).join(", ")})`,
    `a.archived_at < ${literal(before)}::timestamptz`,
    ...Option.toArray(Option.map(tenantId, (tenant) => `a.tenant_id = ${literal(tenant)}::uuid`))
  ].join(" AND ")

/** Purged already, without an event that came since. */
const isOver = (stones: string, table: string): string =>
  `(EXISTS (SELECT FROM ${stones} p WHERE ${same("p", table)}) AND NOT EXISTS (SELECT FROM kumiko_events e WHERE ${same("e", table)}))`

const dueMarks = (selection: PurgeSelection, stones: string): string =>
  `kumiko_archived_streams a WHERE ${meant(selection)} AND NOT ${isOver(stones, "a")}`

const stream = (table: string): string =>
  `${table}.tenant_id::text AS tenant_id, ${table}.aggregate_id::text AS aggregate_id, ${table}.aggregate_type`

export const count = (selection: PurgeSelection, stones: string): string =>
  `SELECT count(*)::text AS count FROM ${dueMarks(selection, stones)}`

export const due = (
  selection: PurgeSelection,
  stones: string,
  after: Option.Option<StreamId>,
  limit: number
): string => {
  const behind = Option.match(after, {
    onNone: () => "",
    onSome: ({ aggregateId, tenantId }) =>
      ` AND (a.tenant_id, a.aggregate_id) > (${literal(tenantId)}::uuid, ${literal(aggregateId)}::uuid)`
  })
  return `SELECT ${stream("a")} FROM ${dueMarks(selection, stones)}${behind} ORDER BY a.tenant_id, a.aggregate_id LIMIT ${Math.round(limit)}`
}

/** Locks the marks that are there still. A restore that was first has taken its mark away. */
export const lock = (selection: PurgeSelection): string =>
  `SELECT ${stream("a")} FROM kumiko_archived_streams a JOIN ${given} ON ${same("a")}
    WHERE ${meant(selection)} ORDER BY a.tenant_id, a.aggregate_id FOR UPDATE OF a`

/** Those of them that no other purge was at before. */
export const stillDue = (stones: string): string =>
  `SELECT ${stream("i")} FROM ${given} WHERE NOT ${isOver(stones, "i")} ORDER BY i.tenant_id, i.aggregate_id`

/** The line of an event `e` of the stream `i`, which is the same whatever the settings of the session. */
const line = `concat('{"id":"', e.id, i.head, to_json(e.aggregate_type), ',"version":', e.version, ',"type":', to_json(e.type), ',"eventVersion":',
    e.event_version, ',"payload":', e.payload, ',"metadata":', e.metadata, ',"createdAt":',
    CASE WHEN isfinite(e.created_at) THEN rtrim(to_json(e.created_at AT TIME ZONE interval '0')::text, '"') || 'Z"' ELSE to_json(e.created_at)::text END,
    ',"createdBy":', to_json(e.created_by), E'}\\n')`

/** What all lines of a stream have after the id. */
const head = `'","tenantId":"' || tenant_id || '","aggregateId":"' || aggregate_id || '","aggregateType":'`

/**
 * What the events of streams are: what is said of them in an export, or the digest of that. Another set of rows has another sum of ids, and a row
 * that was written since another of its writers.
 */
export const digests = (
  withLines: boolean
): string => `SELECT ${stream("i")}, x.events::text AS events, coalesce(x.version, 0)::text AS version, x.newest::text AS newest,
    coalesce(x.ids, 0)::text AS ids, coalesce(x.writes, 0)::text AS writes, coalesce(to_json(x.types), '[]')::text AS types,
    coalesce(to_json(x.aggregate_types), '[]')::text AS aggregate_types,
    ${withLines ? "coalesce(x.lines, '')" : "encode(sha256(convert_to(coalesce(x.lines, ''), 'UTF8')), 'hex')"} AS said
  FROM (SELECT tenant_id, aggregate_id, aggregate_type, n, ${head} AS head
      FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (tenant_id uuid, aggregate_id uuid, aggregate_type text)) WITH ORDINALITY
        AS i (tenant_id, aggregate_id, aggregate_type, n) OFFSET 0) AS i
    CROSS JOIN LATERAL (SELECT count(*) AS events, max(l.version) AS version, max(l.id) AS newest, sum(l.id) AS ids, sum(l.writer) AS writes,
        array_agg(l.type) AS types, array_agg(l.aggregate_type) AS aggregate_types, string_agg(l.line, '') AS lines
      FROM (SELECT e.id, e.version, e.type, e.aggregate_type, e.xmin::text::bigint AS writer, ${line} AS line
        FROM kumiko_events e WHERE ${same("e")} ORDER BY e.version) AS l) AS x
  ORDER BY i.n`

/**
 * Deletes the events, and sets tombstones where `by` says so. The ids are given as a list too: they are looked up in one walk of the index then,
 * as by a bare deletion.
 */
export const remove = (stones: string, by: Option.Option<PurgedBy>): string => {
  const insert = Option.match(by, {
    onNone: () => "",
    onSome: ({ purgedBy, runId }) => `, stones AS (
      INSERT INTO ${stones} (tenant_id, aggregate_id, aggregate_type, last_version, events, sha256, purged_at, purged_by, run_id)
      SELECT d.tenant_id, d.aggregate_id, d.aggregate_type, d.version, d.events, d.sha256, clock_timestamp(), ${literal(purgedBy)}, ${literal(runId)}::uuid
      FROM jsonb_to_recordset($3::jsonb) AS d (tenant_id uuid, aggregate_id uuid, aggregate_type text, version integer, events bigint, sha256 text)
      ON CONFLICT DO NOTHING)`
  })
  return `WITH gone AS (
      DELETE FROM kumiko_events e WHERE e.aggregate_id = ANY ($2::uuid[])
        AND (e.tenant_id, e.aggregate_id) IN (SELECT i.tenant_id, i.aggregate_id FROM ${given})
      RETURNING e.id, e.xmin::text::bigint AS writer
    )${insert}
    SELECT count(*)::text AS events, coalesce(sum(g.id), 0)::text AS ids, coalesce(sum(g.writer), 0)::text AS writes FROM gone g`
}

const ours: ReadonlyArray<Known> = ["es_ops_snapshots", "es_ops_dead_letters"]

/** Whose columns are ours to know; others are compared as text. */
const deleting = (there: StreamTables, table: Known): string =>
  ours.includes(table) || table === "kumiko_snapshots"
    ? `DELETE FROM ${there.name(table)} t USING ${given} WHERE ${same("t")} RETURNING 1`
    : `DELETE FROM ${there.name(table)} t USING ${given}
        WHERE t.tenant_id::text = i.tenant_id::text AND t.aggregate_id::text = i.aggregate_id::text RETURNING 1`

/** The tables that have rows of streams besides. */
export const snapshotTables: ReadonlyArray<Known> = ["es_ops_snapshots", "kumiko_snapshots"]
export const letterTables: ReadonlyArray<Known> = [
  "es_ops_dead_letters",
  "kumiko_rebuild_dead_letters",
  "kumiko_upcaster_dead_letters"
]

/** Deletes what is there besides. */
export const along = (there: StreamTables): string => {
  const tables = [...snapshotTables, ...letterTables].filter(there.has)
  const sum = (some: ReadonlyArray<Known>) =>
    ["0", ...some.filter(there.has).map((table) => `(SELECT count(*) FROM gone_of_${table})`)].join(" + ")
  const parts = tables.map((table) => `gone_of_${table} AS (${deleting(there, table)})`)
  return `${parts.length === 0 ? "" : `WITH ${parts.join(", ")} `}SELECT (${sum(snapshotTables)})::text AS snapshots, (${sum(letterTables)})::text AS dead_letters`
}

const consumers = "FROM kumiko_event_consumers c WHERE c.status IS DISTINCT FROM 'disabled'"

const owing = (newest: string): string =>
  `SELECT c.name::text AS consumer, c.instance_id::text AS instance, coalesce(c.last_processed_event_id, 0)::text AS processed, n.newest::text AS newest
    FROM kumiko_event_consumers c, ${newest}
    WHERE c.status IS DISTINCT FROM 'disabled' AND coalesce(c.last_processed_event_id, 0) < n.newest ORDER BY 1, 2`

/** The consumers that owe events of streams that are due. */
export const behind = (selection: PurgeSelection, stones: string): string =>
  owing(`(SELECT max(e.id) AS newest FROM (SELECT a.tenant_id, a.aggregate_id FROM ${dueMarks(selection, stones)}) AS i
      JOIN kumiko_events e ON ${same("e")} AND e.id > (SELECT min(coalesce(c.last_processed_event_id, 0)) ${consumers})) AS n`)

export const owed = (newest: bigint): string => owing(`(SELECT ${newest}::bigint AS newest) AS n`)

/** Which of some event types streams have that are due. */
export const eventTypes = (selection: PurgeSelection, stones: string): string =>
  `SELECT DISTINCT e.type FROM (SELECT a.tenant_id, a.aggregate_id FROM ${dueMarks(selection, stones)}) AS i
    JOIN kumiko_events e ON ${same("e")} WHERE e.type = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))`

export const leftover = (stones: string, runId: string): string =>
  `SELECT p.tenant_id::text AS tenant_id, p.aggregate_id::text AS aggregate_id, x.events::text AS events
    FROM ${stones} p CROSS JOIN LATERAL (SELECT count(*) AS events FROM kumiko_events e WHERE ${same("e", "p")}) AS x
    WHERE p.run_id = ${literal(runId)}::uuid AND x.events > 0 ORDER BY p.tenant_id, p.aggregate_id`
