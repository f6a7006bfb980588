/**
 * A backfill of a table that its old application still writes, killed at named points and at random instants. After it each row has to be one stream,
 * dated as the row says, and the read table what the events say.
 */
import { BackfillDocument } from "effect-es-ops"
import { Schema } from "effect"
import assert from "node:assert/strict"
import { setTimeout as pause } from "node:timers/promises"
import type { Client } from "pg"
import * as Kills from "../support/Kills.js"
import type { Project, Result } from "../support/Project.js"

/** The command's file. */
export const config = `import { Effect, Option, Schema } from "effect"
import { Backfill, EsOps, EventType, Feature, Projection, Subscriber } from "effect-es-ops"
const placed = EventType.make({ type: "order.placed", payload: Schema.Struct({ sku: Schema.String }) })
const counted = EventType.make({ type: "order.counted", payload: Schema.Struct({ n: Schema.Int }) })
const table = Feature.table({
  name: "read_orders",
  columns: [{ name: "id", type: "uuid" }, { name: "sku", type: "text" }, { name: "n", type: "integer" }],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, sku: Schema.String, n: Schema.Int })
})
const orders = Projection.fold({ name: "orders", table, on: [
  [placed, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, sku: payload.sku, n: 0 })],
  [counted, (row, { payload }) => Option.map(row, (known) => ({ ...known, n: payload.n }))]
] })
const legacy = Backfill.make({
  name: "legacy",
  aggregateType: "order",
  source: Backfill.table({ table: "legacy", key: "id",
    row: Schema.Struct({ sku: Schema.String, n: Schema.Int, at: Schema.DateFromSelf }) }),
  toEvents: ({ at, n, sku }) => [
    Backfill.event(placed, { payload: { sku }, occurredAt: at, createdBy: "clerk" }),
    Backfill.event(counted, { payload: { n }, occurredAt: at, createdBy: "clerk" })
  ]
})
const mail = Subscriber.make({ name: "mail", events: [placed], handle: () => Effect.log("a subscriber was given an event") })
export default EsOps.config({ seeds: {}, features: [
  Feature.make({ name: "shop", handlers: [], tables: [table], projections: [orders], subscribers: [mail], backfills: [legacy] })
] })
`

/** A database whose old application is at work, and the command beside it. */
export interface Storm {
  readonly url: string
  readonly project: Project
  /** Runs a line of the command to its end. */
  readonly run: Project["run"]
  readonly client: Client
  readonly heard: () => number
  /** Ends the old application; answers with how often it wrote. */
  readonly stop: () => Promise<number>
}

/** Fills the table with so many rows, and lets the old application begin. */
export const open = async (url: string, project: Project, rows: number, run = project.run): Promise<Storm> => {
  const client = await Kills.connected(url)
  await client.query((await project.run(["schema"], { DATABASE_URL: url })).stdout)
  await client.query(`CREATE TABLE legacy (id bigint PRIMARY KEY, sku text NOT NULL, n integer NOT NULL, at timestamptz NOT NULL);
    INSERT INTO legacy SELECT g, 'sku ' || g, g, '2020-01-01Z'::timestamptz + g * interval '1 minute' FROM generate_series(1, ${rows}) g;
    ANALYZE legacy`)
  let heard = 0
  client.on("notification", () => heard++)
  await client.query("LISTEN kumiko_events_new")
  const application = await Kills.connected(url)
  const over = new AbortController()
  let writes = 0
  const writing = (async () => {
    for (; !over.signal.aborted; writes++) {
      await application.query(
        writes % 10 === 0
          ? "INSERT INTO legacy SELECT max(id) + 1, 'new', 0, '2021-01-01Z' FROM legacy"
          : "UPDATE legacy SET n = n + 1 WHERE id = (SELECT 1 + floor(random() * max(id))::bigint FROM legacy)"
      )
      await pause(3)
    }
  })()
  const stop = async () => {
    over.abort()
    await writing
    await application.end()
    return writes
  }
  return { url, project, run, client, heard: () => heard, stop }
}

const words = ["event:backfill", "legacy"]

