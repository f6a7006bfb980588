/**
 * Events whose date JavaScript has no instant for.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect } from "effect"
import { Event, EventStore } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Reference from "../../support/Reference.js"
import { fresh, layerOf } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

/** The events of a stream, by their versions. */
const cameTo =
  (stream: Pick<Event.NewEvent, "tenantId" | "aggregateId">) =>
  (version: number): Event.NewEvent => ({
    ...stream,
    aggregateType: "thing",
    version,
    type: "came",
    eventVersion: 1,
    payload: {},
    metadata: { userId: "u" }
  })

describe("a stream with dates that JavaScript cannot hold", () => {
  it.effect("is appended to and loaded, those dates as text", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const dated = (date: string) =>
        Effect.promise(() => query(`ALTER TABLE kumiko_events ALTER created_at SET DEFAULT '${date}'`))
      yield* Effect.promise(() => query(Reference.tables))
      const stream = { tenantId: randomUUID(), aggregateId: randomUUID() }
      const event = cameTo(stream)
      const times = yield* Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        yield* dated("-infinity")
        const one = yield* store.append([event(1)])
        yield* dated("290000-01-02 03:04:05.678+00")
        const many = yield* store.append([event(2), event(3)])
        const loaded = yield* store.load(stream)
        return [[...one, ...many], loaded].map((events) => events.map(({ createdAt }) => createdAt))
      }).pipe(Effect.provide(layerOf(Database.clientOf(url), {})))
      const year = "290000-01-02T03:04:05Z"
      assert.deepStrictEqual(times, [
        ["-infinity", year, year],
        ["-infinity", year, year]
      ])
    }).pipe(fresh)
  )
})

describe("events of one append that the table gives dates of their own", () => {
  it.effect("are answered with the dates that are stored", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.promise(() =>
        query(`${Reference.tables}; CREATE SEQUENCE days;
          ALTER TABLE kumiko_events ALTER created_at SET DEFAULT '2026-01-01Z'::timestamptz + nextval('days') / 2 * interval '1 day'`)
      )
      const stream = { tenantId: randomUUID(), aggregateId: randomUUID() }
      const event = cameTo(stream)
      const { added, loaded } = yield* Effect.gen(function* () {
        const store = yield* EventStore.EventStore
        const added = yield* store.append([event(1), event(2), event(3)])
        return { added, loaded: yield* store.load(stream) }
      }).pipe(Effect.provide(layerOf(Database.clientOf(url), {})))
      assert.deepStrictEqual([...added], [...loaded])
      assert.deepStrictEqual(
        loaded.map(({ createdAt }) => (typeof createdAt === "string" ? createdAt : DateTime.formatIso(createdAt))),
        ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "2026-01-02T00:00:00.000Z"]
      )
    }).pipe(fresh)
  )
})
