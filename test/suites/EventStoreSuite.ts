/**
 * What every event store does.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import type { Layer } from "effect"
import { Event, EventStore, Transactor } from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const make = (stream: Event.StreamId, version: number, more: Partial<Event.NewEvent> = {}): Event.NewEvent => ({
  ...stream,
  aggregateType: "order",
  version,
  type: "order.placed",
  eventVersion: 1,
  payload: { n: version, text: "ä 'quoted' \\ \"", nested: { list: [1, null, true] } },
  metadata: { userId: Event.systemUserId, correlationId: "c", headers: { operationId: "op", count: 2, flag: true } },
  ...more
})

const fresh = () => ({ tenantId: randomUUID(), aggregateId: randomUUID() })

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`EventStore: ${name}`, (it) => {
    it.effect("stores many events of many streams, and loads a stream in the order of its versions", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const [a, b] = [fresh(), fresh()]
        const added = yield* store.append([make(a, 1), make(b, 1), make(a, 2), make(b, 2), make(a, 3)])
        assert.deepStrictEqual(
          added.map(({ aggregateId, version }) => [aggregateId === a.aggregateId ? "a" : "b", version]),
          [
            ["a", 1],
            ["b", 1],
            ["a", 2],
            ["b", 2],
            ["a", 3]
          ]
        )
        const loaded = yield* store.load(a)
        assert.deepStrictEqual(
          loaded.map(({ version }) => version),
          [1, 2, 3]
        )
        const [first] = loaded
        assert.deepInclude(first, { ...make(a, 1), createdBy: Event.systemUserId })
        assert.deepStrictEqual(yield* store.version(a), 3)
        assert.deepStrictEqual(yield* store.version(fresh()), 0)
        assert.deepStrictEqual(yield* store.load(fresh()), [])
      })
    )

    it.effect("stores each of many events with what is its own, whatever it shares with others", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const [a, b] = [fresh(), fresh()]
        const shared = { userId: "someone", headers: { operationId: "shared" } }
        const events = [
          make(a, 1, { metadata: shared }),
          make(b, 1, { metadata: shared }),
          make({ ...b, tenantId: a.tenantId }, 1, { metadata: shared, type: "order.paid" }),
          make(a, 2, { metadata: shared, eventVersion: 2 }),
          make(a, 3, { metadata: { userId: "another" } }),
          make(a, 4, { metadata: { userId: "another", idempotencyKey: "once" } }),
          make(b, 2, { metadata: shared, aggregateType: "invoice" })
        ] as const
        const added = yield* store.append(events)
        const loaded = yield* Effect.forEach([a, b, { ...b, tenantId: a.tenantId }], store.load)
        assert.deepStrictEqual(
          loaded.flat().toSorted((x, y) => (x.id < y.id ? -1 : 1)),
          [...added]
        )
        for (const [at, event] of events.entries()) {
          assert.deepInclude(added[at], { ...event, createdBy: event.metadata.userId })
        }
      })
    )

    it.effect("loads a stream of more than ten events in the order of their numbers", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = fresh()
        const versions = Array.from({ length: 12 }, (_, index) => index + 1)
        for (const version of versions) yield* store.append([make(stream, version)])
        assert.deepStrictEqual(
          (yield* store.load(stream)).map(({ version }) => version),
          versions
        )
      })
    )

    it.effect("gives ids that rise in the order of the append", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = fresh()
        const added = yield* store.append([make(stream, 1), make(stream, 2), make(stream, 3)])
        assert.deepStrictEqual(
          added.map(({ id }) => id),
          added.map(({ id }) => id).toSorted((x, y) => (x < y ? -1 : 1))
        )
      })
    )

    it.effect(
      "refuses an append to another version than the stream has, and names both; nothing of the batch is stored",
      () =>
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const [a, b] = [fresh(), fresh()]
          yield* store.append([make(a, 1), make(a, 2)])
          const behind = yield* Effect.flip(store.append([make(b, 1), make(a, 2)]))
          assert.strictEqual(behind._tag, "VersionConflict")
          assert.deepInclude(behind, { ...a, expected: 1, actual: Option.some(2) })
          assert.strictEqual((yield* Effect.flip(store.append([make(a, 4)])))._tag, "VersionConflict")
          assert.strictEqual((yield* Effect.flip(store.append([make(b, 2)])))._tag, "VersionConflict")
          assert.deepStrictEqual(yield* store.load(b), [])
        })
    )

    it.effect("refuses versions with a gap inside one append", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = fresh()
        assert.strictEqual(
          (yield* Effect.flip(store.append([make(stream, 1), make(stream, 3)])))._tag,
          "VersionConflict"
        )
        assert.strictEqual(
          (yield* Effect.flip(store.append([make(stream, 1), make(stream, 1)])))._tag,
          "VersionConflict"
        )
        assert.deepStrictEqual(yield* store.load(stream), [])
      })
    )

    it.effect("takes ids in each form in which PostgreSQL reads UUIDs, and nothing else, for what is read too", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = fresh()
        const forms = [
          (id: string) => id.toUpperCase(),
          (id: string) => `{${id}}`,
          (id: string) => id.replaceAll("-", ""),
          (id: string) => id.replaceAll("-", "").replace(/^.{4}/, "$&-")
        ]
        for (const form of forms) yield* store.append([make({ ...fresh(), tenantId: form(stream.tenantId) }, 1)])
        const wrong = ["t", "", `${stream.tenantId} `, `{${stream.tenantId}`, stream.tenantId.slice(1), "order-1"]
        for (const id of wrong) {
          for (const ids of [
            { ...stream, tenantId: id },
            { ...stream, aggregateId: id }
          ]) {
            const tried = [
              store.append([make(stream, 1), make(ids, 1)]),
              store.load(ids),
              store.version(ids),
              store.archive({ ...ids, aggregateType: "order", archivedBy: "test" })
            ]
            for (const one of tried) {
              const error = yield* Effect.flip(one)
              assert.isTrue(
                error._tag === "DatabaseError" && Option.contains(error.code, "22P02"),
                `${id}: ${error.message}`
              )
            }
          }
        }
        assert.strictEqual(yield* store.version(stream), 0)
      })
    )

    it.effect("keeps the streams of two tenants apart, also for one aggregate id", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = fresh()
        const other = { ...stream, tenantId: randomUUID() }
        yield* store.append([make(stream, 1), make(stream, 2)])
        yield* store.append([make(other, 1)])
        assert.deepStrictEqual([yield* store.version(stream), yield* store.version(other)], [2, 1])
      })
    )

    it.effect("refuses appends to an archived stream, and reads it on; archiving twice is no error", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = fresh()
        yield* store.append([make(stream, 1)])
        const archive = store.archive({ ...stream, aggregateType: "order", archivedBy: "me", reason: "closed" })
        yield* Effect.zipRight(archive, archive)
        const refused = yield* Effect.flip(store.append([make(stream, 2)]))
        assert.deepInclude(refused, { _tag: "StreamArchived", ...stream })
        assert.strictEqual((yield* store.load(stream)).length, 1)
      })
    )

    it.effect("stores an idempotency key once for a tenant, and lets another tenant use it", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const [a, b] = [fresh(), fresh()]
        const keyed = (stream: Event.StreamId, version: number) =>
          make(stream, version, { metadata: { userId: "u", idempotencyKey: "k" } })
        yield* store.append([keyed(a, 1)])
        const again = yield* Effect.flip(store.append([keyed({ ...b, tenantId: a.tenantId }, 1)]))
        assert.deepInclude(again, { _tag: "IdempotencyConflict", tenantId: a.tenantId, idempotencyKey: "k" })
        assert.strictEqual((yield* Effect.flip(store.append([keyed(b, 1), keyed(b, 2)])))._tag, "IdempotencyConflict")
        yield* store.append([keyed(b, 1)])
      })
    )

    it.effect("goes on in the same transaction after a conflict", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const transactor = yield* Transactor.Transactor
        const stream = fresh()
        yield* store.append([make(stream, 1)])
        yield* Transactor.run(
          transactor,
          Effect.gen(function* () {
            yield* Effect.flip(store.append([make(stream, 1)]))
            yield* store.append([make(stream, 2)])
          }),
          "test"
        )
        assert.strictEqual(yield* store.version(stream), 2)
      })
    )

    it.effect("lets one of many concurrent appends of one version win", () =>
      Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const stream = fresh()
        const exits = yield* Effect.all(
          Array.from({ length: 8 }, () => Effect.exit(store.append([make(stream, 1), make(stream, 2)]))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
        for (const exit of exits.filter(Exit.isFailure)) {
          assert.strictEqual(exit.cause._tag === "Fail" ? exit.cause.error._tag : exit.cause._tag, "VersionConflict")
        }
        assert.strictEqual(yield* store.version(stream), 2)
      })
    )
  })
