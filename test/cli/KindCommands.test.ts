/**
 * `snapshot:verify`, `snapshot:rebuild`, `event:replay` and `event:backfill` as child processes.
 */
import { assert, describe, it } from "@effect/vitest"
import { BackfillDocument, ReplayDocument, SnapshotDocument } from "effect-es-ops"
import { Schema } from "effect"
import { bundled, database } from "../support/Command.js"

const decode = <A, I>(schema: Schema.Schema<A, I>) =>
  Schema.decodeUnknownSync(Schema.parseJson(schema), { onExcessProperty: "error" })

const verified = decode(SnapshotDocument.VerifyDocument)
const rebuilt = decode(SnapshotDocument.RebuildDocument)
const replayed = decode(ReplayDocument.ReplayDocument)
const backfilled = decode(BackfillDocument.BackfillDocument)

const config = `import { Effect, Schema } from "effect"
import { Aggregate, Backfill, EsOps, EventType, Feature, Subscriber } from "effect-es-ops"
import { SqlClient } from "@effect/sql"
const placed = EventType.make({ type: "placed", payload: Schema.Struct({ n: Schema.Number }) })
const features = [Feature.make({
  name: "sales", handlers: [],
  aggregates: [Aggregate.make({ type: "order", state: Schema.Struct({ sum: Schema.Number }), initial: { sum: 0 },
    on: [[placed, ({ sum }, { payload }) => ({ sum: sum + payload.n })]] })],
  subscribers: [Subscriber.make({ name: "mail", events: [placed], handle: ({ payload }) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql\`SELECT count(*)::int AS n FROM legacy\`
      yield* Effect.log("mailed " + payload.n + " of " + row.n)
      if (payload.n === 77) yield* sql\`DELETE FROM legacy\`
    }) })],
  backfills: [Backfill.make({ name: "legacy", aggregateType: "order",
    source: Backfill.table({ table: "legacy", key: "id", row: Schema.Struct({ n: Schema.Number, at: Schema.DateFromSelf }) }),
    toEvents: ({ n, at }) => [Backfill.event(placed, { payload: { n }, occurredAt: at, createdBy: "clerk" })] })]
})]
export default EsOps.config({ seeds: {}, features })
`

const tables = `CREATE TABLE legacy (id bigint PRIMARY KEY, n integer NOT NULL, at timestamptz NOT NULL)`

const world = async () => {
  const { env, query } = await database()
  const { run } = await bundled({ "es-ops.config.mjs": config, "seeds/1.mjs": "" })
  const command = (...words: ReadonlyArray<string>) => run([...words, "--config", "es-ops.config.mjs"], env)
  await query(tables)
  const { stdout } = await command("schema")
  await query(stdout)
  return { command, query }
}

describe("the commands of rows, snapshots and past events", () => {
  it("backfill rows, take snapshots of their streams and replay their events", async () => {
    const { command, query } = await world()
    await query(
      "INSERT INTO legacy SELECT g, g, '2020-01-01Z'::timestamptz + g * interval '1 day' FROM generate_series(1, 20) g"
    )
    const plan = await command("event:backfill", "legacy", "--dry-run", "--json")
    assert.strictEqual(plan.code, 0, plan.stderr)
    assert.deepInclude(backfilled(plan.stdout), { appended: 20, events: 20, failedRows: 0, dryRun: true })
    assert.deepStrictEqual(await query("SELECT 1 FROM kumiko_events"), [])
    assert.deepStrictEqual(await query("SELECT 1 FROM es_ops_runs"), [])
    const done = await command("event:backfill", "legacy", "--json")
    assert.strictEqual(done.code, 0, done.stderr)
    assert.deepInclude(backfilled(done.stdout), { appended: 20, events: 20, done: 0 })
    await query("UPDATE legacy SET n = 99 WHERE id = 3; INSERT INTO legacy VALUES (21, 1, '2999-01-01Z')")
    const again = await command("event:backfill", "legacy")
    assert.strictEqual(again.code, 1)
    assert.match(
      again.stdout,
      /changed +row 3 [\s\S]*failed +row 21: the date of placed is in the future[\s\S]*done before 19/
    )

    const before = await command("snapshot:verify", "order", "--json")
    assert.deepStrictEqual([before.code, verified(before.stdout).missing], [3, 20])
    const rebuild = await command("snapshot:rebuild", "order", "--json")
    assert.deepInclude(rebuilt(rebuild.stdout), { written: 20, deleted: 0, streams: 20 })
    assert.deepStrictEqual((await command("snapshot:verify", "order")).code, 0)
    await query("UPDATE es_ops_snapshots SET state = '{}' WHERE state->>'sum' = '7'")
    const wrong = await command("snapshot:verify", "order")
    assert.strictEqual(wrong.code, 3)
    assert.match(wrong.stdout, /^different +[-\da-f]+ of tenant/)

    const unasked = await command("event:replay", "mail", "--all")
    assert.strictEqual(unasked.code, 2)
    assert.include(unasked.stderr, "--yes")
    const digest = "SELECT md5(string_agg(e::text, ',' ORDER BY id)) AS digest FROM kumiko_events e"
    const [untouched] = await query(digest)
    const replay = await command(
      "event:replay",
      "mail",
      "--since",
      "2020-01-05",
      "--until",
      "2020-01-10",
      "--yes",
      "--json"
    )
    assert.strictEqual(replay.code, 0, replay.stderr)
    assert.deepInclude(replayed(replay.stdout), { delivered: 5, events: 5, failed: 0 })
    assert.include(replay.stderr, "mailed 4 of 21")
    assert.deepStrictEqual(await query(digest), [untouched])
    assert.deepStrictEqual(await query("SELECT 1 FROM es_ops_deliveries"), [])
    await query("UPDATE kumiko_events SET payload = '{\"n\":77}' WHERE id = 2")
    const writing = await command("event:replay", "mail", "--all", "--yes", "--on-error", "continue", "--json")
    const { failures, ...counts } = replayed(writing.stdout)
    assert.deepInclude(counts, { delivered: 19, failed: 1 })
    assert.deepStrictEqual([writing.code, failures.map(({ error }) => error._tag)], [1, ["ReplayWrites"]])
    assert.strictEqual((await query("SELECT 1 FROM legacy")).length, 21)
  })
})
