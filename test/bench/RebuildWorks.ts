/**
 * What rebuilds cost: beside the reading of the same events, beside COPY, beside others who rebuild, and for those who write meanwhile.
 */
import { Seed, SeedContext, SeedRunner } from "effect-es-ops"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { env } from "node:process"
import type { Client } from "pg"
import * as EmmettWorks from "./EmmettWorks.js"
import * as Orders from "./Orders.mjs"
import type { Side, Work } from "./Rounds.js"
import { measured } from "./Rounds.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

/** How many events there are; fewer of them are enough to look for what is slow. */
export const events = Number(env["ES_OPS_BENCH_EVENTS"] ?? "1000000")

/** Ids of version 7, whose streams overlap in time; payloads of 200 bytes. */
const fillStatement = (count: number) => `INSERT INTO kumiko_events
    (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  SELECT (substr(t, 1, 8) || '-' || substr(t, 9, 4) || '-7' || substr(md5(s::text), 1, 3) || '-8' || substr(md5(s::text), 4, 3) || '-' || substr(md5(s::text), 7, 12))::uuid,
    'order', '00000000-0000-4000-8000-000000000001', v, 'order.changed',
    jsonb_build_object('amount', s % 97 + v, 'customer', 'customer-' || s % 10000, 'note', repeat('n', 140)), '{"userId":"bench"}', 'bench'
  FROM generate_series(1, ${Math.ceil(count / Orders.length)}) AS s, generate_series(1, ${Orders.length}) AS v, lpad(to_hex(1764000000000 + s * 20), 12, '0') AS t
  ORDER BY s + v * 500, s, v`

/** The URL of a database with so many events, and all tables. */
export const filled = (world: World, count = events): Promise<string> =>
  world.copy(`bench_events_${count}`, async (url) => {
    const app = Orders.application(url)
    await app.runPromise(SeedRunner.apply({ appliedBy: "boot" }))
    const first = Orders.application(url, [Orders.feature], {
      tables: Seed.make({ description: "none", run: Effect.void })
    })
    await first.runPromise(SeedRunner.apply({ appliedBy: "boot" }))
    await Promise.all([app.dispose(), first.dispose()])
    const bare = await Worlds.connected(url)
    await bare.query(fillStatement(count))
    await bare.query("VACUUM ANALYZE kumiko_events")
    await bare.query("CHECKPOINT")
    await bare.end()
  })

const page = 10_000

/** All events in pages, as the bare driver reads them, parsed and thrown away. */
const read = async (bare: Client): Promise<number> => {
  let after = "0"
  for (let count = 0; ;) {
    const { rows } = await bare.query<{ id: string }>(
      `SELECT * FROM kumiko_events WHERE id > $1 ORDER BY id LIMIT ${page}`,
      [after]
    )
    count += rows.length
    after = rows.at(-1)?.id ?? after
    if (rows.length < page) return count
  }
}

/** The least that it takes to look at every event. */
export const reading = (bare: Client): Side => ({ run: () => read(bare) })

/** Rebuilds an empty table. */
const rebuilding = (url: string, bare: Client, projection: string, table: string) => {
  const app = Orders.application(url)
  const side: Side = {
    prepare: () => bare.query(`TRUNCATE ${table}`),
    run: async () => {
      const report = await Orders.rebuild(app, projection)
      if (report.rows.inserted === 0) throw new Error("nothing was written")
    }
  }
  return { side, close: () => app.dispose() }
}

const besideReading = (world: World, projection: string, table: string) => async () => {
  const url = await filled(world)
  const bare = await Worlds.connected(url)
  const { close, side } = rebuilding(url, bare, projection, table)
  return { floor: reading(bare), ours: side, close: () => Promise.all([close(), bare.end()]) }
}

/** The rows themselves, from a file on the server, into a table that has no index yet. */
const copied = async (bare: Client): Promise<Side> => {
  const { rows } = await bare.query<{ file: string }>(
    "SELECT current_setting('data_directory') || '/bench_changes.copy' AS file"
  )
  const file = rows[0]?.file ?? ""
  await bare.query(
    `COPY (SELECT id, aggregate_id, payload->>'customer', (payload->>'amount')::int FROM kumiko_events ORDER BY id) TO '${file}'`
  )
  return {
    prepare: () =>
      bare.query(
        "DROP TABLE IF EXISTS copied; CREATE TABLE copied (event_id bigint NOT NULL, order_id uuid NOT NULL, customer text NOT NULL, amount integer NOT NULL)"
      ),
    run: async () => {
      await bare.query(`COPY copied FROM '${file}'`)
      await bare.query("ALTER TABLE copied ADD PRIMARY KEY (event_id)")
      await bare.query("CREATE INDEX ON copied (order_id)")
      await bare.query("CREATE INDEX ON copied (customer)")
    }
  }
}

