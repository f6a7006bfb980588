/**
 * The statements of moves. Each takes the moves as one jsonb parameter. Payloads, metadata, dates and ids are never touched.
 */
import type { StreamTables } from "./StreamTables.js"

const moves = "jsonb_to_recordset($1::jsonb) AS m (aggregate_id uuid, source uuid, target uuid)"

/** Every wait of the transaction from here on, so that writers wait no longer. */
export const patience = "SELECT set_config('lock_timeout', '30', true)"

/** Readers go on, and so do sessions that lock rows; writers wait. */
export const lock = "LOCK TABLE kumiko_events IN SHARE ROW EXCLUSIVE MODE"

/** The session with the oldest transaction that has a lock in the way of that. */
export const holder = `SELECT l.pid::text AS pid, coalesce(a.application_name, '') AS application_name,
    to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
  FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'relation' AND l.relation = to_regclass('kumiko_events') AND l.granted AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
  ORDER BY a.xact_start LIMIT 1`

const place = (tenant: "source" | "target") => `CROSS JOIN LATERAL (
      SELECT (array_agg(aggregate_type ORDER BY version))[1] AS aggregate_type, count(*) AS events, coalesce(max(version), 0) AS version,
        coalesce(jsonb_agg(DISTINCT type), '[]') AS types,
        EXISTS (SELECT FROM kumiko_archived_streams a WHERE a.tenant_id = m.${tenant} AND a.aggregate_id = m.aggregate_id) AS archived
      FROM kumiko_events e WHERE e.tenant_id = m.${tenant} AND e.aggregate_id = m.aggregate_id) AS ${tenant}_place`

const flag = (condition: string) => `CASE WHEN ${condition} THEN 't' ELSE 'f' END`

/** What there is of streams at both tenants. */
export const look = `SELECT m.aggregate_id::text, m.source::text, m.target::text,
    source_place.aggregate_type AS source_type, source_place.events::text AS source_events, source_place.version::text AS source_version,
    ${flag("source_place.archived")} AS source_archived,
    target_place.aggregate_type AS target_type, target_place.events::text AS target_events, target_place.version::text AS target_version,
    ${flag("target_place.archived")} AS target_archived,
    (SELECT coalesce(jsonb_agg(DISTINCT t), '[]') FROM jsonb_array_elements(source_place.types || target_place.types) AS t)::text AS types,
    (SELECT coalesce(jsonb_agg(k.key ORDER BY k.key), '[]') FROM (
      SELECT DISTINCT e.metadata->>'idempotencyKey' AS key
      FROM kumiko_events e JOIN kumiko_events o ON o.tenant_id = m.target
        AND (o.metadata->>'idempotencyKey') = (e.metadata->>'idempotencyKey') AND (o.metadata->>'idempotencyKey') IS NOT NULL
      WHERE e.tenant_id = m.source AND e.aggregate_id = m.aggregate_id AND (e.metadata->>'idempotencyKey') IS NOT NULL
      LIMIT 3) AS k)::text AS taken
  FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (aggregate_id uuid, source uuid, target uuid))
      WITH ORDINALITY AS m (aggregate_id, source, target, n) ${place("source")} ${place("target")}
  ORDER BY m.n`

const setTenant = (table: string): string =>
  `UPDATE ${table} t SET tenant_id = m.target FROM ${moves} WHERE t.tenant_id = m.source AND t.aggregate_id = m.aggregate_id`

/** Deletes the rows of streams at one of the tenants, or at both. */
const deleted = (table: string, tenants: string): string =>
  `DELETE FROM ${table} t USING ${moves} WHERE t.aggregate_id = m.aggregate_id AND t.tenant_id IN (${tenants})`

