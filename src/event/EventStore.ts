/**
 * The event store: streams of events, appended with optimistic concurrency, read in order of version, archived for good.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event, NewEvent, StreamId } from "./Event.js"

/** The stream is not at the version that the append expected. */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  tenantId: Schema.String,
  aggregateId: Schema.String,
  /** The version that the stream had to have. */
  expected: Schema.Number,
  /** The version that it has, where that is known: a writer that has not committed yet does not show its own. */
  actual: Schema.Option(Schema.Number)
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

/** The stream was purged: its events are gone for good, and its id does not come back. */
export class StreamPurged extends Schema.TaggedError<StreamPurged>()("StreamPurged", {
  tenantId: Schema.String,
  aggregateId: Schema.String
}) {
  override get message(): string {
    return `stream ${this.aggregateId} of tenant ${this.tenantId} was purged: its events are gone for good, and its id does not come back`
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

/** The failures of an append: nothing of it is stored then. */
export type AppendError = VersionConflict | StreamArchived | StreamPurged | IdempotencyConflict | DatabaseError

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
    /** Makes a stream read-only, and takes its rows out of the read tables that drop archived streams. One that is archived already stays as it is. */
    readonly archive: (
      stream: StreamId & {
        readonly aggregateType: string
        readonly archivedBy: string
        readonly reason?: string | undefined
      }
    ) => Effect.Effect<void, StreamPurged | DatabaseError>
  }
>() {}
