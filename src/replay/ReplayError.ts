/**
 * Why a replay is refused or ends: each one a decision for who asked for it.
 */
import * as Schema from "effect/Schema"

/** No feature has a subscriber of this name. */
export class UnknownSubscriber extends Schema.TaggedError<UnknownSubscriber>()("UnknownSubscriber", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const known = this.known.length === 0 ? "no feature has one" : `there are: ${this.known.join(", ")}`
    return `no subscriber is named "${this.name}"; ${known}`
  }
}

/** The bounds cannot be used: there are none, or they name what the subscriber does not handle. */
export class ReplayBoundsInvalid extends Schema.TaggedError<ReplayBoundsInvalid>()("ReplayBoundsInvalid", {
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/** The subscriber says that past events must not reach it again. */
export class ReplayForbidden extends Schema.TaggedError<ReplayForbidden>()("ReplayForbidden", {
  subscriber: Schema.String
}) {
  override get message(): string {
    return `subscriber "${this.subscriber}" is declared with replay: "never": past events are not given to it again`
  }
}

/** The subscriber appended or wrote while past events were replayed: nothing of that was kept. */
export class ReplayWrites extends Schema.TaggedError<ReplayWrites>()("ReplayWrites", { what: Schema.String }) {
  override get message(): string {
    return `${this.what}: a replay writes nothing. Leave it out where Replay.isReplay is true, or declare the subscriber with replay: "never"`
  }
}

/** A subscriber failed, and the replay stopped there. */
export class DeliveryFailed extends Schema.TaggedError<DeliveryFailed>()("DeliveryFailed", {
  subscriber: Schema.String,
  eventId: Schema.BigInt,
  tenantId: Schema.String,
  aggregateId: Schema.String,
  /** The first event that was not delivered. */
  fromId: Schema.BigInt,
  reason: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    return `subscriber "${this.subscriber}" failed at event ${this.eventId} of stream ${this.aggregateId}: ${this.reason}. What came before is delivered: --from-id ${this.fromId} goes on there, --on-error continue leaves out the rest of such a stream`
  }
}

/** An event was not delivered, as the subscriber had failed at an earlier one of its stream. */
export class StreamStopped extends Schema.TaggedError<StreamStopped>()("StreamStopped", {}) {
  override get message(): string {
    return "the subscriber failed at an earlier event of this stream"
  }
}
