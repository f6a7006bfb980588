/**
 * `event:backfill`, `event:replay`, `snapshot:verify`, `snapshot:rebuild`, `stream:archive`, `stream:restore` and `stream:move` on one database: their
 * documents, their lines, and that a dry run leaves nothing and counts what is then done.
 */
import { assert, beforeAll, describe, expect, it } from "@effect/vitest"
import { Backfill, BackfillDocument, ReplayDocument, SnapshotDocument, StreamDocument } from "effect-es-ops"
import { Schema } from "effect"
import { admin, bundled, database, decodeError, untilTrue } from "../support/Command.js"
import * as Dump from "../support/Dump.js"
import type { Project } from "../support/Project.js"

const decode = <A, I>(schema: Schema.Schema<A, I>) =>
  Schema.decodeUnknownSync(Schema.parseJson(schema), { onExcessProperty: "error" })

const verified = decode(SnapshotDocument.VerifyDocument)
const rebuilt = decode(SnapshotDocument.RebuildDocument)
const replayed = decode(ReplayDocument.ReplayDocument)
const backfilled = decode(BackfillDocument.BackfillDocument)
const archived = decode(StreamDocument.ArchiveDocument)
const moved = decode(StreamDocument.MoveDocument)

const config = `import { Effect, Option, Schema } from "effect"
import { Aggregate, Backfill, EsOps, EventType, Feature, Projection, Subscriber, WriteHandler } from "effect-es-ops"
import { SqlClient } from "@effect/sql"
const placed = EventType.make({ type: "placed", payload: Schema.Struct({ n: Schema.Number }) })
const table = Feature.table({
  name: "read_orders",
  columns: [{ name: "id", type: "uuid" }, { name: "n", type: "integer" }],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, n: Schema.Number })
})
const features = [Feature.make({
  name: "sales", handlers: [], tables: [table],
  projections: [
    Projection.fold({ name: "orders", table,
      on: [[placed, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, n: payload.n })]] }),
    Projection.make({ name: "picky", events: ["placed"], apply: (events) =>
      events.some(({ payload }) => payload.n === 13) ? WriteHandler.reject("conflict", "13 is not sold") : Effect.void })
  ],
  aggregates: [Aggregate.make({ type: "order", state: Schema.Struct({ sum: Schema.Number }), initial: { sum: 0 },
    on: [[placed, ({ sum }, { payload }) => ({ sum: sum + payload.n })]] })],
  subscribers: [Subscriber.make({ name: "mail", events: [placed], handle: ({ id, payload }, { deliveryId }) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql\`SELECT count(*)::int AS n FROM legacy\`
      yield* Effect.log("mailed " + payload.n + " of " + row.n + ": " + id + " as " + deliveryId + ".")
      if (payload.n >= 10 && payload.n <= 12) yield* sql\`SELECT pg_advisory_xact_lock(10)\`
      if (payload.n === 77) yield* sql\`DELETE FROM legacy\`
    }) })],
  backfills: [Backfill.make({ name: "legacy", aggregateType: "order",
    source: Backfill.table({ table: "legacy", key: "id", row: Schema.Struct({ n: Schema.Number, at: Schema.DateFromSelf }) }),
    toEvents: ({ n, at }) => [Backfill.event(placed, { payload: { n }, occurredAt: at, createdBy: "clerk" })] })]
})]
export default EsOps.config({ seeds: {}, features })
`

const system = "00000000-0000-4000-8000-000000000000"
const other = "00000000-0000-4000-8000-00000000000b"
const idOf = (row: number) => Backfill.streamId("legacy", `${row}`)

let project: Project
let world: Awaited<ReturnType<typeof database>>

const command = (...words: ReadonlyArray<string>) => project.run(words, world.env)

/** A dry run, in both forms, which leaves everything as it is; then the run itself, which has to do just that. */
const planned = async <A extends { readonly dryRun: boolean }>(
  words: ReadonlyArray<string>,
  read: (text: string) => A,
  code = 0
) => {
  const before = await Dump.of(world.query)
  const text = await command(...words, "--dry-run")
  const dry = await command(...words, "--dry-run", "--json")
  assert.deepStrictEqual(await Dump.of(world.query), before, "a dry run wrote")
  assert.match(text.stdout, /dry run/i)
  const done = await command(...words, "--json")
  assert.strictEqual(done.code, code, done.stderr)
  const [plan, report] = [read(dry.stdout), read(done.stdout)]
  assert.deepStrictEqual([plan.dryRun, report.dryRun], [true, false])
  return { text: text.stdout, plan, report }
}