const besideCopy = (world: World) => async () => {
  const url = await filled(world)
  const bare = await Worlds.connected(url)
  const { close, side } = rebuilding(url, bare, "by-event", "read_changes")
  return { floor: await copied(bare), ours: side, close: () => Promise.all([close(), bare.end()]) }
}

/** What is below us in that: the same events read by the bare driver. */
const readingBesideCopy = (world: World) => async () => {
  const url = await filled(world)
  const bare = await Worlds.connected(url)
  return { floor: await copied(bare), ours: reading(bare), close: () => bare.end() }
}

/** Answers with the time for 1,000 events. */
const aThousand = (count: number, run: () => Promise<unknown>) => async () => {
  const from = performance.now()
  await run()
  return measured(((performance.now() - from) * 1000) / count)
}

/** One upsert an event in one transaction, events in pages: of some of them, as each takes as long as the one before. */
const upserting = (bare: Client, count: number): Side => ({
  prepare: () => bare.query("TRUNCATE read_orders"),
  run: aThousand(count, async () => {
    await bare.query("BEGIN")
    let after = "0"
    for (let done = 0; done < count; done += page) {
      const { rows } = await bare.query<{
        id: string
        aggregate_id: string
        payload: { amount: number; customer: string }
      }>(`SELECT * FROM kumiko_events WHERE id > $1 ORDER BY id LIMIT ${page}`, [after])
      for (const { aggregate_id: id, payload } of rows)
        await bare.query(Orders.upsert, [id, payload.amount, payload.customer])
      after = rows.at(-1)?.id ?? after
    }
    await bare.query("COMMIT")
  })
})

const besideUpserts = (world: World) => async () => {
  const url = await filled(world)
  const bare = await Worlds.connected(url)
  const { close, side } = rebuilding(url, bare, "by-order", "read_orders")
  return {
    floor: upserting(bare, Math.min(events, 50_000)),
    ours: { ...side, run: aThousand(events, side.run) },
    close: () => Promise.all([close(), bare.end()])
  }
}

/** What is below us in that: the same events read by the bare driver. */
const readingBesideUpserts = (world: World) => async () => {
  const url = await filled(world)
  const bare = await Worlds.connected(url)
  return {
    floor: upserting(bare, Math.min(events, 50_000)),
    ours: { run: aThousand(events, () => read(bare)) },
    close: () => bare.end()
  }
}

const besideEmmett = (world: World) => async () => {
  const url = await filled(world)
  const bare = await Worlds.connected(url)
  const count = Math.min(events, 10_000)
  const emmett = await EmmettWorks.open(await world.database(), bare, count)
  const { close, side } = rebuilding(url, bare, "by-order", "read_orders")
  return {
    floor: { prepare: emmett.prepare, run: aThousand(count, emmett.rebuild) },
    ours: { ...side, run: aThousand(events, side.run) },
    close: () => Promise.all([close(), emmett.close(), bare.end()])
  }
}

/** The highest resident set of a process of its own that rebuilds so many events. */
const peak = (world: World, count: number): Side => ({
  run: async () => {
    const child = Worlds.program("Rebuild.mjs", [await filled(world, count), "by-order"])
    const said = await child.next()
    await child.ended
    return measured(Number(said))
  }
})

/** The longest transaction of a writer, while `work` is done. */
export const longest = async (url: string, work: () => Promise<unknown>) => {
  const writer = Worlds.program("Writer.mjs", [url])
  await writer.next()
  await work()
  writer.go()
  const said = await writer.next()
  await writer.ended
  return measured(Number(said))
}

const besideWriters = (world: World) => async () => {
  const url = await filled(world)
  const bare = await Worlds.connected(url)
  const app = Orders.application(url)
  await bare.query("TRUNCATE read_orders")
  await Orders.rebuild(app, "by-order")
  await bare.query("VACUUM ANALYZE read_orders")
  let lasts = 5_000
  return {
    floor: { run: () => longest(url, () => new Promise((resolve) => setTimeout(resolve, lasts))) },
    ours: {
      prepare: () => bare.query("UPDATE read_orders SET amount = amount + 1 WHERE abs(hashtext(id::text)) % 100 = 0"),
      run: () =>
        longest(url, async () => {
          const from = performance.now()
          const report = await Orders.rebuild(app, "by-order", { mode: "merge" })
          if (report.rows.updated === 0) throw new Error("nothing differed")
          lasts = performance.now() - from
        })
    },
    close: () => Promise.all([app.dispose(), bare.end()])
  }
}

