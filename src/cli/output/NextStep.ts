/**
 * The next step after a failure, for people.
 */
import * as Option from "effect/Option"

const steps: { readonly [tag: string]: string } = {
  SeedFailed: "Mend the seed, then run es-ops seed:apply again; what was applied before it stays applied.",
  SeedFailedElsewhere: "Mend the seed, then run es-ops seed:apply again.",
  SeedsPending: "Run es-ops seed:apply.",
  SeedsInconsistent: "Mend what is listed, then run the command again.",
  CommitUnknown: "Run es-ops seed:status.",
  DatabaseError: "es-ops doctor looks for the reason.",
  UsageError: "See es-ops --help."
}

/** The step after a failure with this tag, where there is one that the failure's message does not name. */
export const nextStep = (tag: string): Option.Option<string> => Option.fromNullable(steps[tag])
