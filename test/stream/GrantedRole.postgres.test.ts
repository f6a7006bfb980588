/**
 * A role that has what `schema --grants` prints and no more: it runs every kind of long operation.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import {
  DatabaseHealth,
  EsOps,
  EventBackfill,
  EventReplay,
  EventStore,
  ProjectionRebuild,
  RunLog,
  SnapshotRebuild,
  StreamArchive,
  StreamMove,
  StreamPurge,
  StreamRestore
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { order, shop } from "../suites/ArchiveSuite.js"
import { ofTenant, problemsOf } from "../suites/PurgeSuite.js"
import { sales } from "../suites/SalesFeature.js"
import { postgresOf } from "../support/services.js"
import { clientOf, TestDatabase } from "../support/TestDatabase.js"

const features = [shop, sales]

/** What the system that we are drop-in for has besides. */
const theirs = [
  "CREATE TABLE kumiko_event_consumers (name text, instance_id text, last_processed_event_id bigint, status text)",
  "CREATE TABLE kumiko_snapshots (aggregate_id uuid, tenant_id uuid, aggregate_type text, version integer, state jsonb)",
  "CREATE TABLE kumiko_rebuild_dead_letters (tenant_id uuid, aggregate_id uuid, payload jsonb)"
]

/** Runs `use` as a role of its own, and gives it a way to run statements as the administrator. */
const asRole = <A, E>(
  use: (role: string, run: (text: string) => Effect.Effect<unknown>) => Effect.Effect<A, E, EsOps.Services>
) =>
  Effect.gen(function* () {
    const { query, url } = yield* TestDatabase
    const run = (text: string) => Effect.promise(() => query(text))
    const role = `granted_${randomUUID().replaceAll("-", "")}`
    yield* run(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'; REVOKE ALL ON SCHEMA public FROM PUBLIC`)
    for (const statement of yield* EsOps.grants({ seeds: {}, features }, role)) yield* run(statement)
    // The rows of another application are locked by whoever reads them.
    yield* run(`GRANT SELECT, UPDATE ON legacy TO ${role}`)
    const as = new URL(url)
    as.username = role
    as.password = "secret"
    const own = EsOps.layer({ seeds: {}, features }).pipe(Layer.provide(clientOf(as.href)))
    return yield* Effect.ensuring(Effect.provide(use(role, run), own), run(`DROP OWNED BY ${role}; DROP ROLE ${role}`))
  })

/** What is there before a role is given anything. */
const tables = Layer.effectDiscard(
  Effect.gen(function* () {
    const { query } = yield* TestDatabase
    const ddl = yield* EsOps.ddl({ seeds: {}, features })
    const missing = ddl.filter((statement) => /es_ops_(?!attempts)/.test(statement))
    const legacy = "CREATE TABLE legacy (id bigint PRIMARY KEY, sku text NOT NULL, at timestamptz NOT NULL)"
    for (const statement of [...missing, ...theirs, legacy]) yield* Effect.promise(() => query(statement))
  })
)

layer(Layer.provideMerge(tables, postgresOf(features)), { excludeTestServices: true })(
  "a role that has what schema --grants prints",
  (it) => {
    it.effect("backfills, replays, takes snapshots, rebuilds, moves, archives, restores and purges", () =>
      Effect.gen(function* () {
        const made = yield* order(["order.placed"])
        const to = randomUUID()
        const moved = { aggregateId: made.aggregateId, tenantId: to }
        yield* asRole((role, run) =>
          Effect.gen(function* () {
            yield* run("INSERT INTO legacy VALUES (1, 'a', '2020-01-01Z')")
            yield* EventBackfill.run({ backfill: "legacy", appliedBy: "cli" })
            yield* EventReplay.run({ subscriber: "mail", bounds: { all: true }, appliedBy: "cli" })
            yield* SnapshotRebuild.run({ aggregate: "order", appliedBy: "cli" })
            yield* SnapshotRebuild.verify("order")
            yield* ProjectionRebuild.run({ projections: ["orders"] })
            const move = { aggregateId: made.aggregateId, from: made.tenantId, to }
            assert.deepInclude(yield* StreamMove.run({ moves: [move] }), { moved: 1, failed: [] })
            for (const change of [StreamArchive.run, StreamRestore.run, StreamArchive.run]) {
              assert.lengthOf((yield* change({ streams: [moved] })).changed, 1)
            }
            assert.deepInclude(yield* StreamPurge.plan(ofTenant(to)), { streams: 1, problems: [] })
            const { examine } = yield* DatabaseHealth.DatabaseHealth
            const privileges = Effect.map(examine, (found) => found.find(({ name }) => name === "privileges"))
            assert.notInclude((yield* privileges)?.detail, "streams")
            yield* run(`REVOKE DELETE ON kumiko_events, kumiko_snapshots FROM ${role}`)
            assert.deepStrictEqual(yield* problemsOf(ofTenant(to)), ["RightMissing", "RightMissing"])
            assert.include(
              (yield* privileges)?.detail,
              'not what moving, restoring or purging streams needs: it lacks DELETE on "kumiko_events"'
            )
            yield* run(`GRANT DELETE ON kumiko_events, kumiko_snapshots TO ${role}`)
            assert.deepInclude(yield* StreamPurge.run(ofTenant(to)), { streams: 1, events: 1, failed: [] })
          })
        )
      })
    )

    it.effect("is told before a run begins what it lacks on the tables of the run's record", () =>
      asRole((role, run) =>
        Effect.gen(function* () {
          const made = yield* order(["order.placed"])
          const moves = [{ aggregateId: made.aggregateId, from: made.tenantId, to: randomUUID() }]
          const count = Effect.map(RunLog.RunLog, (log) => log.newest("stream-migration")).pipe(Effect.flatten)
          const before = (yield* count).size
          yield* run(`REVOKE INSERT ON kumiko_es_operations, es_ops_attempts FROM ${role}`)
          const refused = yield* Effect.flip(StreamMove.run({ moves }))
          assert.strictEqual(refused._tag, "DatabaseError")
          assert.include(
            refused.message,
            '[42501]: the role lacks INSERT on "kumiko_es_operations", INSERT on "es_ops_attempts"'
          )
          assert.strictEqual((yield* count).size, before)
          const { version } = yield* EventStore.EventStore
          assert.strictEqual(yield* version(made), 1)
          // What writes no marker needs no right to one.
          yield* run(`GRANT INSERT ON es_ops_attempts TO ${role}; REVOKE DELETE ON es_ops_dead_letters FROM ${role}`)
          yield* SnapshotRebuild.run({ aggregate: "order", appliedBy: "cli" })
          const rebuild = yield* Effect.flip(ProjectionRebuild.run({ projections: ["orders"] }))
          assert.include(rebuild.message, 'DELETE on "es_ops_dead_letters"')
        })
      )
    )
  }
)
