/**
 * The statements about the table of snapshots. Pure, but for its name.
 */
import * as Effect from "effect/Effect"
import * as PgTime from "../client/PgTime.js"
import type { PgSchema } from "../schema/PgSchema.js"
import type { PgTable } from "../schema/PgTable.js"

/** The table of snapshots. */
export const tableOf = ({ kinds }: PgSchema["Type"]): Effect.Effect<PgTable> => {
  const table = kinds.get("es_ops_snapshots")
  return table === undefined
    ? Effect.dieMessage("the table of snapshots is declared among those of kinds")
    : Effect.succeed(table)
}

const columns = `id::text, tenant_id::text, aggregate_id::text, aggregate_type, version::text, type, event_version::text,
    payload::text, metadata::text, ${PgTime.select("created_at")}, created_by`

const stream = "tenant_id = $1::uuid AND aggregate_id = $2::uuid"

/** The events of a stream: tenant, aggregate. */
export const events = `SELECT ${columns} FROM kumiko_events e WHERE ${stream} ORDER BY e.version`

/** Whether the event with which a snapshot ends is there. A row that another program wrote need not say its id. */
const isUsable = `EXISTS (SELECT FROM kumiko_events e WHERE e.tenant_id = s.tenant_id AND e.aggregate_id = s.aggregate_id
      AND e.version = s.version AND (s.event_id IS NULL OR s.event_id = e.id))`

/** The newest snapshot, as a row without an id, and the events behind it: tenant, aggregate, aggregate type, snapshot version. */
export const load = (table: string): string => `WITH newest AS MATERIALIZED (
    SELECT s.version, s.state::text AS state FROM ${table} s
    WHERE s.tenant_id = $1::uuid AND s.aggregate_id = $2::uuid AND s.aggregate_type = $3::text
      AND s.snapshot_version = $4::integer AND ${isUsable}
    ORDER BY s.version DESC LIMIT 1
  )
  SELECT * FROM (
    SELECT NULL AS id, NULL AS tenant_id, NULL AS aggregate_id, NULL AS aggregate_type, n.version::text, NULL AS type,
      NULL AS event_version, n.state AS payload, NULL AS metadata, NULL AS created_at, NULL AS created_by
    FROM newest n
    UNION ALL
    SELECT ${columns} FROM kumiko_events e WHERE ${stream} AND e.version > coalesce((SELECT n.version FROM newest n), 0)
  ) AS tail ORDER BY tail.version::integer, tail.id IS NOT NULL`

/** Tenant, aggregate, aggregate type, snapshot version, version, id of the event, state. */
export const save = (table: string): string => `WITH saved AS (
    INSERT INTO ${table} AS s (tenant_id, aggregate_id, aggregate_type, snapshot_version, version, event_id, state)
    SELECT $1::uuid, $2::uuid, $3::text, $4::integer, $5::integer, $6::bigint, $7::jsonb
    WHERE EXISTS (SELECT FROM kumiko_events WHERE ${stream} AND version = $5::integer AND id = $6::bigint)
    ON CONFLICT (tenant_id, aggregate_type, aggregate_id, snapshot_version, version)
      DO UPDATE SET event_id = excluded.event_id, state = excluded.state, created_at = excluded.created_at
    RETURNING version
  )
  DELETE FROM ${table} s USING saved WHERE s.tenant_id = $1::uuid AND s.aggregate_type = $3::text AND s.aggregate_id = $2::uuid
    AND s.snapshot_version = $4::integer AND s.version < saved.version`

/** The folded states that a statement is given, as JSON: $1. The aggregate type is $2, the snapshot version $3. */
const input = `input AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS i (n integer, tenant_id uuid, aggregate_id uuid, version integer, event_id bigint,
      "isHead" boolean, state jsonb)
  )`

/**
 * Which of the folded states differ from what is stored. The end of a stream is stored unless a newer snapshot is there, which a live writer took; jsonb
 * is compared as text, since 1.1 and 1.10 are the same to its own comparison.
 */
