/**
 * What snapshots, replays and backfills cost: beside the reading of the same events, and beside the inserts of them.
 */
import { Effect, Option, Schema } from "effect"
import { Aggregate, Backfill, EventBackfill, EventReplay, EventType, Feature, RunObserver } from "effect-es-ops"
import { SnapshotRebuild, Subscriber } from "effect-es-ops"
import * as KindFloors from "./KindFloors.js"
import * as Orders from "./Orders.mjs"
import * as RebuildWorks from "./RebuildWorks.js"
import type { Work } from "./Rounds.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const changed = EventType.make({
  type: "order.changed",
  payload: KindFloors.Payload
})

const order = Aggregate.make({
  type: "order",
  state: KindFloors.State,
  initial: { amount: 0, customer: "" },
  on: [[changed, ({ amount }, { payload }) => ({ amount: amount + payload.amount, customer: payload.customer })]]
})

const nothing = Subscriber.make({ name: "nothing", events: [changed], handle: () => Effect.void })

const legacy = Backfill.make({
  name: "legacy",
  aggregateType: "order",
  source: Backfill.table({
    table: "legacy_orders",
    key: "id",
    row: Schema.Struct({
      amount: Schema.Int,
      customer: Schema.String,
      note: Schema.String,
      at: Schema.DateFromSelf
    })
  }),
  toEvents: ({ amount, at, customer, note }) => [
    Backfill.event(changed, { payload: { amount, customer, note }, occurredAt: at, createdBy: "bench" })
  ]
})

const feature = Feature.make({
  name: "kinds",
  handlers: [],
  aggregates: [order],
  subscribers: [nothing],
  backfills: [legacy]
})

const { silent: observer } = RunObserver

const opened = async (url: string) => {
  const bare = await Worlds.connected(url)
  const app = Orders.application(url, [feature])
  return { app, bare, close: () => Promise.all([app.dispose(), bare.end()]) }
}

const emptied = (table: string) =>
  `DO $$ BEGIN IF to_regclass('${table}') IS NOT NULL THEN TRUNCATE ${table}; END IF; END $$`

const snapshots = (world: World) => async () => {
  const { app, bare, close } = await opened(await RebuildWorks.filled(world))
  const rebuild = SnapshotRebuild.run({ aggregate: "order", appliedBy: "cli", observer })
  return {
    floor: RebuildWorks.reading(bare),
    ours: {
      prepare: () => bare.query(emptied("es_ops_snapshots")),
      run: async () => {
        const { value } = await app.runPromise(rebuild)
        if (!Option.exists(value, ({ missing }) => missing === RebuildWorks.events / Orders.length))
          throw new Error("not every snapshot was stored")
      }
    },
    close
  }
}

/** What is below us in that. */
const snapshotsByHand = (world: World) => async () => {
  const { app, bare, close } = await opened(await RebuildWorks.filled(world))
  await app.runPromise(SnapshotRebuild.run({ aggregate: "order", appliedBy: "cli", observer }))
  return {
    floor: RebuildWorks.reading(bare),
    ours: KindFloors.snapshots(bare, RebuildWorks.events / Orders.length),
    close
  }
}

const few = Math.min(RebuildWorks.events, 100_000)

const replay = (world: World) => async () => {
  const { app, bare, close } = await opened(await RebuildWorks.filled(world, few))
  const deliver = EventReplay.run({ subscriber: "nothing", bounds: { all: true }, appliedBy: "cli", observer })
  return {
    floor: RebuildWorks.reading(bare),
    ours: {
      run: async () => {
        const { value } = await app.runPromise(deliver)
        if (!Option.exists(value, ({ delivered }) => delivered === few))
          throw new Error("not every event was delivered")
      }
    },
    close
  }
}

/** What is below us in that. */
const replayByHand = (world: World) => async () => {
  const { bare, close } = await opened(await RebuildWorks.filled(world, few))
  return { floor: RebuildWorks.reading(bare), ours: KindFloors.deliveries(bare, few), close }
}

const legacyTable = `CREATE TABLE legacy_orders (id bigint PRIMARY KEY, amount integer NOT NULL, customer text NOT NULL, note text NOT NULL,
    at timestamptz NOT NULL);
  INSERT INTO legacy_orders SELECT n, n % 97, 'customer-' || n % 10000, repeat('n', 140), '2020-01-01Z'::timestamptz + n * interval '1 minute'
    FROM generate_series(1, ${few}) n`

/** As many rows in one statement as it takes parameters for. */
const together = 1000

const insertText = (rows: number): string =>
  `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload, metadata, created_at, created_by)
    VALUES ${Array.from({ length: rows }, (_, n) => `($${n * 4 + 1}, 'order', '00000000-0000-4000-8000-000000000001', 1, 'order.changed', 1, $${n * 4 + 2}, $${n * 4 + 3}, $${n * 4 + 4}, 'bench')`).join(", ")}`

const backfill = (world: World) => async () => {
  const { app, bare, close } = await opened(await RebuildWorks.filled(world, 1000))
  await bare.query(legacyTable)
  await bare.query("VACUUM ANALYZE legacy_orders")
  const rows = Array.from({ length: few }, (_, n) => [
    Backfill.streamId("legacy", `${n + 1}`),
    JSON.stringify({ amount: n % 97, customer: `customer-${n % 10_000}`, note: "n".repeat(140) }),
    JSON.stringify({ userId: "bench", headers: { backfill: "legacy", backfillKey: `${n + 1}` } }),
    "2020-01-01T00:00:00Z"
  ])
  const prepare = async () => {
    await bare.query("TRUNCATE kumiko_events")
    await bare.query("VACUUM legacy_orders")
    await bare.query("CHECKPOINT")
  }
  const run = EventBackfill.run({ backfill: "legacy", appliedBy: "cli", observer })
  return {
    floor: {
      prepare,
      run: async () => {
        for (let at = 0; at < few; at += together)
          await bare.query(insertText(together), rows.slice(at, at + together).flat())
      }
    },
    ours: {
      prepare,
      run: async () => {
        const { value } = await app.runPromise(run)
        if (!Option.exists(value, ({ appended }) => appended === few)) throw new Error("not every row was appended")
      }
    },
    close
  }
}

const shown = few.toLocaleString("en")

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "snapshot-rebuild",
    work: `snapshot:rebuild of ${(RebuildWorks.events / Orders.length).toLocaleString("en")} streams, ${RebuildWorks.events.toLocaleString("en")} events`,
    floor: RebuildWorks.readByDriver,
    target: 1 / 0.5,
    rounds: 3,
    open: snapshots(world)
  },
  {
    name: "snapshot-rebuild-without-us",
    work: "the same streams read, decoded and folded by the driver and Schema alone, their states stored a page at a time",
    floor: RebuildWorks.readByDriver,
    rounds: 3,
    open: snapshotsByHand(world)
  },
  {
    name: "replay",
    work: `event:replay of ${shown} events through a subscriber that does nothing`,
    floor: RebuildWorks.readByDriver,
    target: 1 / 0.3,
    rounds: 5,
    open: replay(world)
  },
  {
    name: "replay-without-us",
    work: "the same events read by the driver, decoded by Schema, an effect run for each",
    floor: RebuildWorks.readByDriver,
    rounds: 5,
    open: replayByHand(world)
  },
  {
    name: "backfill",
    work: `event:backfill of ${shown} rows, one event each`,
    floor: "the same events by inserts of 1,000 rows, each committed",
    target: 1 / 0.3,
    rounds: 5,
    open: backfill(world)
  }
]
