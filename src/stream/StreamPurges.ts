/**
 * The deletion of archived streams for good, as statements in the transaction of the fiber.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { StreamId } from "../event/Event.js"
import type { SettleTimeout } from "../event/EventFeed.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { ConsumerBehind, RightMissing } from "./PurgeProblem.js"

/** Which streams are meant: archived ones, by their marks. */
export interface PurgeSelection {
  /** The aggregate types. */
  readonly types: ReadonlyArray<string>
  /** None: of every tenant. */
  readonly tenantId: Option.Option<string>
  /** Those that were archived before this time, in ISO 8601. */
  readonly before: string
}

/** A stream that is to be purged. */
export interface DueStream extends StreamId {
  readonly aggregateType: string
}

/** The rows of events: another set of rows, or one that was written since, has other sums. */
export interface RowSums {
  readonly events: number
  /** Of their ids. */
  readonly ids: bigint
  /** Of the transactions that wrote them; a later one has a greater number. */
  readonly writes: bigint
}

/** What the events of a stream are. */
export interface StreamDigest extends DueStream, RowSums {
  /** The version of its last event; 0 where it has none. */
  readonly version: number
  /** The greatest id of its events. */
  readonly newest: Option.Option<bigint>
  /** The types of its events. */
  readonly types: ReadonlyArray<string>
  /** The aggregate types of its events. */
  readonly aggregateTypes: ReadonlyArray<string>
  /** Of its lines in an export. */
  readonly sha256: string
  /** A line in UTF-8 for each event in order of version, each with its line feed; none where they were not asked for. */
  readonly lines: Option.Option<Uint8Array>
}

/** By which run, and for whom, tombstones are set. */
export interface PurgedBy {
  readonly runId: string
  readonly purgedBy: string
}

/** What went along with the events. */
export interface RemovedAlong {
  readonly snapshots: number
  readonly deadLetters: number
}

/** A purged stream that has events. */
export interface Leftover extends StreamId {
  readonly events: number
}

/** The port of purges. Ids are in lower case; streams come, and are locked, in the order of tenant and aggregate. */
export class StreamPurges extends Context.Tag("effect-es-ops/StreamPurges")<
  StreamPurges,
  {
    /** The time so long ago, by the clock of the database. */
    readonly ago: (age: Duration.Duration) => Effect.Effect<string, DatabaseError>
    /** What the role lacks. */
    readonly lacking: Effect.Effect<ReadonlyArray<RightMissing>, DatabaseError>
    readonly count: (selection: PurgeSelection) => Effect.Effect<number, DatabaseError>
    /** The consumers that owe events of these streams. */
    readonly behind: (selection: PurgeSelection) => Effect.Effect<ReadonlyArray<ConsumerBehind>, DatabaseError>
    /** Which of these event types the streams have. */
    readonly eventTypes: (
      selection: PurgeSelection,
      among: NonEmptyReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    /** The next streams that are due: those that were not purged yet, or have events again. */
    readonly due: (
      selection: PurgeSelection,
      after: Option.Option<StreamId>,
      limit: number
    ) => Effect.Effect<ReadonlyArray<DueStream>, DatabaseError>
    /** Waits until whoever is appending now is through: who did not see a mark yet. Outside any transaction. */
    readonly settled: (timeout: Duration.Duration) => Effect.Effect<void, SettleTimeout | DatabaseError>
    /** Locks the marks of these streams, and answers with those that are due still. */
    readonly lock: (
      selection: PurgeSelection,
      streams: NonEmptyReadonlyArray<DueStream>
    ) => Effect.Effect<ReadonlyArray<DueStream>, DatabaseError>
    /** What the events of these streams are now, in the order given, and with the lines of an export where they are asked for. */
    readonly digests: (
      streams: NonEmptyReadonlyArray<DueStream>,
      withLines: boolean
    ) => Effect.Effect<ReadonlyArray<StreamDigest>, DatabaseError>
    /**
     * Deletes the events, and sets tombstones unless it is only tried. A stream that has a tombstone keeps it. Answers with the rows of all
     * streams that were deleted.
     */
    readonly remove: (
      streams: NonEmptyReadonlyArray<StreamDigest>,
      by: Option.Option<PurgedBy>
    ) => Effect.Effect<RowSums, DatabaseError>
    /** Deletes snapshots and dead letters of the streams. */
    readonly along: (streams: NonEmptyReadonlyArray<DueStream>) => Effect.Effect<RemovedAlong, DatabaseError>
    /** The consumers that owe the event of this id, or one before it; none of them changes until the transaction ends. */
    readonly owing: (newest: bigint) => Effect.Effect<ReadonlyArray<ConsumerBehind>, DatabaseError>
    /** Waits until the transactions that are open now are over; answers with who is left after `timeout`. Outside any transaction. */
    readonly over: (timeout: Duration.Duration) => Effect.Effect<ReadonlyArray<string>, DatabaseError>
    /** The streams that a run purged, and that have events. */
    readonly leftover: (runId: string) => Effect.Effect<ReadonlyArray<Leftover>, DatabaseError>
  }
>() {}
