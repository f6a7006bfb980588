/**
 * The event store in memory: streams in a `MemoryDatabase`, under the rules of the port.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { expectations, refuseTakenKeys, streamKey } from "../AppendRules.js"
import type { Event, NewEvent, StreamId } from "../Event.js"
import { EventStore, StreamArchived, StreamPurged, VersionConflict } from "../EventStore.js"
import { allStorable } from "../JsonValue.js"
import { MemoryEvents } from "./MemoryEvents.js"

/** The event store of a `MemoryDatabase`. */
export const layer: Layer.Layer<EventStore, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  EventStore,
  Effect.gen(function* () {
    const store = MemoryDatabase.view(yield* MemoryDatabase.MemoryDatabase, MemoryEvents, MemoryEvents.empty)
    const load = (stream: StreamId) =>
      Effect.zipRight(
        haveIds("reading a stream", [stream]),
        Effect.map(store.get, ({ events }) => events.filter((event) => streamKey(event) === streamKey(stream)))
      )
    const version = (stream: StreamId) => Effect.map(load(stream), (events) => events.at(-1)?.version ?? 0)

    const admit = (state: MemoryEvents["Type"], events: NonEmptyReadonlyArray<NewEvent>) =>
      Effect.gen(function* () {
        for (const { expected, ...stream } of yield* expectations(events)) {
          if (state.purged.has(streamKey(stream))) return yield* new StreamPurged(stream)
          if (state.archived.has(streamKey(stream))) return yield* new StreamArchived(stream)
          const actual = yield* version(stream)
          if (actual !== expected) {
            return yield* new VersionConflict({ ...stream, expected, actual: Option.some(actual) })
          }
        }
        yield* refuseTakenKeys(state.events, events)
      })

    return EventStore.of({
      load: (stream) => Effect.map(load(stream), (events) => events.map(copied)),
      version,
      append: Effect.fn("EventStore.append")(function* (given) {
        const events = yield* allStorable(given)
        yield* haveIds("appending events", events)
        const state = yield* store.get
        yield* admit(state, events)
        const createdAt = DateTime.unsafeMake(yield* Clock.currentTimeMillis)
        const stored = (event: NewEvent, index: number): Event => ({
          ...event,
          id: state.lastId + BigInt(index + 1),
          createdAt,
          createdBy: event.metadata.userId
        })
        const [head, ...tail] = events
        const added: NonEmptyReadonlyArray<Event> = [
          stored(head, 0),
          ...tail.map((event, index) => stored(event, index + 1))
        ]
        yield* store.update((current) => ({
          ...current,
          events: [...current.events, ...added.map(copied)],
          lastId: state.lastId + BigInt(added.length)
        }))
        return added
      }),
      archive: Effect.fn("EventStore.archive")(function* ({ aggregateType, archivedBy, reason, ...stream }) {
        yield* haveIds("archiving a stream", [stream])
        const state = yield* store.get
        if (state.purged.has(streamKey(stream))) return yield* new StreamPurged(stream)
        if (state.archived.has(streamKey(stream))) return
        const archivedAt = DateTime.unsafeMake(yield* Clock.currentTimeMillis)
        const mark = { aggregateType, archivedAt, archivedBy, reason: Option.fromNullable(reason) }
        yield* store.update((current) => ({
          ...current,
          archived: new Map(current.archived).set(streamKey(stream), mark)
        }))
      })
    })
  })
)

/** A UUID as PostgreSQL reads one (section 8.12): in either case, in braces or not, with a hyphen after any four digits or none. */
const uuid = /^(?:(?:[\da-f]{4}-?){7}[\da-f]{4}|\{(?:[\da-f]{4}-?){7}[\da-f]{4}\})$/i

/** Refuses what a server refuses with 22P02. */
const haveIds = (action: string, streams: ReadonlyArray<StreamId>): Effect.Effect<void, DatabaseError> => {
  const wrong = streams.flatMap(({ aggregateId, tenantId }) => [tenantId, aggregateId]).find((id) => !uuid.test(id))
  return wrong === undefined
    ? Effect.void
    : DatabaseError.because(action, `invalid input syntax for type uuid: ${JSON.stringify(wrong)}`, {
        code: Option.some("22P02")
      })
}

/** What is stored is nobody's to change: a payload that is handed out is another one, as it is from a server. */
const copied = (event: Event): Event => ({ ...event, payload: structuredClone(event.payload) })
