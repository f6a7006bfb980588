/**
 * What every feed of events does.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Layer } from "effect"
import { Event, EventFeed, EventStore } from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const everything = { after: Option.none(), from: Option.none(), to: Option.none() }

const a = "10000000-0000-4000-8000-000000000000"
const b = "20000000-0000-4000-8000-00000000000a"
const c = "30000000-0000-4000-8000-000000000000"

/** Three streams of two types, their versions one after another; the tenant is new. */
const written = Effect.gen(function* () {
  const store = yield* EventStore.EventStore
  const tenantId = randomUUID()
  const make = (aggregateId: string, version: number, type: string): Event.NewEvent => ({
    tenantId,
    aggregateId,
    aggregateType: type === "paid" ? "invoice" : "order",
    version,
    type,
    eventVersion: 1,
    payload: { n: version, text: "ä" },
    metadata: { userId: Event.systemUserId, headers: { count: 2 } }
  })
  const events = yield* store.append([
    make(c, 1, "paid"),
    make(b, 1, "placed"),
    make(a, 1, "placed"),
    make(b, 2, "sent"),
    make(a, 2, "sent"),
    make(b, 3, "kept")
  ])
  return { tenantId, events, first: events[0] }
})

const placeOf = ({ aggregateId, version }: Event.Event) => `${aggregateId.slice(0, 1)}${version}`

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`EventFeed: ${name}`, (it) => {
    it.effect("is settled up to the last event where nobody appends, and has no problem with its ids", () =>
      Effect.gen(function* () {
        const feed = yield* EventFeed.EventFeed
        assert.deepStrictEqual(yield* feed.problem, Option.none())
        const before = yield* feed.settled("1 second")
        const { events } = yield* written
        assert.strictEqual(yield* feed.settled("1 second"), events.at(-1)?.id)
        assert.isTrue(before < (events[0].id ?? 0n))
      })
    )

    it.effect("gives the events as the store loads them, page by page in the order of ids", () =>
      Effect.gen(function* () {
        const feed = yield* EventFeed.EventFeed
        const { events, first, tenantId } = yield* written
        const page = (after: bigint, upTo?: bigint) => feed.page({ tenantId, after, upTo }, 4)
        const one = yield* page(0n)
        assert.deepStrictEqual(one, events.slice(0, 4))
        assert.deepStrictEqual(yield* page(one.at(-1)?.id ?? 0n), events.slice(4))
        assert.deepStrictEqual(yield* page(first.id, first.id + 1n), events.slice(1, 2))
      })
    )

    it.effect("gives the events stream by stream, each by version, from any place in that order", () =>
      Effect.gen(function* () {
        const feed = yield* EventFeed.EventFeed
        const { tenantId } = yield* written
        const page = (range: Partial<Parameters<typeof feed.pageByStream>[1]>, limit = 10) =>
          Effect.map(feed.pageByStream({ tenantId }, { ...everything, ...range }, limit), (events) =>
            events.map(placeOf)
          )
        assert.deepStrictEqual(yield* page({}), ["11", "12", "21", "22", "23", "31"])
        assert.deepStrictEqual(yield* page({}, 3), ["11", "12", "21"])
        const after = Option.some({ tenantId, aggregateId: b, version: 1 })
        assert.deepStrictEqual(yield* page({ after }), ["22", "23", "31"])
        assert.deepStrictEqual(yield* page({ after, to: Option.some(c.toUpperCase()) }), ["22", "23"])
        assert.deepStrictEqual(yield* page({ from: Option.some(b.toUpperCase()) }, 2), ["21", "22"])
        assert.deepStrictEqual(yield* page({ after, from: Option.some(a.toUpperCase()) }), ["22", "23", "31"])
        assert.deepStrictEqual(yield* page({ after, from: Option.some(b.toUpperCase()) }), ["22", "23", "31"])
        assert.deepStrictEqual(yield* page({ after, from: Option.some(c.toUpperCase()) }), ["31"])
      })
    )

    it.effect("gives the ids between which there are about as many events, as many as there are", () =>
      Effect.gen(function* () {
        const feed = yield* EventFeed.EventFeed
        const { tenantId } = yield* written
        assert.deepStrictEqual(yield* feed.boundaries({ tenantId }, 3), [a, b])
        assert.deepStrictEqual(yield* feed.boundaries({ tenantId, aggregateTypes: ["invoice"] }, 3), [c])
        assert.deepStrictEqual(yield* feed.boundaries({ tenantId }, 1), [])
        assert.deepStrictEqual(yield* feed.boundaries({ tenantId: randomUUID() }, 3), [])
      })
    )

    it.effect("gives the events of an aggregate id by tenant and version, whichever tenant it is in", () =>
      Effect.gen(function* () {
        const feed = yield* EventFeed.EventFeed
        const [one, other] = [yield* written, yield* written]
        const upTo = yield* feed.settled("1 second")
        const events = yield* feed.ofAggregates({ after: one.first.id - 1n, upTo, types: ["placed", "sent"] }, [
          b.toUpperCase()
        ])
        const tenants = [one.tenantId, other.tenantId].toSorted()
        assert.deepStrictEqual(
          events.map(({ tenantId, version }) => [tenantId, version]),
          tenants.flatMap((tenantId) => [1, 2].map((version) => [tenantId, version]))
        )
      })
    )

    it.effect("leaves out what was not asked for: types, aggregate types, streams, dates, archived streams", () =>
      Effect.gen(function* () {
        const feed = yield* EventFeed.EventFeed
        const store = yield* EventStore.EventStore
        const { first, tenantId } = yield* written
        yield* store.archive({ tenantId, aggregateId: b, aggregateType: "order", archivedBy: "me" })
        const found = (selection: EventFeed.Selection) =>
          Effect.gen(function* () {
            const events = yield* feed.page({ tenantId, ...selection }, 10)
            assert.strictEqual(yield* feed.count({ tenantId, ...selection }), events.length)
            return events.map(placeOf).toSorted().join(" ")
          })
        const at = typeof first.createdAt === "string" ? 0 : first.createdAt.epochMillis
        assert.strictEqual(yield* found({ types: ["sent", "paid"] }), "12 22 31")
        assert.strictEqual(yield* found({ types: [] }), "")
        assert.strictEqual(yield* found({ aggregateTypes: ["invoice"] }), "31")
        assert.strictEqual(yield* found({ aggregateId: a }), "11 12")
        assert.strictEqual(yield* found({ fromAggregate: b.toUpperCase(), belowAggregate: c }), "21 22 23")
        assert.strictEqual(yield* found({ withoutArchived: true }), "11 12 31")
        assert.strictEqual(yield* found({ since: new Date(at), until: new Date(at + 1) }), "11 12 21 22 23 31")
        assert.strictEqual(yield* found({ until: new Date(at) }), "")
        assert.strictEqual(yield* found({ since: new Date(at + 1) }), "")
      })
    )

    it.effect("tells which of many streams are archived", () =>
      Effect.gen(function* () {
        const feed = yield* EventFeed.EventFeed
        const store = yield* EventStore.EventStore
        const tenantId = randomUUID()
        yield* store.archive({ tenantId, aggregateId: b, aggregateType: "order", archivedBy: "me" })
        const streams = [a, b].map((aggregateId) => ({ tenantId, aggregateId }))
        const archived = yield* feed.archivedAmong([
          { tenantId: randomUUID(), aggregateId: b },
          { tenantId, aggregateId: a },
          ...streams
        ])
        assert.deepStrictEqual(archived, [{ tenantId, aggregateId: b }])
      })
    )
  })
