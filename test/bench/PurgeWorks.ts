/**
 * What purging archived streams costs: everything that is kept of them, beside the deletion alone.
 */
import { StreamPurge } from "effect-es-ops"
import { mkdtemp, open, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Orders from "./Orders.mjs"
import * as RebuildWorks from "./RebuildWorks.js"
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

const remove = "DELETE FROM kumiko_events WHERE aggregate_id = ANY($1::uuid[])"

/** What the server takes to say events as lines, no matter who asks. */
const lines = `SELECT string_agg(row_to_json(e)::text, E'\\n' ORDER BY e.aggregate_id, e.version) AS lines
  FROM kumiko_events e WHERE aggregate_id = ANY($1::uuid[])`

/** Beside the bare deletion: a purge without or with its export, or the bare driver that writes the lines and then deletes. */
const purge = (world: World, how: "plain" | "export" | "bare") => async () => {
  const url = await world.database()
  const bare = await Worlds.connected(url)
  await createTables(url)
  const app = Worlds.application(url, {})
  const folder = await mkdtemp(join(tmpdir(), "es-ops-bench-purge-"))
  let files = 0
  const nextFile = () => join(folder, `${files++}.jsonl`)
  const run = (file?: string) =>
    app.runPromise(StreamPurge.run({ archivedBefore: "1 day", types: ["order"], tenantId: tenant, export: file }))
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
  const inThousands = async (work: (some: ReadonlyArray<string>) => Promise<unknown>) => {
    for (let at = 0; at < ids.length; at += 1000) await work(ids.slice(at, at + 1000))
  }
  const byHand = async () => {
    const file = await open(nextFile(), "wx")
    await inThousands(async (some) => {
      const { rows } = await bare.query<{ lines: string }>(lines, [some])
      await file.write(`${rows[0]?.lines ?? ""}\n`)
      await file.sync()
      await bare.query(remove, [some])
    })
    await file.close()
  }
  const byUs = async () => {
    const { events: gone } = await run(how === "export" ? nextFile() : undefined)
    if (gone !== streams * each) throw new Error(`${gone} events were deleted`)
  }
  return {
    floor: { prepare, run: () => inThousands((some) => bare.query(remove, [some])) },
    ours: { prepare, run: how === "bare" ? byHand : byUs },
    close: async () => {
      await app.dispose()
      await bare.end()
      await rm(folder, { recursive: true })
    }
  }
}

/** In how many parts the streams are purged, one a round. */
const parts = 8

/** Marks the next part of the streams, and never those that the writer writes. */
const markPart = `INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_at, archived_by)
  SELECT '00000000-0000-4000-8000-000000000001', id, 'order', now() - interval '1 year', 'u'
  FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM read_orders) r WHERE n > 1000 ORDER BY id LIMIT $1`

/** The longest stop of a writer of other streams, with a purge beside it and without. */
const besideWriters = (world: World) => async () => {
  const url = await RebuildWorks.filled(world)
  const bare = await Worlds.connected(url)
  const app = Orders.application(url)
  await Orders.rebuild(app, "by-order")
  await bare.query("VACUUM ANALYZE")
  const some = Math.floor((RebuildWorks.events / Orders.length - 1000) / parts)
  let lasts = 2_000
  return {
    floor: { run: () => RebuildWorks.longest(url, () => new Promise((resolve) => setTimeout(resolve, lasts))) },
    ours: {
      prepare: () => bare.query(markPart, [some]),
      run: () =>
        RebuildWorks.longest(url, async () => {
          const from = performance.now()
          const { streams } = await app.runPromise(StreamPurge.run({ archivedBefore: "1 day", types: ["order"] }))
          if (streams !== some) throw new Error(`${streams} streams were purged`)
          lasts = performance.now() - from
        })
    },
    close: () => Promise.all([app.dispose(), bare.end()])
  }
}

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "purge",
    work: "stream:purge of 100,000 events in 5,000 archived streams, with digests and tombstones",
    floor: "DELETE … = ANY(1,000 streams)",
    target: 2,
    rounds: 5,
    open: purge(world, "plain")
  },
  {
    name: "purge-export",
    work: "the same with an export",
    floor: "DELETE … = ANY(1,000 streams)",
    target: 2,
    rounds: 5,
    open: purge(world, "export")
  },
  {
    name: "purge-by-hand",
    work: "the events as lines, written and synced by the bare driver, then the deletion, without digests and tombstones",
    floor: "DELETE … = ANY(1,000 streams)",
    rounds: 5,
    open: purge(world, "bare")
  },
  {
    name: "purge-writers",
    work: "a writer's longest transaction on other streams beside stream:purge of an eighth of them",
    floor: "its longest without, in the same time",
    target: 1,
    allowance: 100,
    rounds: 5,
    open: besideWriters(world)
  }
]
