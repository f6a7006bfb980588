/**
 * The archive marks of streams, as an administrator sets and takes them back, in the transaction of the fiber.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { StreamId } from "../event/Event.js"
import type { DatabaseError } from "../operation/OperationError.js"

/** What there is of a stream. */
export interface StreamState extends StreamId {
  /** None where it has neither an event nor a mark. */
  readonly aggregateType: Option.Option<string>
  readonly events: number
  /** The types of its events. */
  readonly types: ReadonlyArray<string>
  readonly isArchived: boolean
  readonly isPurged: boolean
}

/** A mark that is to be set. */
export interface NewMark extends StreamId {
  readonly aggregateType: string
  readonly archivedBy: string
  readonly reason: Option.Option<string>
}

/** What became of marks. The streams that are in neither list had a mark already, or had none. */
export interface MarksChanged {
  readonly changed: ReadonlyArray<StreamId>
  /** Nothing was changed of these: they were purged. */
  readonly purged: ReadonlyArray<StreamId>
}

/** The port of archive marks. */
export class ArchiveMarks extends Context.Tag("effect-es-ops/ArchiveMarks")<
  ArchiveMarks,
  {
    /** What there is of these streams, in the order given. */
    readonly look: (
      streams: NonEmptyReadonlyArray<StreamId>
    ) => Effect.Effect<ReadonlyArray<StreamState>, DatabaseError>
    /** Marks streams as archived. */
    readonly set: (marks: NonEmptyReadonlyArray<NewMark>) => Effect.Effect<MarksChanged, DatabaseError>
    /** Takes the marks of streams back. Each is locked before it is asked whether the stream was purged: a purge that comes at once wins, or this. */
    readonly remove: (streams: NonEmptyReadonlyArray<StreamId>) => Effect.Effect<MarksChanged, DatabaseError>
  }
>() {}