/** The row in which a backfill stops that has taken the next batch: behind the first rows that are none of its events. */
const row = `SELECT FROM legacy WHERE id = (SELECT least(max(l.id), min(l.id) FILTER (WHERE e.id IS NULL) + 600)
    FROM legacy l LEFT JOIN kumiko_events e ON e.version = 1 AND e.metadata->'headers'->>'backfillKey' = l.id::text) FOR UPDATE`

/** Where a process is killed. */
const points = {
  "before rows are locked": [[row, "FOR SHARE"]],
  "when its events are appended": [["LOCK TABLE kumiko_events IN SHARE MODE", "INSERT INTO kumiko_events"]],
  "when read rows are written": [["LOCK TABLE read_orders IN SHARE MODE", "read_orders"]],
  "when its COMMIT is sent": [
    [row, "FOR SHARE"],
    ["SELECT FROM es_ops_runs FOR NO KEY UPDATE", "UPDATE \\S*es_ops_runs.* r SET"]
  ]
} as const
export type Point = keyof typeof points
export const pointNames: ReadonlyArray<Point> = [
  "before rows are locked",
  "when its events are appended",
  "when read rows are written",
  "when its COMMIT is sent"
]

const start = ({ project, url }: Storm) => project.start([...words, "--lock-timeout", "1m"], { DATABASE_URL: url })

/** Kills a process that stands at a point. */
export const killAt = (storm: Storm, point: Point): Promise<void> =>
  Kills.killAt(storm, () => start(storm), points[point])

/** Kills a process after so many milliseconds, if it is not done by then; answers with whether it was killed. */
export const killAfter = (storm: Storm, milliseconds: number): Promise<boolean> =>
  Kills.killAfter(storm.client, () => start(storm), milliseconds)

const decode = Schema.decodeUnknownSync(Schema.parseJson(BackfillDocument.BackfillDocument), {
  onExcessProperty: "error"
})

const documentOf = ({ code, stderr, stdout }: Result): BackfillDocument.BackfillDocument => {
  assert.equal(code, 0, stderr)
  assert.doesNotMatch(stderr, /a subscriber was given an event/)
  return decode(stdout)
}

/** Goes on to the end, and looks at what came of it. */
export const end = async (storm: Storm): Promise<{ readonly rows: number; readonly changed: number }> => {
  const { client, heard, stop, url } = storm
  const run = async (...more: ReadonlyArray<string>) =>
    documentOf(await storm.run([...words, "--json", ...more], { DATABASE_URL: url }))
  await run()
  assert.ok((await stop()) > 0)
  const behind = await run("--verify")
  const { equal, problems, unverified } = behind.verified ?? {}
  assert.deepEqual({ equal, problems, unverified }, { equal: true, problems: [], unverified: [] })
  const again = await run()
  assert.deepEqual([again.appended, again.events, again.failedRows, again.verified], [0, 0, 0, null])
  const { rows } = await client.query<{ rows: number; wrong: number; changed: number; events: number }>(look)
  const [found] = rows
  assert.deepEqual(found, { rows: again.rows, wrong: 0, changed: again.changed, events: again.rows * 2 })
  assert.equal(again.changedKeys.length, Math.min(20, again.changed))
  assert.equal(heard(), 0)
  await client.end()
  return { rows: again.rows, changed: again.changed }
}

/** Each row beside the events with its key. */
const look = `SELECT count(*)::int AS rows, (SELECT count(*)::int FROM kumiko_events) AS events,
    count(*) FILTER (WHERE e.versions IS DISTINCT FROM '1,2' OR e.streams <> 1 OR e.first <> l.at OR e.last <> l.at)::int AS wrong,
    count(*) FILTER (WHERE e.n <> l.n)::int AS changed
  FROM legacy l LEFT JOIN (
    SELECT metadata->'headers'->>'backfillKey' AS key, string_agg(version::text, ',' ORDER BY version) AS versions,
      count(DISTINCT aggregate_id) AS streams, min(created_at) AS first, max(created_at) AS last, max((payload->>'n')::int) AS n
    FROM kumiko_events GROUP BY 1) AS e ON e.key = l.id::text`
