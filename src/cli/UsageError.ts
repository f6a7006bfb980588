/**
 * The error of a command line that cannot be understood, or asks for what cannot be done.
 */
import * as Schema from "effect/Schema"

/** `reason` names the word that has to change. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { reason: Schema.String }) {
  override get message(): string {
    return this.reason
  }
}
