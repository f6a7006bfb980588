/**
 * Moves on a server, beside others that write the same streams.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { EsOps, EventStore, StreamMove } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { order, rowOf, shop } from "../suites/ArchiveSuite.js"
import { postgresOf } from "../support/services.js"
import { TestDatabase } from "../support/TestDatabase.js"

const insert = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  VALUES ($1, 'order', $2, $3, 'order.shipped', $4::jsonb, '{"userId": "u"}', 'u')`

const digestOf = `SELECT md5(string_agg(concat_ws('|', id, version, type, event_version, payload, metadata, created_at, created_by), ',' ORDER BY id)) AS digest
  FROM kumiko_events WHERE aggregate_id = $1`

/** Asks until the answer has a row. */
const until = (query: () => Promise<ReadonlyArray<unknown>>) =>
  Effect.repeat(Effect.promise(query), { until: (rows) => rows.length > 0 })

layer(postgresOf([shop]), { excludeTestServices: true })("moves on a server", (it) => {
  it.effect.each(["READ COMMITTED", "REPEATABLE READ"])(
    "put behind what a %s transaction from before the move appends to where the stream was",
    (isolation) =>
      Effect.gen(function* () {
        const { connect, query } = yield* TestDatabase
        const made = yield* order(["order.placed"])
        const to = randomUUID()
        const writer = yield* Effect.promise(connect)
        const found = yield* Effect.promise(async () => {
          await writer.query(`BEGIN ISOLATION LEVEL ${isolation}`)
          return writer.query(
            "SELECT max(version) AS version FROM kumiko_events WHERE tenant_id = $1 AND aggregate_id = $2",
            [made.tenantId, made.aggregateId]
          )
        })
        assert.strictEqual(found.rows[0]?.version, 1)
        const moving = yield* Effect.fork(
          StreamMove.run({ moves: [{ aggregateId: made.aggregateId, from: made.tenantId, to }] })
        )
        yield* until(() =>
          query("SELECT 1 FROM kumiko_events WHERE tenant_id = $1 AND aggregate_id = $2", [to, made.aggregateId])
        )
        yield* Effect.promise(async () => {
          await writer.query(insert, [made.aggregateId, made.tenantId, 2, "{}"])
          await writer.query("COMMIT")
        })
        const { stragglers } = yield* Fiber.join(moving)
        assert.deepStrictEqual(stragglers, [{ id: made.aggregateId, from: made.tenantId, to, events: 1 }])
        const store = yield* EventStore.EventStore
        const events = yield* store.load({ tenantId: to, aggregateId: made.aggregateId })
        assert.deepStrictEqual(
          events.map(({ type, version }) => [version, type]),
          [
            [1, "order.placed"],
            [2, "order.shipped"]
          ]
        )
        assert.deepInclude(yield* rowOf(made.aggregateId), { tenant_id: to, shipped: true })
      })
  )

  it.effect("leave a stream alone that begins anew where the moved one was", () =>
    Effect.gen(function* () {
      const made = yield* order(["order.placed", "order.shipped"])
      const move = { aggregateId: made.aggregateId, from: made.tenantId, to: randomUUID() }
      yield* StreamMove.run({ moves: [move] })
      const { query } = yield* TestDatabase
      yield* Effect.promise(() => query(insert, [made.aggregateId, made.tenantId, 1, "{}"]))
      const problems = yield* Effect.flip(StreamMove.run({ moves: [move] }))
      assert.strictEqual(problems._tag, "MovesRefused")
      assert.strictEqual(yield* (yield* EventStore.EventStore).version(made), 1)
    })
  )

  it.effect("copy nothing: payloads that JavaScript cannot hold, dates and ids are the same by their digest", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const made = { aggregateId: randomUUID(), tenantId: randomUUID() }
      const payload = '{"sku": "a", "n": 9007199254740993, "price": 1.10, "big": 1e400}'
      yield* Effect.promise(() => query(insert, [made.aggregateId, made.tenantId, 1, payload]))
      const before = yield* Effect.promise(() => query(digestOf, [made.aggregateId]))
      const move = { aggregateId: made.aggregateId, from: made.tenantId, to: randomUUID() }
      assert.deepInclude(yield* StreamMove.run({ moves: [move] }), { moved: 1, events: 1 })
      assert.deepStrictEqual(yield* Effect.promise(() => query(digestOf, [made.aggregateId])), before)
    })
  )

  it.effect("take our snapshots along, and delete those whose key knows no tenant", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const ddl = yield* EsOps.ddl({ seeds: {} })
      const tables = [
        ...ddl.filter((statement) => statement.includes("es_ops_snapshots")),
        `CREATE TABLE kumiko_snapshots (aggregate_id uuid, tenant_id uuid, aggregate_type text, version integer, state jsonb,
          PRIMARY KEY (aggregate_id, version))`
      ]
      for (const statement of tables) yield* Effect.promise(() => query(statement))
      const made = yield* order(["order.placed"])
      const to = randomUUID()
      for (const table of ["es_ops_snapshots", "kumiko_snapshots"]) {
        const more = table === "es_ops_snapshots" ? ["snapshot_version, ", "1, "] : ["", ""]
        yield* Effect.promise(() =>
          query(
            `INSERT INTO ${table} (aggregate_id, tenant_id, aggregate_type, ${more[0]}version, state) VALUES ($1, $2, 'order', ${more[1]}1, '{}')`,
            [made.aggregateId, made.tenantId]
          )
        )
      }
      yield* StreamMove.run({ moves: [{ aggregateId: made.aggregateId, from: made.tenantId, to }] })
      const left = yield* Effect.promise(() =>
        query(
          `SELECT 'ours' AS whose, tenant_id FROM es_ops_snapshots WHERE aggregate_id = $1
          UNION ALL SELECT 'theirs', tenant_id FROM kumiko_snapshots WHERE aggregate_id = $1`,
          [made.aggregateId]
        )
      )
      assert.deepStrictEqual(left, [{ whose: "ours", tenant_id: to }])
    })
  )

  it.effect("try again while others write, and go on when they are through", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const made = yield* order(["order.placed"])
      const move = { aggregateId: made.aggregateId, from: made.tenantId, to: randomUUID() }
      const writer = yield* Effect.promise(connect)
      yield* Effect.promise(async () => {
        await writer.query("BEGIN")
        await writer.query(insert, [randomUUID(), randomUUID(), 1, "{}"])
      })
      const moving = yield* Effect.fork(StreamMove.run({ moves: [move] }))
      yield* until(() =>
        query("SELECT 1 FROM es_ops_runs WHERE operation_type = 'stream-migration' AND outcome = 'running'")
      )
      yield* Effect.promise(() => writer.query("COMMIT"))
      assert.deepInclude(yield* Fiber.join(moving), { moved: 1, stragglers: [] })
    })
  )
})
