/**
 * Why a backfill is not begun, or ends before its time.
 */
import * as Schema from "effect/Schema"

/** No feature has a backfill of this name. */
export class UnknownBackfill extends Schema.TaggedError<UnknownBackfill>()("UnknownBackfill", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const known = this.known.length === 0 ? "no feature has one" : `there are: ${this.known.join(", ")}`
    return `no backfill is named "${this.name}"; ${known}`
  }
}

/** The source of a backfill cannot be read. */
export class SourceFailed extends Schema.TaggedError<SourceFailed>()("SourceFailed", {
  backfill: Schema.String,
  reason: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    return `the rows of backfill "${this.backfill}" cannot be read: ${this.reason}`
  }
}