/** A thousand writes on a hundred streams, each with its projection. */
const written = (world: World, way: "fold" | "upsert" | "locked") => async () => {
  const url = await world.database()
  const ids = Array.from({ length: 100 }, () => randomUUID())
  const run = Effect.forEach(
    Array.from({ length: 1000 }, (_, n) => n),
    (n) =>
      SeedContext.systemWriteAs("orders:write:change", {
        id: ids[n % ids.length],
        version: Math.floor(n / ids.length) + 1,
        amount: n
      }),
    { discard: true }
  )
  const app = Orders.application(url, [Orders.writing(way)], {
    many: Seed.make({ description: "many writes", run })
  })
  const bare = await Worlds.connected(url)
  const apply = () => app.runPromise(SeedRunner.apply({ appliedBy: "boot" }))
  await apply()
  const side: Side = {
    prepare: () => bare.query("TRUNCATE kumiko_events, read_orders, kumiko_es_operations, es_ops_attempts"),
    run: apply
  }
  return { side, close: () => Promise.all([app.dispose(), bare.end()]) }
}

const inline = (world: World, way: "fold" | "locked") => async () => {
  const [byHand, folded] = [await written(world, "upsert")(), await written(world, way)()]
  return { floor: byHand.side, ours: folded.side, close: () => Promise.all([byHand.close(), folded.close()]) }
}

const standing = async (world: World, count: number) => {
  const app = Orders.application(await filled(world, count))
  await Orders.status(app)
  return { side: { run: () => Orders.status(app), repeat: 200 }, close: () => app.dispose() }
}

const status = (world: World) => async () => {
  const [few, many] = [await standing(world, 1000), await standing(world, events)]
  return { floor: few.side, ours: many.side, close: () => Promise.all([few.close(), many.close()]) }
}

const shown = events.toLocaleString("en")
export const readByDriver = "reading the same events in pages by the bare driver, parsed and thrown away"

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "rebuild-fold",
    work: `rebuild of a fold by aggregate, ${shown} events of ${(events / Orders.length).toLocaleString("en")} streams`,
    floor: readByDriver,
    target: 1 / 0.55,
    rounds: 3,
    open: besideReading(world, "by-order", "read_orders")
  },
  {
    name: "rebuild-fold-other-key",
    work: "rebuild of a fold by another key of 10,000, the same events",
    floor: readByDriver,
    target: 1 / 0.35,
    rounds: 3,
    open: besideReading(world, "by-customer", "read_customers")
  },
  {
    name: "rebuild-rows",
    work: "rebuild of one row an event, three indexes",
    floor: "COPY of the same rows and CREATE INDEX",
    target: 1 / 0.5,
    rounds: 3,
    open: besideCopy(world)
  },
  {
    name: "rebuild-rows-without-us",
    work: readByDriver,
    floor: "COPY of the same rows and CREATE INDEX",
    rounds: 3,
    open: readingBesideCopy(world)
  },
  {
    name: "rebuild-emmett",
    work: "1,000 events of the rebuild by aggregate",
    floor: "1,000 events of emmett-postgresql's rebuild of 10,000, with its defaults",
    target: 1 / 100,
    rounds: 3,
    open: besideEmmett(world)
  },
  {
    name: "rebuild-upserts",
    work: "1,000 events of the rebuild by aggregate",
    floor: "1,000 events by one upsert each, in one transaction",
    target: 1 / 20,
    rounds: 3,
    open: besideUpserts(world)
  },
  {
    name: "rebuild-upserts-without-us",
    work: "1,000 of the same events, read in pages by the bare driver, parsed and thrown away",
    floor: "1,000 events by one upsert each, in one transaction",
    rounds: 3,
    open: readingBesideUpserts(world)
  },
  {
    name: "rebuild-memory",
    work: `peak memory of a rebuild by aggregate, ${shown} events`,
    floor: "the same with a fifth of the events",
    target: 1.2,
    unit: "MiB",
    rounds: 3,
    open: async () => ({ floor: peak(world, events / 5), ours: peak(world, events), close: async () => undefined })
  },
  {
    name: "rebuild-writers",
    work: "a writer's longest transaction beside a rebuild, one row in a hundred differing",
    floor: "its longest without, in the same time",
    target: 1,
    allowance: 50,
    rounds: 5,
    open: besideWriters(world)
  },
  {
    name: "inline-fold",
    work: "1,000 single writes, each with an inline fold",
    floor: "the same with a hand-written upsert",
    target: 1.25,
    rounds: 5,
    open: inline(world, "fold")
  },
  {
    name: "inline-fold-without-us",
    work: "1,000 single writes, each with a row that is locked, read and written by hand, as a fold has to",
    floor: "the same with a hand-written upsert",
    rounds: 5,
    open: inline(world, "locked")
  },
  {
    name: "projection-status",
    work: `ProjectionStatus.status with ${shown} events`,
    floor: "the same with 1,000",
    target: 1.2,
    open: status(world)
  }
]
