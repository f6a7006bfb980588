/**
 * The database of a backfill: the rows of its source, the streams that are there, and the append of events with dates of their own.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { SqlSource } from "../event/Backfill.js"
import type { Event, EventMetadata, StreamId } from "../event/Event.js"
import type { DatabaseError } from "../operation/OperationError.js"

/** A row of a source, with its key as text. */
export interface SourceRow {
  readonly key: string
  /** As the driver gives it. */
  readonly row: unknown
}

/** What is known of a stream before anything is appended to it. */
export interface KnownStream extends StreamId {
  readonly isArchived: boolean
  readonly isPurged: boolean
  /** The headers of its first event; none for a stream that does not exist. */
  readonly headers: Option.Option<EventMetadata["headers"] & {}>
  /**
   * Where no backfill appended that event: the headers of those events of the same id, on any tenant, that a backfill did append. The stream was
   * moved or merged then.
   */
  readonly backfilled: ReadonlyArray<EventMetadata["headers"] & {}>
}

/** An event with a date of its own, and its payload as the text of JSON. */
export interface DatedEvent extends StreamId {
  readonly aggregateType: string
  readonly version: number
  readonly type: string
  readonly eventVersion: number
  readonly payload: string
  readonly metadata: EventMetadata
  readonly createdAt: Date
  readonly createdBy: string
}

/** The port of backfills. */
export class BackfillStore extends Context.Tag("effect-es-ops/BackfillStore")<
  BackfillStore,
  {
    /**
     * The rows behind a key, up to another one where it is given, in the order of keys; with `lock` they cannot be changed until the transaction of
     * the fiber ends.
     */
    readonly read: (
      source: SqlSource,
      page: {
        readonly after: Option.Option<string>
        readonly upTo?: string | undefined
        readonly limit: number
        readonly lock: boolean
      }
    ) => Effect.Effect<ReadonlyArray<SourceRow>, DatabaseError>
    /** How many rows it has. */
    readonly count: (source: SqlSource) => Effect.Effect<number, DatabaseError>
    /** Keys, in their order, between which there are about as many rows: the inner ends of so many parts. Looks at every key. */
    readonly boundaries: (source: SqlSource, parts: number) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    /** Whether its rows can be locked: not those of a query that groups or joins what is not there, nor without the privilege. */
    readonly canLock: (source: SqlSource) => Effect.Effect<boolean, DatabaseError>
    /** The time of the database, and what is known of streams. */
    readonly look: (
      streams: NonEmptyReadonlyArray<StreamId>
    ) => Effect.Effect<{ readonly now: Date; readonly streams: ReadonlyArray<KnownStream> }, DatabaseError>
    /** Appends the first events of new streams, in the transaction of the fiber; nobody is notified. */
    readonly append: (
      events: NonEmptyReadonlyArray<DatedEvent>
    ) => Effect.Effect<NonEmptyReadonlyArray<Event>, DatabaseError>
  }
>() {}
