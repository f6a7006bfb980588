/**
 * What keeps an operation on streams from being begun, or one stream of it from being changed.
 */
import * as Schema from "effect/Schema"
import { StreamPurged } from "../event/EventStore.js"

/** There is no stream of this id on this tenant. */
export class StreamNotFound extends Schema.TaggedError<StreamNotFound>()("StreamNotFound", {
  tenantId: Schema.String,
  aggregateId: Schema.String
}) {
  override get message(): string {
    return `tenant ${this.tenantId} has no stream ${this.aggregateId}`
  }
}

/** A stream is named by what is no UUID. */
export class InvalidStreamId extends Schema.TaggedError<InvalidStreamId>()("InvalidStreamId", {
  tenantId: Schema.String,
  aggregateId: Schema.String
}) {
  override get message(): string {
    return `stream ${JSON.stringify(this.aggregateId)} of tenant ${JSON.stringify(this.tenantId)}: both have to be UUIDs`
  }
}

/** Why an archive mark is not set or taken back. */
export const StreamProblem = Schema.Union(StreamNotFound, InvalidStreamId, StreamPurged)
export type StreamProblem = typeof StreamProblem.Type

/** Nothing was begun: every stream is refused, each for a reason of its own. */
export class StreamsRefused extends Schema.TaggedError<StreamsRefused>()("StreamsRefused", {
  problems: Schema.NonEmptyArray(StreamProblem)
}) {
  override get message(): string {
    return this.problems.map(({ message }) => message).join("\n")
  }
}
