/**
 * Purges that race restores, appends and archivings of the same streams.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Random, Ref } from "effect"
import type { Event } from "effect-es-ops"
import { EventStore, StreamArchive, StreamPurge, StreamRestore } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { order, shop } from "../suites/ArchiveSuite.js"
import { ofTenant } from "../suites/PurgeSuite.js"
import { postgresOf } from "../support/services.js"
import { TestDatabase } from "../support/TestDatabase.js"

/** How many streams, and how often each of those who race does what it does. */
const [streams, rounds] = [6, 12] as const

layer(postgresOf([shop]), { excludeTestServices: true })("purges in a race", (it) => {
  it.effect("leave each stream whole or gone, and bring none back", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const tenantId = randomUUID()
      const made = yield* Effect.forEach(Array.from({ length: streams }), () => order(["order.placed"], { tenantId }))
      const store = yield* EventStore.EventStore
      const acknowledged = yield* Ref.make(new Map(made.map(({ aggregateId }) => [aggregateId, 1])))
      const again = (one: (stream: Event.StreamId) => Effect.Effect<unknown, unknown, never>) =>
        Effect.gen(function* () {
          for (let round = 0; round < rounds; round++) {
            const stream = made[yield* Random.nextIntBetween(0, streams)]
            if (stream !== undefined) yield* Effect.ignore(one(stream))
          }
        })
      const services = yield* Effect.context<Effect.Effect.Context<ReturnType<typeof StreamArchive.run>>>()
      const writing = again((stream) =>
        Effect.gen(function* () {
          const version = (yield* store.version(stream)) + 1
          const stored = yield* order(["order.shipped"], { ...stream, version: version - 1 })
          yield* Ref.update(acknowledged, (all) =>
            new Map(all).set(stored.aggregateId, Math.max(version, all.get(stored.aggregateId) ?? 0))
          )
        }).pipe(Effect.provide(services), Effect.provideService(EventStore.EventStore, store))
      )
      const archiving = again((stream) => Effect.provide(StreamArchive.run({ streams: [stream] }), services))
      const restoring = again((stream) => Effect.provide(StreamRestore.run({ streams: [stream] }), services))
      const racing = yield* Effect.forEach([writing, writing, archiving, restoring], Effect.fork)
      const purged = yield* Effect.forEach(Array.from({ length: 4 }), () => StreamPurge.run(ofTenant(tenantId)))
      yield* Fiber.joinAll(racing)
      const rows = yield* Effect.promise(() =>
        query(
          `SELECT s.id::text AS id, (p.tenant_id IS NOT NULL)::text AS purged,
            (SELECT coalesce(array_agg(version ORDER BY version), '{}') FROM kumiko_events e WHERE e.aggregate_id = s.id) AS versions,
            (SELECT count(*)::integer FROM kumiko_archived_streams a WHERE a.aggregate_id = s.id) AS marks
          FROM unnest($1::uuid[]) AS s (id) LEFT JOIN es_ops_purged_streams p ON p.aggregate_id = s.id`,
          [made.map(({ aggregateId }) => aggregateId)]
        )
      )
      const known = yield* Ref.get(acknowledged)
      for (const { id, marks, purged: isPurged, versions } of rows) {
        if (isPurged === "true") assert.deepStrictEqual([versions, marks], [[], 1])
        else {
          const found = Array.isArray(versions) ? versions : []
          assert.isAtLeast(found.length, known.get(String(id)) ?? 0)
          assert.deepStrictEqual(
            found,
            found.map((_, at) => at + 1)
          )
        }
      }
      assert.strictEqual(
        purged.reduce((sum, done) => sum + done.streams, 0),
        rows.filter((row) => row["purged"] === "true").length
      )
      assert.deepStrictEqual(
        purged.flatMap(({ failed, leftover }) => [...failed, ...leftover]),
        []
      )
    })
  )
})
