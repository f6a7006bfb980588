/**
 * The snapshots of streams: states that were folded before, from which a load goes on.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event, StreamId } from "./Event.js"

/** Whose snapshots: those of a stream's aggregate, taken by one version of its state and functions. */
export interface SnapshotKey extends StreamId {
  readonly aggregateType: string
  readonly snapshotVersion: number
}

/** The state of a stream after the event of one version. */
export interface Snapshot extends SnapshotKey {
  readonly version: number
  /** The id of that event: where the stream has another one at this version by now, the snapshot is of what is gone. */
  readonly eventId: bigint
  /** JSON. */
  readonly state: unknown
}

/** What a stream is folded from: the newest snapshot that can be used, and the events behind it. */
export interface SnapshotTail {
  readonly snapshot: Option.Option<Pick<Snapshot, "version" | "state">>
  readonly events: ReadonlyArray<Event>
}

/** The port of snapshots. */
export class Snapshots extends Context.Tag("effect-es-ops/Snapshots")<
  Snapshots,
  {
    /**
     * The newest snapshot whose event is there, and the events behind it, in one round trip; without one, all events. A snapshot beyond the end of
     * its stream is not used.
     */
    readonly load: (key: SnapshotKey) => Effect.Effect<SnapshotTail, DatabaseError>
    /**
     * Stores a snapshot, in place of older ones of its key, unless the event that it ends with is gone. Not stored where the table of snapshots
     * is missing and may not be created.
     */
    readonly save: (snapshot: Snapshot) => Effect.Effect<void, DatabaseError>
  }
>() {}
