/**
 * Streams of events: appended with optimistic concurrency, read in order of version, archived for good.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as MemoryDatabase from "../operation/memory/MemoryDatabase.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event, NewEvent, StreamId } from "./Event.js"

/** The stream is not at the version that the append expected. */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  tenantId: Schema.String,
  aggregateId: Schema.String,
  /** The version that the stream had to have. */
  expected: Schema.Number,
  /** The version that it has, where that is known: a writer that has not committed yet does not show its own. */
  actual: Schema.OptionFromSelf(Schema.Number)
}) {
  override get message(): string {
    const actual = Option.match(this.actual, { onNone: () => "was written by another", onSome: (v) => `is at ${v}` })
    return `stream ${this.aggregateId} of tenant ${this.tenantId} ${actual}, expected version ${this.expected}`
  }
}

/** The stream is archived, hence read-only. */
export class StreamArchived extends Schema.TaggedError<StreamArchived>()("StreamArchived", {
  tenantId: Schema.String,
  aggregateId: Schema.String
}) {
  override get message(): string {
    return `stream ${this.aggregateId} of tenant ${this.tenantId} is archived`
  }
}

/** The tenant has an event with this idempotency key already. */
export class IdempotencyConflict extends Schema.TaggedError<IdempotencyConflict>()("IdempotencyConflict", {
  tenantId: Schema.String,
  idempotencyKey: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} has an event with the idempotency key "${this.idempotencyKey}" already`
  }
}

/** How an append can fail: nothing of it is stored then. */
export type AppendError = VersionConflict | StreamArchived | IdempotencyConflict | DatabaseError

/** The port of streams. */
export class EventStore extends Context.Tag("effect-es-ops/EventStore")<
  EventStore,
  {
    /**
     * Appends events to one or many streams, all or none, in one round trip. Each stream's versions follow on its current one without a
     * gap. Returned in the order given.
     */
    readonly append: (
      events: NonEmptyReadonlyArray<NewEvent>
    ) => Effect.Effect<NonEmptyReadonlyArray<Event>, AppendError>
    /** The events of a stream by version; none for a stream that does not exist. */
    readonly load: (stream: StreamId) => Effect.Effect<ReadonlyArray<Event>, DatabaseError>
    /** The version of a stream: that of its last event, 0 for a stream that does not exist. */
    readonly version: (stream: StreamId) => Effect.Effect<number, DatabaseError>
    /** Makes a stream read-only. One that is archived already stays as it is. */
    readonly archive: (
      stream: StreamId & {
        readonly aggregateType: string
        readonly archivedBy: string
        readonly reason?: string | undefined
      }
    ) => Effect.Effect<void, DatabaseError>
  }
>() {}

/** What an append expects of each stream: the version before its first event. Versions with a gap are a conflict. */
export const expectations = (
  events: NonEmptyReadonlyArray<NewEvent>
): Either.Either<ReadonlyArray<StreamId & { readonly expected: number }>, VersionConflict> => {
  const first = new Map<string, StreamId & { readonly expected: number }>()
  const last = new Map<string, number>()
  for (const { aggregateId, tenantId, version } of events) {
    const key = streamKey({ aggregateId, tenantId })
    const before = last.get(key)
    if (before === undefined) first.set(key, { aggregateId, tenantId, expected: version - 1 })
    else if (version !== before + 1) {
      const actual = Option.some(before)
      return Either.left(new VersionConflict({ aggregateId, tenantId, expected: version - 1, actual }))
    }
    last.set(key, version)
  }
  return Either.right([...first.values()])
}

/** A stream's name as one text. */
export const streamKey = ({ aggregateId, tenantId }: StreamId): string => `${tenantId}/${aggregateId}`

/** Events as they stand in a `MemoryDatabase`. */
export class MemoryEvents extends Context.Tag("effect-es-ops/MemoryEvents")<
  MemoryEvents,
  { readonly events: ReadonlyArray<Event>; readonly archived: ReadonlySet<string> }
>() {
  static readonly empty: MemoryEvents["Type"] = { events: [], archived: new Set() }
}

/** The event store of a `MemoryDatabase`. */
export const layerMemory: Layer.Layer<EventStore, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  EventStore,
  Effect.gen(function* () {
    const store = MemoryDatabase.view(yield* MemoryDatabase.MemoryDatabase, MemoryEvents, MemoryEvents.empty)
    const load = (stream: StreamId) =>
      Effect.map(store.get, ({ events }) => events.filter((event) => streamKey(event) === streamKey(stream)))
    const version = (stream: StreamId) => Effect.map(load(stream), (events) => events.at(-1)?.version ?? 0)

    const admit = (state: MemoryEvents["Type"], events: NonEmptyReadonlyArray<NewEvent>) =>
      Effect.gen(function* () {
        for (const { expected, ...stream } of yield* expectations(events)) {
          if (state.archived.has(streamKey(stream))) return yield* new StreamArchived(stream)
          const actual = yield* version(stream)
          if (actual !== expected) {
            return yield* new VersionConflict({ ...stream, expected, actual: Option.some(actual) })
          }
        }
        yield* refuseTakenKeys(state.events, events)
      })

    return EventStore.of({
      load,
      version,
      append: Effect.fn("EventStore.append")(function* (events) {
        const state = yield* store.get
        yield* admit(state, events)
        const createdAt = DateTime.unsafeMake(yield* Clock.currentTimeMillis)
        const stored = (event: NewEvent, index: number): Event => ({
          ...event,
          id: BigInt(state.events.length + index + 1),
          createdAt,
          createdBy: event.metadata.userId
        })
        const [head, ...tail] = events
        const added: NonEmptyReadonlyArray<Event> = [
          stored(head, 0),
          ...tail.map((event, index) => stored(event, index + 1))
        ]
        yield* store.update((current) => ({ ...current, events: [...current.events, ...added] }))
        return added
      }),
      archive: (stream) =>
        store.update((state) => ({ ...state, archived: new Set([...state.archived, streamKey(stream)]) }))
    })
  })
)

/** Fails with the first idempotency key of `events` that its tenant has in `earlier`, or twice in `events`. */
export const refuseTakenKeys = (
  earlier: ReadonlyArray<Event>,
  events: ReadonlyArray<NewEvent>
): Effect.Effect<void, IdempotencyConflict> => {
  const taken = new Set(earlier.flatMap(keyOf))
  for (const event of events) {
    const [key] = keyOf(event)
    if (key === undefined) continue
    if (taken.has(key)) {
      const { idempotencyKey = "" } = event.metadata
      return new IdempotencyConflict({ tenantId: event.tenantId, idempotencyKey })
    }
    taken.add(key)
  }
  return Effect.void
}

const keyOf = ({ metadata, tenantId }: NewEvent): ReadonlyArray<string> =>
  metadata.idempotencyKey === undefined ? [] : [`${tenantId}/${metadata.idempotencyKey}`]
