/**
 * What a failure means to a shell: its exit code, and what to type next.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** The words of the command are off. */
export class UsageError extends Schema.TaggedError<UsageError>()("UsageError", { reason: Schema.String }) {
  override get message(): string {
    return this.reason
  }
}

const codes: { readonly [tag: string]: number } = {
  SeedFailed: 1,
  SeedFailedElsewhere: 1,
  SeedInterrupted: 1,
  UsageError: 2,
  SeedsPending: 3,
  SeedsInconsistent: 4,
  SettingError: 4,
  LockTimeout: 5,
  DatabaseError: 6,
  CommitUnknown: 6,
  EmbeddedInUse: 6
}

/** The exit code of a failure, by its tag. */
export const exitCode = (tag: string): number => codes[tag] ?? 1

const next: { readonly [tag: string]: string } = {
  SeedFailed: "Mend the seed, then run es-ops seed:apply again; what was applied before it stays applied.",
  SeedFailedElsewhere: "Mend the seed, then run es-ops seed:apply again.",
  SeedsPending: "Run es-ops seed:apply.",
  SeedsInconsistent: "Mend what is listed, then run the command again.",
  CommitUnknown: "Run es-ops seed:status.",
  DatabaseError: "es-ops doctor looks for the reason.",
  UsageError: "See es-ops --help."
}

/** What to do next, where there is something to say that the message does not. */
export const nextStep = (tag: string): Option.Option<string> => Option.fromNullable(next[tag])
