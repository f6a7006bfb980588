/**
 * `BackfillStore` of a `MemoryDatabase`.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { streamKey } from "../../event/AppendRules.js"
import type { Event } from "../../event/Event.js"
import { Payload } from "../../event/Event.js"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { DatedEvent } from "../BackfillStore.js"
import { BackfillStore } from "../BackfillStore.js"

/** The events of a `MemoryDatabase`. It has no tables to select from: a source there is a Stream. */
export const layer: Layer.Layer<BackfillStore, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  BackfillStore,
  Effect.map(MemoryDatabase.MemoryDatabase, (database) => {
    const store = MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty)
    const noTables = DatabaseError.because(reading, "a source in SQL needs a database: give a test Backfill.rows")
    return BackfillStore.of({
      read: () => noTables,
      count: () => noTables,
      boundaries: () => noTables,
      canLock: () => noTables,
      look: (streams) =>
        Effect.zipWith(store.get, Clock.currentTimeMillis, ({ archived, events }, now) => ({
          now: new Date(now),
          streams: streams.map(({ aggregateId, tenantId }) => {
            const key = streamKey({ aggregateId, tenantId })
            const first = events.find((event) => streamKey(event) === key)
            const isBackfilled = first?.metadata.headers?.["backfill"] !== undefined
            return {
              aggregateId,
              tenantId,
              isArchived: archived.has(key),
              isPurged: false,
              headers: Option.map(Option.fromNullable(first), ({ metadata }) => metadata.headers ?? {}),
              backfilled: isBackfilled ? [] : backfilledOf(events, aggregateId)
            }
          })
        })),
      append: ([first, ...others]) =>
        Effect.gen(function* () {
          const { events } = yield* store.get
          const taken = new Set(events.map((event) => `${streamKey(event)}/${event.version}`))
          const stored = (event: DatedEvent, n: number) => {
            const key = `${streamKey(event)}/${event.version}`
            if (taken.has(key)) return DatabaseError.because(appending, `stream ${event.aggregateId} exists`)
            taken.add(key)
            return toEvent(event, BigInt(events.length + n + 1))
          }
          const added: NonEmptyReadonlyArray<Event> = [
            yield* stored(first, 0),
            ...(yield* Effect.forEach(others, (event, at) => stored(event, at + 1)))
          ]
          yield* store.update((state) => ({ ...state, events: [...state.events, ...added] }))
          return added
        })
    })
  })
)

const reading = "reading the source of a backfill"
const appending = "appending the events of a backfill"

/** The headers of those events of an id that a backfill appended, on any tenant. */
const backfilledOf = (events: ReadonlyArray<Event>, aggregateId: string) =>
  events.flatMap((event) => {
    const { backfill, backfillDigest = "", backfillKey = "" } = event.metadata.headers ?? {}
    const isOf = event.aggregateId.toLowerCase() === aggregateId.toLowerCase() && backfill !== undefined
    return isOf ? [{ backfill, backfillDigest, backfillKey }] : []
  })

const toEvent = (event: DatedEvent, id: bigint): Effect.Effect<Event, DatabaseError> =>
  Effect.mapBoth(Schema.decodeUnknown(Schema.parseJson(Payload))(event.payload), {
    onFailure: (cause) => DatabaseError.because(appending, "a payload is no JSON object", { cause }),
    onSuccess: (payload) => ({ ...event, id, payload, createdAt: DateTime.unsafeMake(event.createdAt) })
  })
