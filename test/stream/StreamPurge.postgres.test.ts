/**
 * Purges on a server: what others hold, append, restore or refuse meanwhile.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { DatabaseHealth, EsOps, StreamPurge, StreamRestore } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { order, shop } from "../suites/ArchiveSuite.js"
import { archivedOrders, digestOf, folder, ofTenant, problemsOf } from "../suites/PurgeSuite.js"
import { postgresOf } from "../support/services.js"
import { TestDatabase } from "../support/TestDatabase.js"

const insert = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  VALUES ($1, 'order', $2, $3, 'order.shipped', $4::jsonb, '{"userId": "u"}', 'u')`

const mark =
  "INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_by) VALUES ($1, $2, 'order', 'u')"

const stonesOf = "SELECT sha256, events::integer, last_version FROM es_ops_purged_streams WHERE tenant_id = $1"

const eventsOf = "SELECT version FROM kumiko_events WHERE tenant_id = $1 ORDER BY version"

/** Sessions that wait for a lock in a statement that begins so. */
const waiting =
  "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND query ~ $1"

const consumers = `CREATE TABLE IF NOT EXISTS kumiko_event_consumers (name text, instance_id text, last_processed_event_id bigint, status text)`

/** Asks until the answer has a row. */
const until = (query: () => Promise<ReadonlyArray<unknown>>) =>
  Effect.repeat(Effect.promise(query), { until: (rows) => rows.length > 0 })

/** One archived order. */
const archived = Effect.suspend(() =>
  Effect.flatMap(archivedOrders(1), ([made]) => (made === undefined ? order([]) : Effect.succeed(made)))
)

