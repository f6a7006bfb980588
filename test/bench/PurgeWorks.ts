/**
 * What purging archived streams costs: everything that is kept of them, beside the deletion alone.
 */
import { StreamPurge } from "effect-es-ops"
import type { Work } from "./Rounds.js"
import { createTables } from "./SeedWorks.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const tenant = "7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10"
const streams = 5_000
const each = 20

const events = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  SELECT s.id, 'order', '${tenant}', v, 'order.placed', '{"sku": "a-123456", "amount": 1290, "currency": "EUR", "lines": [{"n": 1, "q": 2}]}',
    '{"userId": "3c2b7d5e-0000-4000-8000-000000000000"}', 'u'
  FROM generate_series(1, ${each}) v, (SELECT gen_random_uuid() AS id FROM generate_series(1, ${streams})) s ORDER BY v`

const marks = `INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_at, archived_by)
  SELECT DISTINCT tenant_id, aggregate_id, aggregate_type, now() - interval '1 year', 'u' FROM kumiko_events`

const purge = (world: World) => async () => {
  const url = await world.database()
  const bare = await Worlds.connected(url)
  await createTables(url)
  const app = Worlds.application(url, {})
  const run = () => app.runPromise(StreamPurge.run({ archivedBefore: "1 day", types: ["order"], tenantId: tenant }))
  await run()
  let ids: ReadonlyArray<string> = []
  const prepare = async () => {
    await bare.query("TRUNCATE kumiko_events, kumiko_archived_streams, es_ops_purged_streams")
    await bare.query(events)
    await bare.query(marks)
    await bare.query("VACUUM ANALYZE")
    await bare.query("CHECKPOINT")
    const { rows } = await bare.query<{ id: string }>(
      "SELECT aggregate_id AS id FROM kumiko_archived_streams ORDER BY 1"
    )
    ids = rows.map(({ id }) => id)
  }
  return {
    floor: {
      prepare,
      run: async () => {
        for (let at = 0; at < ids.length; at += 1000)
          await bare.query("DELETE FROM kumiko_events WHERE aggregate_id = ANY($1::uuid[])", [ids.slice(at, at + 1000)])
      }
    },
    ours: {
      prepare,
      run: async () => {
        const { events: gone } = await run()
        if (gone !== streams * each) throw new Error(`${gone} events were deleted`)
      }
    },
    close: async () => {
      await app.dispose()
      await bare.end()
    }
  }
}

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "purge",
    work: "stream:purge of 100,000 events in 5,000 archived streams, with digests and tombstones",
    floor: "DELETE … = ANY(1,000 streams)",
    target: 2,
    open: purge(world)
  }
]
