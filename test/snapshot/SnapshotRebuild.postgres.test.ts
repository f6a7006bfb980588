/**
 * Snapshots on a server: what was tampered with, writers beside a rebuild, round trips, and a rebuild that is killed.
 */
import { assert, describe, it } from "@effect/vitest"
import { Array, Effect, Fiber, Layer, Option, Schema } from "effect"
import {
  Aggregate,
  EsOps,
  EventStore,
  EventType,
  Feature,
  RunObserver,
  SnapshotRebuild,
  SnapshotReport
} from "effect-es-ops"
import * as CountingProxy from "../support/CountingProxy.js"
import * as Database from "../support/TestDatabase.js"
import { TestDatabase } from "../support/TestDatabase.js"

const added = EventType.make({ type: "added", payload: Schema.Struct({ n: Schema.Number }) })

const account = Aggregate.make({
  type: "account",
  state: Schema.Struct({ sum: Schema.Number }),
  initial: { sum: 0 },
  snapshotVersion: 2,
  snapshotEvery: 3,
  on: [[added, ({ sum }, { payload }) => ({ sum: sum + payload.n })]]
})

const features = [Feature.make({ name: "f", handlers: [], aggregates: [account] })]

const services = EsOps.layer({ seeds: {}, features })

const world = services.pipe(Layer.provide(Database.client()), Layer.provideMerge(Database.layer))

const tenantId = "00000000-0000-4000-8000-00000000000a"

const idOf = (n: number) => `00000000-0000-4000-8000-${`${n}`.padStart(12, "0")}`

const rebuild = SnapshotRebuild.run({ aggregate: "account", appliedBy: "cli", observer: RunObserver.silent })

/** The events table, with streams of so many events each: every event adds its version. */
const seeded = (streams: number, events: number) =>
  Effect.gen(function* () {
    const { query } = yield* TestDatabase
    const statements = yield* EsOps.ddl({ features })
    yield* Effect.promise(() => query(statements.filter((text) => /kumiko_/.test(text)).join(";")))
    yield* Effect.promise(() =>
      query(`INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
        SELECT ('00000000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid, 'account', '${tenantId}', v, 'added',
          jsonb_build_object('n', v), '{"userId":"u"}', 'u' FROM generate_series(1, ${streams}) s, generate_series(1, ${events}) v`)
    )
    return query
  })

const append = (n: number, version: number) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    store.append([
      {
        tenantId,
        aggregateId: idOf(n),
        aggregateType: "account",
        version,
        type: "added",
        eventVersion: 1,
        payload: { n: version },
        metadata: { userId: "u" }
      }
    ])
  )