layer(postgresOf([shop]), { excludeTestServices: true })("purges on a server", (it) => {
  it.effect("copy nothing through JavaScript: an export and its digest are the server's own text", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const [tenantId, aggregateId] = [randomUUID(), randomUUID()]
      const payload = '{"sku": "ä\\n", "n": 9007199254740993, "price": 1.10, "big": 1e400}'
      for (const version of [1, 2]) {
        yield* Effect.promise(() => query(insert, [aggregateId, tenantId, version, payload]))
      }
      yield* Effect.promise(() => query(mark, [tenantId, aggregateId]))
      const [{ stored } = { stored: "" }] = yield* Effect.promise(() =>
        query("SELECT payload::text AS stored FROM kumiko_events WHERE aggregate_id = $1 AND version = 1", [
          aggregateId
        ])
      )
      const path = join(yield* folder, "orders.jsonl")
      yield* StreamPurge.run({ ...ofTenant(tenantId), export: path })
      const lines = (yield* Effect.promise(() => readFile(path, "utf8"))).split("\n").slice(0, -1)
      for (const line of lines) assert.include(line, `"payload":${stored},`)
      const stones = yield* Effect.promise(() => query(stonesOf, [tenantId]))
      assert.deepStrictEqual(stones, [{ sha256: digestOf(lines), events: 2, last_version: 2 }])
    }).pipe(Effect.scoped)
  )

  it.effect("delete snapshots and dead letters of the streams, and no other", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const ddl = yield* EsOps.ddl({ seeds: {} })
      const ours = ddl.filter((statement) => /es_ops_(?:snapshots|dead_letters)/.test(statement))
      const theirs = [
        "CREATE TABLE kumiko_snapshots (aggregate_id uuid, tenant_id uuid, aggregate_type text, version integer, state jsonb)",
        "CREATE TABLE kumiko_rebuild_dead_letters (tenant_id uuid, aggregate_id uuid, payload jsonb)",
        "CREATE TABLE kumiko_upcaster_dead_letters (tenant_id text, aggregate_id text, payload jsonb)"
      ]
      for (const statement of [...ours, ...theirs]) yield* Effect.promise(() => query(statement))
      const made = yield* archived
      const ids = [made.aggregateId, randomUUID()]
      for (const id of ids) {
        for (const text of [
          `INSERT INTO es_ops_snapshots (tenant_id, aggregate_type, aggregate_id, snapshot_version, version, state) VALUES ($1, 'order', $2, 1, 1, '{}')`,
          `INSERT INTO es_ops_dead_letters (run_id, projection, event_id, event_type, tenant_id, aggregate_id, reason) VALUES (gen_random_uuid(), 'p', 1, 't', $1, $2, 'r')`,
          "INSERT INTO kumiko_snapshots VALUES ($2, $1, 'order', 1, '{}')",
          "INSERT INTO kumiko_rebuild_dead_letters VALUES ($1, $2, '{}')",
          "INSERT INTO kumiko_upcaster_dead_letters VALUES ($1, $2, '{}')"
        ]) {
          yield* Effect.promise(() => query(text, [made.tenantId, id]))
        }
      }
      assert.deepInclude(yield* StreamPurge.plan(ofTenant(made.tenantId)), { snapshots: 2, deadLetters: 3 })
      assert.deepInclude(yield* StreamPurge.run(ofTenant(made.tenantId)), { snapshots: 2, deadLetters: 3 })
      const left = yield* Effect.promise(() =>
        query(`SELECT aggregate_id::text FROM es_ops_snapshots UNION ALL SELECT aggregate_id::text FROM es_ops_dead_letters
          UNION ALL SELECT aggregate_id::text FROM kumiko_snapshots UNION ALL SELECT aggregate_id::text FROM kumiko_rebuild_dead_letters
          UNION ALL SELECT aggregate_id FROM kumiko_upcaster_dead_letters`)
      )
      assert.deepStrictEqual(
        left.map((row) => row["aggregate_id"]),
        Array.from({ length: 5 }, () => ids[1])
      )
    })
  )

  it.effect("wait for a consumer that is behind, unless it is disabled", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      yield* Effect.promise(() => query(consumers))
      const made = yield* archived
      const [{ newest } = { newest: "0" }] = yield* Effect.promise(() =>
        query("SELECT max(id)::text AS newest FROM kumiko_events WHERE tenant_id = $1", [made.tenantId])
      )
      yield* Effect.promise(() =>
        query(
          "INSERT INTO kumiko_event_consumers VALUES ('mail', '1', $1::bigint - 1, 'idle'), ('old', '1', 0, 'disabled')",
          [newest]
        )
      )
      assert.deepStrictEqual(yield* problemsOf(ofTenant(made.tenantId)), ["ConsumerBehind"])
      yield* Effect.promise(() =>
        query("UPDATE kumiko_event_consumers SET last_processed_event_id = $1 WHERE name = 'mail'", [newest])
      )
      const consumer = yield* Effect.promise(connect)
      // It is set back while the purge is under way, and the purge is held up by that.
      yield* Effect.promise(async () => {
        await consumer.query("BEGIN")
        await consumer.query("UPDATE kumiko_event_consumers SET last_processed_event_id = 0 WHERE name = 'mail'")
      })
      const purging = yield* Effect.fork(Effect.either(StreamPurge.run(ofTenant(made.tenantId))))
      yield* until(() => query(waiting, ["^LOCK TABLE kumiko_event_consumers"]))
      yield* Effect.promise(() => consumer.query("COMMIT"))
      const done = yield* Fiber.join(purging)
      assert.propertyVal(done._tag === "Left" ? done.left : done, "_tag", "ConsumerBehind")
      assert.lengthOf(yield* Effect.promise(() => query(eventsOf, [made.tenantId])), 2)
      yield* Effect.promise(() => query("DELETE FROM kumiko_event_consumers"))
      assert.deepInclude(yield* StreamPurge.run(ofTenant(made.tenantId)), { streams: 1, events: 2 })
    })
  )

  it.effect("leave a stream whole that is restored first, and a restore that comes later finds it purged", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const made = yield* archived
      const other = yield* Effect.promise(connect)
      yield* Effect.promise(async () => {
        await other.query("BEGIN")
        await other.query("DELETE FROM kumiko_archived_streams WHERE tenant_id = $1", [made.tenantId])
      })
      const purging = yield* Effect.fork(StreamPurge.run(ofTenant(made.tenantId)))
      yield* until(() => query(waiting, ["FOR UPDATE OF a"]))
      yield* Effect.promise(() => other.query("COMMIT"))
      assert.deepInclude(yield* Fiber.join(purging), { streams: 0, events: 0 })
      assert.lengthOf(yield* Effect.promise(() => query(eventsOf, [made.tenantId])), 2)

      yield* Effect.promise(() => query(mark, [made.tenantId, made.aggregateId]))
      yield* Effect.promise(async () => {
        await other.query("BEGIN")
        await other.query("SELECT 1 FROM kumiko_events WHERE tenant_id = $1 FOR UPDATE", [made.tenantId])
      })
      const again = yield* Effect.fork(StreamPurge.run(ofTenant(made.tenantId)))
      yield* until(() => query(waiting, ["DELETE FROM kumiko_events"]))
      const restoring = yield* Effect.fork(StreamRestore.run({ streams: [made] }))
      yield* until(() =>
        query(waiting, ["^SELECT a.tenant_id::text, a.aggregate_id::text FROM kumiko_archived_streams"])
      )
      yield* Effect.promise(() => other.query("COMMIT"))
      assert.deepInclude(yield* Fiber.join(again), { streams: 1, events: 2 })
      const { changed, failed } = yield* Fiber.join(restoring)
      assert.deepStrictEqual([changed, failed.map(({ error }) => error._tag)], [[], ["StreamPurged"]])
    })
  )

  it.effect("delete what a writer who did not see the mark has appended and not committed yet", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const made = yield* archived
      const writer = yield* Effect.promise(connect)
      yield* Effect.promise(async () => {
        await writer.query("BEGIN")
        await writer.query(insert, [made.aggregateId, made.tenantId, 3, "{}"])
      })
      const purging = yield* Effect.fork(StreamPurge.run(ofTenant(made.tenantId)))
      yield* until(() => query("SELECT 1 FROM es_ops_runs WHERE phase = 'purging' AND outcome = 'running'"))
      yield* Effect.promise(() => writer.query("COMMIT"))
      assert.deepInclude(yield* Fiber.join(purging), { streams: 1, events: 3, leftover: [] })
    })
  )

  it.effect(
    "list what a program that knows no tombstones appends, which doctor finds, and the same purge deletes",
    () =>
      Effect.gen(function* () {
        const { connect, query } = yield* TestDatabase
        yield* StreamPurge.run(ofTenant(randomUUID()))
        const made = yield* archived
        const writer = yield* Effect.promise(connect)
        yield* Effect.promise(() => writer.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM kumiko_events"))
        const purging = yield* Effect.fork(StreamPurge.run(ofTenant(made.tenantId)))
        yield* until(() => query(stonesOf, [made.tenantId]))
        yield* Effect.promise(async () => {
          await writer.query(insert, [made.aggregateId, made.tenantId, 3, "{}"])
          await writer.query("COMMIT")
        })
        assert.deepStrictEqual((yield* Fiber.join(purging)).leftover, [
          { id: made.aggregateId, tenantId: made.tenantId, events: 1 }
        ])
        const { examine } = yield* DatabaseHealth.DatabaseHealth
        const finding = Effect.map(examine, (found) => found.find(({ name }) => name === "purged streams"))
        assert.include((yield* finding)?.detail, "1 purged streams have events again")
        assert.deepInclude(yield* StreamPurge.run(ofTenant(made.tenantId)), { streams: 1, events: 1 })
        assert.deepStrictEqual(yield* Effect.promise(() => query(eventsOf, [made.tenantId])), [])
        assert.propertyVal(yield* finding, "fault", "none")
        yield* Effect.promise(() => query("DELETE FROM kumiko_archived_streams WHERE tenant_id = $1", [made.tenantId]))
        assert.include((yield* finding)?.detail, "no archive mark")
      })
  )

  it.effect("do not stop at a stream whose deletion is refused, and say where a deletion is swallowed", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const tenantId = randomUUID()
      const [, bad] = yield* archivedOrders(5, tenantId)
      const trigger = (body: string) => `CREATE OR REPLACE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF OLD.aggregate_id = '${bad?.aggregateId}' THEN ${body} END IF; RETURN OLD; END $$`
      const make = "CREATE TRIGGER guard BEFORE DELETE ON kumiko_events FOR EACH ROW EXECUTE FUNCTION guard()"
      for (const text of [trigger("RAISE EXCEPTION 'legal hold';"), make]) yield* Effect.promise(() => query(text))
      const done = yield* StreamPurge.run(ofTenant(tenantId))
      assert.deepInclude(done, { streams: 4, events: 8 })
      assert.deepStrictEqual(
        done.failed.map(({ id }) => id),
        [bad?.aggregateId]
      )
      assert.include(done.failed[0]?.error.message, "legal hold")
      yield* Effect.promise(() => query(trigger("RETURN NULL;")))
      const error = yield* Effect.flip(StreamPurge.run(ofTenant(tenantId)))
      assert.include(error.message, "look for a trigger")
      yield* Effect.promise(() => query("DROP TRIGGER guard ON kumiko_events"))
      assert.lengthOf(yield* Effect.promise(() => query(stonesOf, [tenantId])), 4)
      assert.deepInclude(yield* StreamPurge.run(ofTenant(tenantId)), { streams: 1, events: 2 })
    })
  )
})