const found = (table: string) => `found AS MATERIALIZED (
    SELECT i.n, CASE WHEN s.version IS NOT NULL THEN 'different' WHEN EXISTS (
        SELECT FROM ${table} s WHERE s.tenant_id = i.tenant_id AND s.aggregate_type = $2::text AND s.aggregate_id = i.aggregate_id
          AND s.snapshot_version = $3::integer AND s.version > i.version AND ${isUsable}
      ) THEN 'newer' WHEN EXISTS (
        SELECT FROM ${table} o WHERE o.tenant_id = i.tenant_id AND o.aggregate_type = $2::text AND o.aggregate_id = i.aggregate_id
          AND o.snapshot_version = $3::integer AND o.version < i.version
      ) THEN 'behind' ELSE 'missing' END AS kind
    FROM input i LEFT JOIN LATERAL (
        SELECT s.version, s.state, s.event_id FROM ${table} s WHERE s.tenant_id = i.tenant_id AND s.aggregate_type = $2::text
          AND s.aggregate_id = i.aggregate_id AND s.snapshot_version = $3::integer AND s.version = i.version LIMIT 1
      ) AS s ON true
    WHERE s.state::text <> i.state::text OR s.event_id <> i.event_id OR (s.version IS NULL AND i."isHead")
  )`

/** Compares: n and kind of each that differs. */
export const compare = (table: string): string =>
  `WITH ${input}, ${found(table)} SELECT n::text, kind FROM found WHERE kind <> 'newer' ORDER BY n`

/** The same, and writes those; n of those that have a newer one, too. */
export const mend = (table: string): string => `WITH ${input}, ${found(table)}, written AS (
    INSERT INTO ${table} AS s (tenant_id, aggregate_id, aggregate_type, snapshot_version, version, event_id, state)
    SELECT i.tenant_id, i.aggregate_id, $2::text, $3::integer, i.version, i.event_id, i.state
    FROM input i JOIN found USING (n) WHERE kind <> 'newer' ORDER BY i.tenant_id, i.aggregate_id, i.version
    ON CONFLICT (tenant_id, aggregate_type, aggregate_id, snapshot_version, version)
      DO UPDATE SET event_id = excluded.event_id, state = excluded.state, created_at = excluded.created_at
    RETURNING 1
  )
  SELECT n::text, kind FROM found ORDER BY n`

/** A row where there is any: aggregate type, snapshot version. */
export const areStored = (table: string): string =>
  `SELECT s.tenant_id::text FROM ${table} s WHERE s.aggregate_type = $1::text AND s.snapshot_version = $2::integer LIMIT 1`

/**
 * The versions of the snapshots of streams: aggregate type, snapshot version, streams as JSON. Each stream is looked up by itself: a table that was
 * filled just now has no statistics, and a join would be one of all with all.
 */
export const versions = (table: string): string => `SELECT i.tenant_id::text, i.aggregate_id::text, s.version::text
  FROM jsonb_to_recordset($3::jsonb) AS i (tenant_id uuid, aggregate_id uuid) CROSS JOIN LATERAL (
    SELECT s.version FROM ${table} s WHERE s.tenant_id = i.tenant_id AND s.aggregate_type = $1::text AND s.aggregate_id = i.aggregate_id
      AND s.snapshot_version = $2::integer ORDER BY s.version
  ) AS s`

/** Snapshots of no stream, of what is beyond the end of theirs, and of older versions: aggregate type, snapshot version. */
const strays = (
  table: string
) => `SELECT s.ctid AS place, s.tenant_id, s.aggregate_id, s.snapshot_version, s.version, CASE
      WHEN last.aggregate_type IS DISTINCT FROM s.aggregate_type THEN 'orphaned'
      WHEN last.version < s.version THEN 'beyond'
      WHEN s.snapshot_version < $2::integer THEN 'outdated' END AS kind
    FROM ${table} s LEFT JOIN LATERAL (
      SELECT e.aggregate_type, e.version FROM kumiko_events e WHERE e.tenant_id = s.tenant_id AND e.aggregate_id = s.aggregate_id
      ORDER BY e.version DESC LIMIT 1
    ) AS last ON true WHERE s.aggregate_type = $1::text`

const stray = `x.tenant_id::text, x.aggregate_id::text, x.snapshot_version::text, x.version::text, x.kind`

/** Lists them, the first $3 of each kind, with the number of their kind. */
export const listStrays = (table: string): string => `SELECT ${stray}, x.all_of_kind::text FROM (
    SELECT *, count(*) OVER (PARTITION BY kind) AS all_of_kind,
      row_number() OVER (PARTITION BY kind ORDER BY aggregate_id, tenant_id, version) AS place_in_kind
    FROM (${strays(table)}) AS s WHERE kind IS NOT NULL
  ) AS x WHERE x.place_in_kind <= $3::integer ORDER BY x.kind, x.place_in_kind`

/** Deletes up to $3 of them, in one statement that reads the ends of the streams itself. */
export const removeStrays = (table: string): string => `DELETE FROM ${table} d
  USING (SELECT * FROM (${strays(table)}) AS s WHERE kind IS NOT NULL LIMIT $3::integer) AS x
  WHERE d.ctid = x.place RETURNING ${stray}, '1' AS all_of_kind`
