/**
 * `stream:purge` as processes that are refused, asked, and killed.
 */
import { assert, describe, it } from "@effect/vitest"
import { StreamDocument } from "effect-es-ops"
import { Schema } from "effect"
import type { Hash } from "node:crypto"
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { admin, bundled, database, decodeError, untilTrue } from "../support/Command.js"

const decode = Schema.decodeUnknownSync(Schema.parseJson(StreamDocument.PurgeDocument), { onExcessProperty: "error" })

const tenant = "7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10"

/** So many streams of three events each, archived a hundred days ago; ids rise with their numbers. */
const streams = (from: number, to: number) => `
  INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
    SELECT format('00000000-0000-4000-8000-%s', lpad(s::text, 12, '0'))::uuid, 'order', '${tenant}', v, 'order.placed',
      '{"n": 9007199254740993, "text": "\\u00e4"}', '{"userId": "u"}', 'u'
    FROM generate_series(${from}, ${to}) s, generate_series(1, 3) v ORDER BY v, s;
  INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_at, archived_by)
    SELECT DISTINCT tenant_id, aggregate_id, aggregate_type, now() - interval '100 days', 'u' FROM kumiko_events
    ON CONFLICT DO NOTHING`

/** What is held so that a process stops there, and the statement in which it waits. */
const points = [
  [
    "before a mark is locked",
    `SELECT FROM kumiko_archived_streams WHERE aggregate_id::text ~ '520$' FOR UPDATE`,
    "FOR UPDATE OF a"
  ],
  [
    "when its export is synced",
    `SELECT FROM kumiko_events WHERE aggregate_id::text ~ '520$' FOR UPDATE`,
    "DELETE FROM kumiko_events"
  ],
  ["when its events are deleted", "LOCK TABLE es_ops_snapshots IN EXCLUSIVE MODE", "DELETE FROM \\S*es_ops_snapshots"],
  ["when its COMMIT is sent", "SELECT FROM es_ops_runs FOR NO KEY UPDATE", "UPDATE \\S*es_ops_runs.* r SET"]
] as const

/** Nobody is connected but who asks. */
const alone = `SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
  AND backend_type = 'client backend' AND pid <> pg_backend_pid())`

const waiting = (
  statement: string
) => `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
  AND query ~ '${statement}'`

const world = async () => {
  const { env, query, url } = await database()
  const { folder, run, start } = await bundled()
  await query((await run(["schema"], env)).stdout)
  const words = (...more: ReadonlyArray<string>) => [
    "stream:purge",
    "--archived-before",
    "90d",
    "--type",
    "order",
    ...more
  ]
  return {
    env,
    folder,
    query,
    url,
    run: (...more: ReadonlyArray<string>) => run(words(...more), env),
    start: (...more: ReadonlyArray<string>) => start(words(...more), env)
  }
}

describe("es-ops stream:purge", () => {
  it("deletes nothing that is not in its export, wherever it is killed, and goes on", async () => {
    const { folder, query, run, start, url } = await world()
    await query(streams(1, 520))
    const path = join(folder, "orders.jsonl")
    const linesOf = async () => (await readFile(path, "utf8")).split("\n").slice(0, -1)
    for (const [name, hold, statement] of points) {
      await admin(async (holder) => {
        await holder.query("BEGIN")
        if (name !== "when its COMMIT is sent") await holder.query(hold)
        const purging = start("--yes", "--export", "orders.jsonl")
        if (name === "when its COMMIT is sent") {
          // The batch has begun when it waits for the events; then the end of it is held up.
          await holder.query("SELECT FROM kumiko_events WHERE aggregate_id::text ~ '520$' FOR UPDATE")
          await untilTrue(() => query(waiting("DELETE FROM kumiko_events")))
          await admin(async (second) => {
            await second.query("BEGIN")
            await second.query(hold)
            await holder.query("ROLLBACK")
            await untilTrue(() => query(waiting(statement)))
            purging.process.kill("SIGKILL")
            await purging.result
          }, url)
          return
        }
        await untilTrue(() => query(waiting(statement)))
        purging.process.kill("SIGKILL")
        await purging.result
      }, url)
      await untilTrue(() => query(alone))
      const exported = new Set((await linesOf()).map((line) => JSON.parse(line).id))
      const left = new Set((await query("SELECT id::text FROM kumiko_events")).map(({ id }) => id))
      // What is sent to the server is done there, whoever is killed.
      assert.strictEqual(left.size, name === "when its COMMIT is sent" ? 0 : 60, name)
      for (let id = 1; id <= 1560; id++)
        assert.isTrue(left.has(`${id}`) || exported.has(`${id}`), `${name}: ${id} is gone`)
      await query("UPDATE es_ops_runs SET lease_until = now() WHERE outcome = 'running'")
    }
    const done = await run("--yes", "--export", "orders.jsonl", "--expect", "520", "--json")
    assert.strictEqual(done.code, 0, done.stderr)
    assert.deepInclude(decode(done.stdout), { streams: 520, events: 1560, failed: [], leftover: [] })
    const lines = await linesOf()
    assert.deepStrictEqual(new Set(lines.map((line) => JSON.parse(line).id)).size, lines.length)
    assert.lengthOf(lines, 1560)
    assert.deepStrictEqual(await query("SELECT 1 FROM kumiko_events"), [])
    const digests = new Map<unknown, Hash>()
    for (const line of lines) {
      const { aggregateId } = JSON.parse(line)
      digests.set(aggregateId, (digests.get(aggregateId) ?? createHash("sha256")).update(`${line}\n`))
    }
    for (const { aggregate_id: id, sha256 } of await query("SELECT aggregate_id, sha256 FROM es_ops_purged_streams")) {
      assert.strictEqual(digests.get(id)?.digest("hex"), sha256)
    }
    assert.lengthOf(await query("SELECT 1 FROM kumiko_es_operations WHERE id LIKE 'archived-stream-purge:%'"), 1)
  })

  it("shows what it would do, asks, refuses and deletes", async () => {
    const { query, run } = await world()
    await query(streams(1, 2))
    const before = await query("SELECT relname FROM pg_class WHERE relname ~ '^es_ops' ORDER BY 1")
    const plan = await run("--dry-run", "--json")
    assert.strictEqual(plan.code, 0, plan.stderr)
    assert.deepInclude(decode(plan.stdout), { streams: 2, events: 6, runId: null, dryRun: true, problems: [] })
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^es_ops' ORDER BY 1"), before)
    assert.deepStrictEqual(await query("SELECT 1 FROM es_ops_runs"), [])
    const unasked = await run("--json")
    assert.deepStrictEqual([unasked.code, decodeError(unasked.stdout).error._tag], [2, "UsageError"])
    const other = await run("--yes", "--expect", "3", "--json")
    assert.strictEqual(other.code, 4)
    assert.deepStrictEqual(
      decode(other.stdout).problems.map(({ _tag }) => _tag),
      ["UnexpectedStreams"]
    )
    assert.include(other.stderr, "2 streams would be purged, and 3 were expected")
    assert.strictEqual((await run("--yes", "--tenant", "x")).code, 2)
    assert.lengthOf(await query("SELECT 1 FROM kumiko_events"), 6)
    const done = await run("--yes", "--type", "invoice, account")
    assert.strictEqual(done.code, 0, done.stderr)
    assert.match(done.stdout, /^purged +order: 2 streams, 6 events\n2 streams with 6 events purged, 0 failed\.\n$/)
    assert.match((await run("--yes")).stdout, /^0 streams with 0 events purged/)
  })
})
