/**
 * The stored snapshots of one aggregate type, as rebuild and verification see them.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { StreamId } from "../event/Event.js"
import type { DatabaseError } from "../operation/OperationError.js"

/** Whose snapshots they are, and the version that is current. */
export interface SnapshotType {
  readonly aggregateType: string
  readonly snapshotVersion: number
}

/** A state that was folded from the first event of its stream. */
export interface Folded extends StreamId {
  readonly version: number
  /** The id of the event of that version. */
  readonly eventId: bigint
  /** Whether the stream ended there when it was read. */
  readonly isHead: boolean
  /** JSON. */
  readonly state: unknown
}

/** How what is stored differs from what was folded: nothing is stored for the stream, nothing for its end, or another state. */
export type FoldedKind = "missing" | "behind" | "different"

/**
 * How it stood when it was to be mended: as it differed, or a live writer has stored a newer one since the stream was read, which stays. That one
 * was folded from the one before, and is only as right as that.
 */
export type MendedKind = FoldedKind | "newer"

/** Why a stored snapshot is none to keep: it is of no stream, beyond the end of its stream, or of an older version of the aggregate. */
export type StrayKind = "orphaned" | "beyond" | "outdated"

/** A snapshot that is none to keep. */
export interface Stray extends StreamId {
  readonly kind: StrayKind
  readonly snapshotVersion: number
  readonly version: number
}

/** The port of the stored snapshots. Where their table is missing, none is stored. */
export class SnapshotRows extends Context.Tag("effect-es-ops/SnapshotRows")<
  SnapshotRows,
  {
    /** Whether any stream has a snapshot of the current version. */
    readonly areStored: (type: SnapshotType) => Effect.Effect<boolean, DatabaseError>
    /** The versions at which these streams have snapshots of the current version. */
    readonly versions: (
      type: SnapshotType,
      streams: NonEmptyReadonlyArray<StreamId>
    ) => Effect.Effect<ReadonlyArray<StreamId & { readonly version: number }>, DatabaseError>
    /** How what is stored differs from each of these, in their order; none where it does not. A newer snapshot of a live writer's is right. */
    readonly compare: (
      type: SnapshotType,
      folded: NonEmptyReadonlyArray<Folded>
    ) => Effect.Effect<ReadonlyArray<readonly [Folded, FoldedKind]>, DatabaseError>
    /** The same, and stores those that differ; answers with the ends of streams that have a newer snapshot, too. */
    readonly mend: (
      type: SnapshotType,
      folded: NonEmptyReadonlyArray<Folded>
    ) => Effect.Effect<ReadonlyArray<readonly [Folded, MendedKind]>, DatabaseError>
    /** The snapshots that are none to keep: how many of each kind there are, and the first `limit` of each. */
    readonly strays: (
      type: SnapshotType,
      limit: number
    ) => Effect.Effect<
      { readonly counts: Readonly<Record<StrayKind, number>>; readonly first: ReadonlyArray<Stray> },
      DatabaseError
    >
    /** Deletes up to `limit` of them, each as its stream ends when it is deleted; answers with them. */
    readonly removeStrays: (type: SnapshotType, limit: number) => Effect.Effect<ReadonlyArray<Stray>, DatabaseError>
  }
>() {}