beforeAll(async () => {
  world = await database()
  project = await bundled({ "es-ops.config.mjs": config, "seeds/1.mjs": "" })
  await world.query("CREATE TABLE legacy (id bigint PRIMARY KEY, n integer NOT NULL, at timestamptz NOT NULL)")
  await world.query((await command("schema")).stdout)
  await world.query(
    "INSERT INTO legacy SELECT g, g, '2020-01-01Z'::timestamptz + g * interval '1 day' FROM generate_series(1, 20) g"
  )
})

describe("the commands of rows, past events, snapshots and streams", () => {
  it("on a database without our tables say how these come about", async () => {
    const { env } = await database()
    for (const words of [["snapshot:verify", "order"], ["projection:diff"]]) {
      const { code, stderr } = await project.run(words, env)
      assert.strictEqual(code, 6, stderr)
      assert.match(stderr, /made by the first seed or run that is no dry run, or from what es-ops schema prints/)
    }
  })

  it("backfill the first database of ours: a dry run has the tables that the run creates, and leaves none", async () => {
    const { env, query } = await database()
    await query("CREATE TABLE legacy (id bigint PRIMARY KEY, n integer NOT NULL, at timestamptz NOT NULL)")
    await query("INSERT INTO legacy SELECT g, g + 10, '2020-01-01Z' FROM generate_series(1, 3) g")
    const tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    const dry = await project.run(["event:backfill", "legacy", "--dry-run", "--json"], env)
    assert.deepStrictEqual([dry.code, await query(tables)], [1, [{ relname: "legacy" }]], dry.stderr)
    const plan = backfilled(dry.stdout)
    assert.deepInclude(plan, { dryRun: true, rows: 3, appended: 2, failedRows: 1 })
    const run = await project.run(["event:backfill", "legacy", "--json"], env)
    assert.strictEqual(run.code, 1, run.stderr)
    const report = backfilled(run.stdout)
    assert.deepStrictEqual({ ...plan, dryRun: false, runId: report.runId }, report)
    assert.deepStrictEqual(await query("SELECT done::int AS done, total::int AS total FROM es_ops_runs"), [
      { done: 3, total: 3 }
    ])
  })

  it("backfill rows, and compare the read tables with --verify", async () => {
    const { query } = world
    const { plan, report } = await planned(["event:backfill", "legacy"], backfilled, 1)
    // One row is refused by a projection, which a dry run asks.
    assert.deepInclude(plan, { appended: 19, events: 19, failedRows: 1, runId: null, verified: null })
    assert.deepStrictEqual({ ...plan, dryRun: false, runId: report.runId }, report)
    assert.deepStrictEqual(
      report.failed.map(({ error, key }) => [key, error.message]),
      [["13", "13 is not sold"]]
    )
    await query("DELETE FROM legacy WHERE id = 13")
    const equal = await command("event:backfill", "legacy", "--verify", "--json")
    assert.strictEqual(equal.code, 0, equal.stderr)
    const { appended, done, verified: tables } = backfilled(equal.stdout)
    assert.deepStrictEqual([appended, done, tables?.equal, tables?.unverified], [0, 19, true, ["picky"]])
    assert.deepStrictEqual(
      tables?.diffs.map(({ events, projections }) => [events, projections]),
      [[19, ["orders"]]]
    )
    await query(`UPDATE read_orders SET n = 0 WHERE id = '${idOf(7)}'; DELETE FROM read_orders WHERE id = '${idOf(8)}'`)
    const wrong = await command("event:backfill", "legacy", "--verify")
    assert.strictEqual(wrong.code, 3, wrong.stderr)
    await expect(wrong.stdout).toMatchFileSnapshot("golden/backfill-verify-differs.txt")
    assert.include(wrong.stderr, "Run es-ops projection:rebuild orders.")
    assert.strictEqual((await command("projection:rebuild", "orders", "--json")).code, 0)
    await query(`INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
      VALUES (gen_random_uuid(), 'order', gen_random_uuid(), 1, 'placed', '{"n": "much"}', '{"userId": "u"}', 'u')`)
    const failed = await command("event:backfill", "legacy", "--verify")
    assert.strictEqual(failed.code, 1, failed.stderr)
    assert.match(
      failed.stderr,
      /what was backfilled is committed, only the comparison failed[\s\S]*event \d+ \(placed, version 1\) cannot be read/
    )
    await query(`DELETE FROM kumiko_events WHERE payload->>'n' = 'much'`)
    const both = await command("event:backfill", "legacy", "--verify", "--dry-run", "--json")
    assert.deepStrictEqual([both.code, decodeError(both.stdout).error._tag], [2, "UsageError"])
    await query("UPDATE legacy SET n = 99 WHERE id = 3; INSERT INTO legacy VALUES (21, 1, '2999-01-01Z')")
    const again = await command("event:backfill", "legacy")
    assert.strictEqual(again.code, 1)
    assert.match(
      again.stdout,
      /changed +row 3 [\s\S]*failed +row 21: the date of placed is in the future[\s\S]*done before 18/
    )
    await query("DELETE FROM legacy WHERE id = 21; INSERT INTO legacy VALUES (13, 12, '2020-01-14Z')")
    assert.strictEqual((await command("event:backfill", "legacy")).code, 0)
  })

  it("take snapshots of streams, and find those that are wrong", async () => {
    const before = await command("snapshot:verify", "order", "--json")
    assert.deepStrictEqual([before.code, verified(before.stdout).missing], [3, 20])
    const { plan, report } = await planned(["snapshot:rebuild", "order"], rebuilt)
    assert.deepInclude(report, { written: 20, deleted: 0, streams: 20 })
    assert.deepStrictEqual({ ...plan, dryRun: false, runId: report.runId }, report)
    const clean = await command("snapshot:verify", "order")
    assert.deepStrictEqual([clean.code, clean.stdout], [0, "every snapshot is right, folded 20 streams of 20 events\n"])
    await world.query("UPDATE es_ops_snapshots SET state = '{}' WHERE state->>'sum' = '7'")
    const wrong = await command("snapshot:verify", "order")
    assert.strictEqual(wrong.code, 3)
    assert.match(wrong.stdout, /^different +[-\da-f]+ of tenant/)
    const mended = await planned(["snapshot:rebuild", "order"], rebuilt)
    assert.deepInclude(mended.plan, { written: 1, different: 1, deleted: 0 })
    assert.deepStrictEqual({ ...mended.plan, dryRun: false, runId: mended.report.runId }, mended.report)
  })

  it("replay events, and write nothing but the rows of their run", async () => {
    const { query } = world
    const unasked = await command("event:replay", "mail", "--all")
    assert.strictEqual(unasked.code, 2)
    assert.include(unasked.stderr, "--yes")
    const own = ["es_ops_runs", "es_ops_run_lanes", "es_ops_attempts"]
    const untouched = await Dump.of(query, own)
    const bounds = ["event:replay", "mail", "--since", "2020-01-05", "--until", "2020-01-10", "--yes"]
    const { plan, report } = await planned(bounds, replayed)
    assert.deepInclude(report, { delivered: 5, events: 5, failed: 0 })
    assert.strictEqual(plan.events, 5)
    const text = await command(...bounds)
    assert.strictEqual(text.stdout, "delivered 5 events, failed 0, left out 0\n")
    assert.include(text.stderr, "mailed 4 of 20")
    assert.deepStrictEqual(await Dump.of(query, own), untouched)
    await query("UPDATE kumiko_events SET payload = '{\"n\":77}' WHERE payload->>'n' = '2'")
    const writing = await command("event:replay", "mail", "--all", "--yes", "--on-error", "continue", "--json")
    const { failures, ...counts } = replayed(writing.stdout)
    assert.deepInclude(counts, { delivered: 19, failed: 1 })
    assert.deepStrictEqual([writing.code, failures.map(({ error }) => error._tag)], [1, ["ReplayWrites"]])
    assert.strictEqual((await query("SELECT 1 FROM legacy")).length, 20)
    await query("UPDATE kumiko_events SET payload = '{\"n\":2}' WHERE payload->>'n' = '77'")
    assert.deepStrictEqual(await Dump.of(query, own), untouched)
  })

  it("replay each event once, but what was under way when the process was killed, under the same id", async () => {
    const { env, query, url } = world
    const words = ["event:replay", "mail", "--all", "--yes"]
    const given = (stderr: string) =>
      [...stderr.matchAll(/mailed (\d+) of \d+: (\d+) as (\S+)\./g)].map(([, ...one]) => one)
    const killed = await admin(async (holder) => {
      await holder.query("SELECT pg_advisory_lock(10)")
      const { process, result } = project.start(words, env)
      await untilTrue(() => query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
      await untilTrue(() => query("SELECT 1 FROM es_ops_deliveries HAVING count(*) = 9"))
      process.kill("SIGKILL")
      return given((await result).stderr)
    }, url)
    await query("UPDATE es_ops_runs SET lease_until = now() WHERE outcome = 'running'")
    const second = await command(...words, "--json")
    assert.deepInclude(replayed(second.stdout), { delivered: 20, failed: 0 })
    const resumed = given(second.stderr)
    assert.deepStrictEqual([killed.length, resumed.length], [10, 11])
    assert.deepStrictEqual(resumed[0], killed.at(-1))
    assert.strictEqual(new Set([...killed, ...resumed].map(([, event]) => event)).size, 20)
    assert.deepStrictEqual(await query("SELECT 1 FROM es_ops_deliveries"), [])
  })

  it("replay so many streams side by side, also where each asks the database", async () => {
    const { env, query, url } = world
    const words = ["event:replay", "mail", "--since", "2020-01-11", "--until", "2020-01-14", "--concurrency", "3"]
    const { result } = await admin(async (holder) => {
      await holder.query("SELECT pg_advisory_lock(10)")
      const started = project.start([...words, "--yes", "--json"], env)
      await untilTrue(() =>
        query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted HAVING count(*) = 3")
      )
      return started
    }, url)
    assert.deepInclude(replayed((await result).stdout), { delivered: 3, failed: 0 })
  })

  it("archive streams and restore them, with their read rows", async () => {
    const { query } = world
    const rows = async () => (await query("SELECT 1 FROM read_orders")).length
    await project.write("plan.csv", `aggregateId,tenant\n${idOf(1)},${system}\n${idOf(2)},${system}\n`)
    const archive = await planned(["stream:archive", "--plan", "plan.csv", "--reason", "old"], archived)
    assert.include(archive.text, "2 streams archived, 0 unchanged, 0 failed.")
    assert.deepStrictEqual({ ...archive.plan, dryRun: false }, archive.report)
    assert.strictEqual(await rows(), 18)
    const one = ["--id", idOf(1), "--tenant", system]
    const again = await command("stream:archive", ...one, "--json")
    assert.deepStrictEqual([again.code, archived(again.stdout).unchanged.length], [0, 1])
    const restore = await planned(["stream:restore", "--plan", "plan.csv"], archived)
    assert.include(restore.text, "2 streams restored")
    assert.deepStrictEqual({ ...restore.plan, dryRun: false }, restore.report)
    assert.strictEqual(await rows(), 20)
    // A projection that names no tables is named, and is not outdated for ever: no rebuild could make it current again.
    assert.deepStrictEqual(restore.report.outdated, ["picky"])
    assert.strictEqual((await command("projection:status", "--check")).code, 0)
    const unknown = await command("stream:archive", "--id", other, "--tenant", other, "--json")
    assert.deepStrictEqual([unknown.code, archived(unknown.stdout).failed.length], [4, 1])
  })

  it("move streams to another tenant, with their snapshots", async () => {
    const { query } = world
    const words = ["stream:move", "--id", idOf(4), "--from", system, "--to", other]
    const { plan, report, text } = await planned(words, moved)
    assert.include(text, "1 stream with 1 event moved")
    assert.deepInclude(report, { moved: 1, events: 1, failed: [] })
    assert.deepStrictEqual({ ...plan, dryRun: false, runId: report.runId }, report)
    for (const table of ["kumiko_events", "es_ops_snapshots"])
      assert.deepStrictEqual(await query(`SELECT tenant_id FROM ${table} WHERE aggregate_id = '${idOf(4)}'`), [
        { tenant_id: other }
      ])
    const again = await command(...words)
    assert.strictEqual(again.code, 0, again.stderr)
    assert.match(again.stdout, /0 streams with 0 events moved, 1 on their tenant already, 0 failed/)
    const absent = await command("stream:move", "--id", other, "--from", system, "--to", other, "--json")
    const [failed] = moved(absent.stdout).failed
    assert.deepStrictEqual(
      [absent.code, failed?.error._tag, failed?.id, failed?.from, failed?.to],
      [4, "StreamNotFound", other, system, other]
    )
    const refused = await command("stream:move", "--id", idOf(4), "--from", other, "--to", "x", "--json")
    assert.strictEqual(refused.code, 2)
    assert.strictEqual((await command("snapshot:verify", "order")).code, 0)
  })
})
