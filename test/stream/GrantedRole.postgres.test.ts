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
  ProjectionRebuild,
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

layer(postgresOf(features), { excludeTestServices: true })("a role that has what schema --grants prints", (it) => {
  it.effect("backfills, replays, takes snapshots, rebuilds, moves, archives, restores and purges", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const run = (text: string) => Effect.promise(() => query(text))
      const role = `granted_${new URL(url).pathname.slice(1)}`
      const ddl = yield* EsOps.ddl({ seeds: {}, features })
      const missing = ddl.filter((statement) => /es_ops_(?!attempts)/.test(statement))
      const legacy = "CREATE TABLE legacy (id bigint PRIMARY KEY, sku text NOT NULL, at timestamptz NOT NULL)"
      for (const statement of [...missing, ...theirs, legacy]) yield* run(statement)
      yield* run(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'; REVOKE ALL ON SCHEMA public FROM PUBLIC`)
      for (const statement of yield* EsOps.grants({ seeds: {}, features }, role)) yield* run(statement)
      // The rows of another application are locked by whoever reads them.
      yield* run(`GRANT SELECT, UPDATE ON legacy TO ${role}; INSERT INTO legacy VALUES (1, 'a', '2020-01-01Z')`)
      const as = new URL(url)
      as.username = role
      as.password = "secret"
      const own = EsOps.layer({ seeds: {}, features }).pipe(Layer.provide(clientOf(as.href)))
      const made = yield* order(["order.placed"])
      const to = randomUUID()
      const moved = { aggregateId: made.aggregateId, tenantId: to }
      yield* Effect.gen(function* () {
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
      }).pipe(Effect.provide(own))
      yield* run(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    })
  )
})
