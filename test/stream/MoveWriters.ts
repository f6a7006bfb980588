/**
 * Writers that append behind the version that they have seen, and know nothing of moves: with the check inside the INSERT and before it, at each level
 * of isolation.
 */
import { randomUUID } from "node:crypto"
import type { Client } from "pg"

const head = `SELECT tenant_id, max(version) AS version FROM kumiko_events WHERE aggregate_id = $1
  GROUP BY tenant_id ORDER BY max(version) DESC LIMIT 1`

const blind = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  VALUES ($1, 'order', $2, $3, 'order.shipped', $4::jsonb, '{"userId": "u"}', 'u') RETURNING id`

const checked = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  SELECT $1::uuid, 'order', $2::uuid, $3::integer, 'order.shipped', $4::jsonb, '{"userId": "u"}', 'u'
  WHERE (SELECT max(version) FROM kumiko_events WHERE tenant_id = $2::uuid AND aggregate_id = $1::uuid) = $3::integer - 1 RETURNING id`

/** Each kind of writer. */
export const kinds = [
  ["READ COMMITTED", blind],
  ["READ COMMITTED", checked],
  ["REPEATABLE READ", blind],
  ["SERIALIZABLE", checked]
] as const

/** One write behind the version that it has seen; gives what it wrote if the server has acknowledged it. */
export const write = async (client: Client, isolation: string, insert: string, aggregateId: string) => {
  const n = randomUUID()
  try {
    await client.query(`BEGIN ISOLATION LEVEL ${isolation}`)
    const { rows } = await client.query<{ readonly tenant_id: string; readonly version: number }>(head, [aggregateId])
    const [at] = rows
    const written = await client.query(insert, [
      aggregateId,
      at?.tenant_id,
      (at?.version ?? 0) + 1,
      JSON.stringify({ n })
    ])
    await client.query("COMMIT")
    return written.rowCount === 1 ? [n] : []
  } catch {
    await client.query("ROLLBACK")
    return []
  }
}