/** What goes along with the events, besides snapshots. */
const along = (there: StreamTables): ReadonlyArray<string> => [
  // Where both are archived, the mark of the target stays.
  `DELETE FROM kumiko_archived_streams t USING ${moves} WHERE t.tenant_id = m.source AND t.aggregate_id = m.aggregate_id
    AND EXISTS (SELECT FROM kumiko_archived_streams o WHERE o.tenant_id = m.target AND o.aggregate_id = m.aggregate_id)`,
  setTenant("kumiko_archived_streams"),
  ...(there.has("es_ops_dead_letters") ? [setTenant(there.name("es_ops_dead_letters"))] : [])
]

/** Moves streams to tenants that have no event of them. */
export const move = (there: StreamTables): ReadonlyArray<string> => [
  setTenant("kumiko_events"),
  ...along(there),
  // What the target has of no event is no snapshot.
  ...(there.has("es_ops_snapshots")
    ? [deleted(there.name("es_ops_snapshots"), "m.target"), setTenant(there.name("es_ops_snapshots"))]
    : []),
  ...(there.has("kumiko_snapshots") ? [deleted("kumiko_snapshots", "m.source")] : [])
]

/**
 * Numbers the events of both in the order of their ids: first above all that there are and will be, as a unique index is checked row by row, and
 * then from 1.
 */
export const merge = (there: StreamTables): ReadonlyArray<string> => [
  `WITH ranked AS (
      SELECT e.id, m.target, row_number() OVER (PARTITION BY m.aggregate_id ORDER BY e.id) AS n,
        count(*) OVER (PARTITION BY m.aggregate_id) AS events, max(e.version) OVER (PARTITION BY m.aggregate_id) AS version
      FROM ${moves} JOIN kumiko_events e ON e.aggregate_id = m.aggregate_id AND e.tenant_id IN (m.source, m.target)
    )
    UPDATE kumiko_events t SET tenant_id = r.target, version = r.n + greatest(r.events, r.version)
    FROM ranked r WHERE t.id = r.id`,
  `WITH least AS (
      SELECT m.aggregate_id, m.target, min(e.version) - 1 AS above
      FROM ${moves} JOIN kumiko_events e ON e.aggregate_id = m.aggregate_id AND e.tenant_id = m.target
      GROUP BY m.aggregate_id, m.target
    )
    UPDATE kumiko_events t SET version = t.version - l.above
    FROM least l WHERE t.aggregate_id = l.aggregate_id AND t.tenant_id = l.target`,
  ...along(there),
  ...(there.has("es_ops_snapshots") ? [deleted(there.name("es_ops_snapshots"), "m.source, m.target")] : []),
  ...(there.has("kumiko_snapshots") ? [deleted("kumiko_snapshots", "m.source, m.target")] : [])
]

/** The events of the sources that do not follow on version 0 without a gap. */
const left = `SELECT e.id, e.type, m.aggregate_id, m.source, m.target, e.version,
    row_number() OVER (PARTITION BY m.aggregate_id, m.source ORDER BY e.version) AS n
  FROM ${moves} JOIN kumiko_events e ON e.aggregate_id = m.aggregate_id AND e.tenant_id = m.source`

/** The streams that have such events. */
export const stragglers = `SELECT l.aggregate_id::text, l.source::text, l.target::text, count(*)::text AS events,
    jsonb_agg(DISTINCT l.type)::text AS types
  FROM (${left}) AS l WHERE l.version <> l.n GROUP BY l.aggregate_id, l.source, l.target`

/** Puts them behind the last version of the target, in the order of their versions. */
export const putBehind = (there: StreamTables): ReadonlyArray<string> => [
  `WITH behind AS (
      SELECT l.id, l.target, row_number() OVER (PARTITION BY l.aggregate_id ORDER BY l.version) + coalesce((
        SELECT max(o.version) FROM kumiko_events o WHERE o.aggregate_id = l.aggregate_id AND o.tenant_id = l.target), 0) AS version
      FROM (${left}) AS l WHERE l.version <> l.n
    )
    UPDATE kumiko_events t SET tenant_id = b.target, version = b.version FROM behind b WHERE t.id = b.id`,
  ...(there.has("kumiko_snapshots") ? [deleted("kumiko_snapshots", "m.source")] : [])
]
