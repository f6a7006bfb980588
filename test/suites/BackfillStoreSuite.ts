/**
 * What every database of a backfill does.
 */
import { assert, layer } from "@effect/vitest"
import { Array as Arr, DateTime, Effect, Option } from "effect"
import type { Layer } from "effect"
import { BackfillStore, EventStore, Transactor } from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const at = new Date("2020-02-03T04:05:06.789Z")

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`BackfillStore: ${name}`, (it) => {
    const dated = (aggregateId: string, version: number, payload: string): BackfillStore.DatedEvent => ({
      tenantId: "00000000-0000-4000-8000-00000000000a",
      aggregateId,
      aggregateType: "order",
      version,
      type: "placed",
      eventVersion: 2,
      payload,
      metadata: { userId: "clerk", headers: { backfill: "orders", backfillKey: "1" } },
      createdAt: at,
      createdBy: "clerk"
    })

    it.effect("appends events with their own dates, and knows their streams by the headers", () =>
      Effect.gen(function* () {
        const store = yield* BackfillStore.BackfillStore
        const events = yield* EventStore.EventStore
        const [id, other, archived] = [randomUUID(), randomUUID(), randomUUID()]
        const tenantId = "00000000-0000-4000-8000-00000000000a"
        const added = yield* store.append([
          dated(id, 1, `{"n":1,"text":"ä \\u0022"}`),
          dated(id, 2, `{"n":2,"text":"{\\\\,\\"}"}`)
        ])
        assert.deepStrictEqual(
          added.map(({ payload, version }) => [version, payload]),
          [
            [1, { n: 1, text: 'ä "' }],
            [2, { n: 2, text: '{\\,"}' }]
          ]
        )
        const [first] = yield* events.load({ tenantId, aggregateId: id })
        assert.deepInclude(first, { eventVersion: 2, createdBy: "clerk", id: added[0].id })
        assert.deepStrictEqual(first?.createdAt, DateTime.unsafeMake(at))
        yield* events.archive({ tenantId, aggregateId: archived, aggregateType: "order", archivedBy: "u" })
        const seen = yield* store.look([
          { tenantId, aggregateId: id },
          { tenantId, aggregateId: other },
          { tenantId, aggregateId: archived }
        ])
        assert.isAbove(seen.now.getTime(), at.getTime())
        assert.sameDeepMembers(
          seen.streams.map(({ aggregateId, headers, isArchived }) => [aggregateId, isArchived, Option.isSome(headers)]),
          [
            [id, false, true],
            [other, false, false],
            [archived, true, false]
          ]
        )
        const known = seen.streams.find(({ aggregateId }) => aggregateId === id)
        assert.deepStrictEqual(known?.headers, Option.some({ backfill: "orders", backfillKey: "1" }))
      })
    )

    it.effect("knows the rows of a backfill by their events on another tenant, and behind those of others", () =>
      Effect.gen(function* () {
        const store = yield* BackfillStore.BackfillStore
        const [moved, merged, plain] = [randomUUID(), randomUUID(), randomUUID()]
        const tenantId = "00000000-0000-4000-8000-00000000000b"
        const without = { metadata: { userId: "clerk" } }
        yield* store.append([
          dated(moved, 1, "{}"),
          dated(moved, 2, "{}"),
          { ...dated(moved, 3, "{}"), ...without },
          { ...dated(merged, 1, "{}"), ...without, tenantId },
          { ...dated(merged, 2, "{}"), tenantId },
          { ...dated(plain, 1, "{}"), ...without, tenantId }
        ])
        const ids = Arr.make(moved, merged, plain)
        const { streams } = yield* store.look(Arr.map(ids, (aggregateId) => ({ tenantId, aggregateId })))
        const found = ids.map((id) => streams.find(({ aggregateId }) => aggregateId === id))
        const headers = { backfill: "orders", backfillKey: "1", backfillDigest: "" }
        assert.deepStrictEqual(
          found.map((stream) => stream?.backfilled),
          [[headers, headers], [headers], []]
        )
        const { streams: own } = yield* store.look([dated(moved, 1, "")])
        assert.deepStrictEqual(
          own.map(({ backfilled }) => backfilled),
          [[]]
        )
      })
    )

    it.effect("appends all or none, and refuses a version that is there", () =>
      Effect.gen(function* () {
        const store = yield* BackfillStore.BackfillStore
        const events = yield* EventStore.EventStore
        const transactor = yield* Transactor.Transactor
        const [id, other] = [randomUUID(), randomUUID()]
        yield* store.append([dated(id, 1, "{}")])
        const twice = transactor.savepoint(store.append([dated(other, 1, "{}"), dated(id, 1, "{}")]))
        assert.strictEqual((yield* Effect.flip(twice))._tag, "DatabaseError")
        assert.deepStrictEqual(
          yield* events.load({ tenantId: "00000000-0000-4000-8000-00000000000a", aggregateId: other }),
          []
        )
      })
    )
  })
