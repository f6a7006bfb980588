/**
 * The feed of events: what runs read of all streams, up to an id below which nothing comes any more.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event, StreamId } from "./Event.js"

/** Transactions that hold ids of events were not over within the time that was given. */
export class SettleTimeout extends Schema.TaggedError<SettleTimeout>()("SettleTimeout", {
  /** Each as a person can find it: process, application, address, since when and last statement; or the gid of a prepared transaction. */
  holders: Schema.NonEmptyArray(Schema.String)
}) {
  override get message(): string {
    return `events are not settled, as a transaction that appends is still open: ${this.holders.join("; ")}`
  }
}

/** Ids of events do not rise as they are given: no id can be told below which nothing comes any more. */
export class EventsUnordered extends Schema.TaggedError<EventsUnordered>()("EventsUnordered", {
  reason: Schema.String
}) {
  override get message(): string {
    return `the ids of events are not given in order: ${this.reason}`
  }
}

/** The events that are wanted. What is left out does not narrow them. */
export interface Selection {
  /** The ids above this one. Default: all. */
  readonly after?: bigint | undefined
  /** The ids up to this one. Default: all. */
  readonly upTo?: bigint | undefined
  readonly types?: ReadonlyArray<string> | undefined
  readonly aggregateTypes?: ReadonlyArray<string> | undefined
  readonly tenantId?: string | undefined
  readonly aggregateId?: string | undefined
  /** The aggregate ids from the first to below the second. */
  readonly fromAggregate?: string | undefined
  readonly belowAggregate?: string | undefined
  /** Dates of events, the first included and the second not. */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  /** Whether the events of archived streams are left out. Default: no. */
  readonly withoutArchived?: boolean | undefined
}

/** A place in the order of streams: by aggregate id, tenant and version. */
export interface StreamPosition extends StreamId {
  readonly version: number
}

/** The port of the feed. Events come as they are stored, not upcast. */
export class EventFeed extends Context.Tag("effect-es-ops/EventFeed")<
  EventFeed,
  {
    /**
     * The id up to which every event is there to be read, or never will be: the last id given, once every transaction that was appending then is
     * over. Fails with who is left after `timeout`. What `problem` finds is a `DatabaseError` here.
     */
    readonly settled: (timeout: Duration.DurationInput) => Effect.Effect<bigint, SettleTimeout | DatabaseError>
    /** What keeps ids from being settled, for a plan to say before anything is begun: they do not come from one ascending sequence. */
    readonly problem: Effect.Effect<Option.Option<EventsUnordered>, DatabaseError>
    /** The next events by id, behind `selection.after`: fewer than `limit` when there are no more. */
    readonly page: (selection: Selection, limit: number) => Effect.Effect<ReadonlyArray<Event>, DatabaseError>
    /** The next events by stream, behind `after`, of aggregate ids from `from` to below `to`: streams side by side, each in order of version. */
    readonly pageByStream: (
      selection: Selection,
      range: {
        readonly after: Option.Option<StreamPosition>
        readonly from: Option.Option<string>
        readonly to: Option.Option<string>
      },
      limit: number
    ) => Effect.Effect<ReadonlyArray<Event>, DatabaseError>
    /** All events of these aggregates, of every tenant, by tenant and version. */
    readonly ofAggregates: (
      selection: Selection,
      aggregateIds: NonEmptyReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<Event>, DatabaseError>
    /**
     * Ids of aggregates, in their order, between which there are about as many events: the inner ends of so many parts, fewer where there are few
     * aggregates. They are those of a sample.
     */
    readonly boundaries: (selection: Selection, parts: number) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    readonly count: (selection: Selection) => Effect.Effect<number, DatabaseError>
    /** Which of these streams are archived. */
    readonly archivedAmong: (
      streams: NonEmptyReadonlyArray<StreamId>
    ) => Effect.Effect<ReadonlyArray<StreamId>, DatabaseError>
  }
>() {}
