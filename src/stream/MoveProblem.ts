/**
 * What keeps a stream from being moved.
 */
import * as Schema from "effect/Schema"
import { StreamPurged } from "../event/EventStore.js"
import { InvalidStreamId, StreamNotFound } from "./StreamProblem.js"

const move = { aggregateId: Schema.String, from: Schema.String, to: Schema.String }

/** A stream is to be moved to the tenant that it is on. */
export class SameTenant extends Schema.TaggedError<SameTenant>()("SameTenant", move) {
  override get message(): string {
    return `stream ${this.aggregateId} is to be moved from tenant ${this.from} to the same`
  }
}

/** The list has two moves of one stream. */
export class MovedTwice extends Schema.TaggedError<MovedTwice>()("MovedTwice", move) {
  override get message(): string {
    return `stream ${this.aggregateId} is in the list twice, once from tenant ${this.from} to ${this.to}`
  }
}

/** Both tenants have events of the stream. */
export class SplitStream extends Schema.TaggedError<SplitStream>()("SplitStream", {
  ...move,
  sourceEvents: Schema.Number,
  targetEvents: Schema.Number
}) {
  override get message(): string {
    return `stream ${this.aggregateId} has events on both tenants, ${this.sourceEvents} on ${this.from} and ${this.targetEvents} on ${this.to}: with --merge (merge: true) they are put together in the order of their ids, and numbered anew`
  }
}

/** The events that the target has of this id are of another aggregate type. */
export class OtherAggregateType extends Schema.TaggedError<OtherAggregateType>()("OtherAggregateType", {
  ...move,
  sourceType: Schema.String,
  targetType: Schema.String
}) {
  override get message(): string {
    return `stream ${this.aggregateId} is a "${this.sourceType}" on tenant ${this.from}, and a "${this.targetType}" on ${this.to}`
  }
}

/** The target has events with idempotency keys of the stream's. */
export class KeysTaken extends Schema.TaggedError<KeysTaken>()("KeysTaken", {
  ...move,
  /** The first of them. */
  keys: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `tenant ${this.to} has events with idempotency keys of stream ${this.aggregateId} already: ${this.keys.map((key) => JSON.stringify(key)).join(", ")}`
  }
}

/** One of the two places is archived, and the other is not. */
export class ArchivedApart extends Schema.TaggedError<ArchivedApart>()("ArchivedApart", {
  ...move,
  archived: Schema.String
}) {
  override get message(): string {
    return `stream ${this.aggregateId} is archived on tenant ${this.archived} only: archive or restore it on the other first`
  }
}

/** Why a stream is not moved. */
export const MoveProblem = Schema.Union(
  InvalidStreamId,
  SameTenant,
  MovedTwice,
  StreamNotFound,
  StreamPurged,
  OtherAggregateType,
  SplitStream,
  KeysTaken,
  ArchivedApart
)
export type MoveProblem = typeof MoveProblem.Type

/** Nothing was begun: every move is refused, each for a reason of its own. */
export class MovesRefused extends Schema.TaggedError<MovesRefused>()("MovesRefused", {
  problems: Schema.NonEmptyArray(MoveProblem)
}) {
  override get message(): string {
    return this.problems.map(({ message }) => message).join("\n")
  }
}

/** Transactions from before the moves were still open when there was no more waiting for them. The run is paused; the same command goes on. */
export class MovesUnsettled extends Schema.TaggedError<MovesUnsettled>()("MovesUnsettled", {
  /** Each as a person can find it. */
  holders: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `the streams are moved, but transactions from before are still open, and may append to where the streams were: ${this.holders.join("; ")}. The same command goes on, and looks for such events once they are over`
  }
}