describe("snapshots on a server", () => {
  it.scopedLive("that are wrong, old, too new or of no stream are found by verify and mended by rebuild", () =>
    Effect.gen(function* () {
      const query = yield* seeded(6, 4)
      const done = yield* rebuild
      assert.deepInclude(Option.getOrThrow(done.value), { streams: 6, events: 24, missing: 6 })
      yield* Effect.promise(async () => {
        await query(`UPDATE es_ops_snapshots SET state = '{"sum":10.0}' WHERE aggregate_id = '${idOf(1)}'`)
        await query(`UPDATE es_ops_snapshots SET snapshot_version = 1 WHERE aggregate_id = '${idOf(2)}'`)
        await query(`UPDATE es_ops_snapshots SET version = 9 WHERE aggregate_id = '${idOf(3)}'`)
        await query(`UPDATE es_ops_snapshots SET aggregate_id = '${idOf(77)}' WHERE aggregate_id = '${idOf(4)}'`)
        await query(`DELETE FROM kumiko_events WHERE aggregate_id = '${idOf(6)}' AND version = 2`)
      })
      const { findings, ...found } = yield* SnapshotRebuild.verify("account")
      assert.deepInclude(found, { different: 1, outdated: 1, beyond: 1, orphaned: 1, missing: 3, failed: 1 })
      assert.strictEqual(findings.length, 7)
      assert.deepStrictEqual(
        found.failures.map(({ error }) => error.message),
        [`stream ${idOf(6)} of tenant ${tenantId} is incomplete: version 2 was expected, and 3 comes next`]
      )
      const mended = Option.getOrThrow((yield* rebuild).value)
      assert.deepStrictEqual([SnapshotReport.written(mended), SnapshotReport.deleted(mended)], [4, 3])
      assert.deepInclude(yield* SnapshotRebuild.verify("account"), { different: 0, missing: 0, beyond: 0, failed: 1 })
      assert.deepStrictEqual(
        yield* Effect.promise(() => query("SELECT DISTINCT state->>'sum' AS sum, version FROM es_ops_snapshots")),
        [{ sum: "10", version: 4 }]
      )
    }).pipe(Effect.provide(world))
  )

  it.scopedLive("are right after a rebuild with writers beside it that load, append and store snapshots", () =>
    Effect.gen(function* () {
      const query = yield* seeded(40, 5)
      const write = (n: number) =>
        Effect.gen(function* () {
          const { version } = yield* Aggregate.load(account, { tenantId, aggregateId: idOf(n) })
          yield* append(n, version + 1)
        })
      const writers = yield* Effect.forkScoped(
        Effect.forever(Effect.forEach(Array.range(1, 40), write, { concurrency: 2, discard: true }))
      )
      yield* rebuild
      // A wrong one is loaded by writers, who store what comes of it.
      yield* Effect.promise(() =>
        query(`UPDATE es_ops_snapshots SET state = '{"sum":-1000}' WHERE right(aggregate_id::text, 1) IN ('1', '2', '3');
          UPDATE es_ops_snapshots SET snapshot_version = 1 WHERE right(aggregate_id::text, 1) = '4';
          UPDATE es_ops_snapshots SET version = version + 1000 WHERE right(aggregate_id::text, 1) = '5';
          UPDATE es_ops_snapshots SET aggregate_id = '${idOf(99)}' WHERE aggregate_id = '${idOf(6)}'`)
      )
      const mended = Option.getOrThrow((yield* rebuild).value)
      assert.isAtLeast(mended.different, 1)
      assert.isAtLeast(mended.beyond, 4)
      assert.isAtLeast(mended.orphaned, 1)
      // Until a writer has stored a snapshot of its own, or has failed.
      const newest = Effect.promise(() => query("SELECT max(version) AS newest FROM es_ops_snapshots"))
      const written = Effect.repeat(newest, { until: ([found]) => Number(found?.["newest"]) > 5 })
      yield* Effect.raceFirst(written, Fiber.join(writers))
      yield* Fiber.interrupt(writers)
      const report = yield* SnapshotRebuild.verify("account")
      assert.deepInclude(report, { streams: 40, missing: 0, different: 0, outdated: 0, beyond: 0, orphaned: 0 })
      for (const n of Array.range(1, 40)) {
        const { state, version } = yield* Aggregate.load(account, { tenantId, aggregateId: idOf(n) })
        assert.strictEqual(state.sum, (version * (version + 1)) / 2)
      }
      const [last] = yield* newest
      assert.isAbove(Number(last?.["newest"]), 5)
    }).pipe(Effect.provide(world))
  )

  it.scopedLive("and their tail are one round trip, and the table is created by the first load that is due", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* seeded(1, 2)
      const isThere = Effect.promise(() => query("SELECT 1 WHERE to_regclass('es_ops_snapshots') IS NOT NULL"))
      const { hostname, port } = new URL(url)
      const proxy = yield* Effect.acquireRelease(
        Effect.promise(() => CountingProxy.start({ host: hostname, port: Number(port) })),
        ({ close }) => Effect.promise(close)
      )
      const through = new URL(url)
      through.port = `${proxy.port}`
      const context = yield* Layer.build(
        Layer.provide(services, Database.clientOf(through.href, { maxConnections: 1 }))
      )
      const load = Aggregate.load(account, { tenantId, aggregateId: idOf(1) })
      yield* Effect.gen(function* () {
        yield* load
        assert.strictEqual((yield* isThere).length, 0)
        yield* append(1, 3)
        assert.strictEqual((yield* isThere).length, 0)
        yield* load
        assert.strictEqual((yield* isThere).length, 1)
        yield* append(1, 4)
        yield* load
        proxy.take()
        const { state, version } = yield* load
        assert.deepInclude(proxy.take(), { roundTrips: 1 })
        assert.deepStrictEqual([state.sum, version], [10, 4])
      }).pipe(Effect.provide(context))
    }).pipe(Effect.provide(Database.layer))
  )

  it.scopedLive("are rebuilt from where an interrupted rebuild stood", () =>
    Effect.gen(function* () {
      const query = yield* seeded(3000, 3)
      let batches = 0
      const stopping = SnapshotRebuild.run({
        aggregate: "account",
        appliedBy: "cli",
        observer: { ...RunObserver.silent, progress: () => (++batches === 2 ? Effect.interrupt : Effect.void) }
      })
      yield* Effect.exit(stopping)
      const [half] = yield* Effect.promise(() => query("SELECT count(*)::int AS n FROM es_ops_snapshots"))
      assert.isBelow(Number(half?.["n"]), 3000)
      assert.isAbove(Number(half?.["n"]), 0)
      const done = yield* rebuild
      assert.deepInclude(Option.getOrThrow(done.value), { streams: 3000, events: 9000, missing: 3000 })
      assert.isTrue(SnapshotReport.isClean(yield* SnapshotRebuild.verify("account")))
    }).pipe(Effect.provide(world))
  )
})
