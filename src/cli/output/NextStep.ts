/**
 * The next step after a failure, for people.
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"

/** The name of the command that runs, if it is known, whose help tells how it is used. */
export class CurrentCommand extends Context.Reference<CurrentCommand>()("effect-es-ops/CurrentCommand", {
  defaultValue: () => Option.none<string>()
}) {}

const unfoldable =
  "The read tables are as they were. Mend the event type or the projection and run the command again. With projection:rebuild --on-poison quarantine what cannot be folded is left out, and its rows stay."

const steps: { readonly [tag: string]: string } = {
  SeedFailed: "Mend the seed, then run es-ops seed:apply again; what was applied before it stays applied.",
  SeedFailedElsewhere: "Mend the seed, then run es-ops seed:apply again.",
  SeedsPending: "Run es-ops seed:apply.",
  SeedsInconsistent: "Mend what is listed, then run the command again.",
  RebuildRefused: "Mend what is listed, then run the command again; nothing was written.",
  PurgeRefused: "Mend what is listed, then run the command again; nothing was deleted.",
  ProjectionsOutdated: "Run es-ops projection:rebuild --outdated.",
  SettleTimeout: "Wait for it, or end it, then run the same command: it goes on where it stood.",
  EventUnreadable: unfoldable,
  FoldFailed: unfoldable,
  ApplyFailed: unfoldable,
  RebuildUnsettled: "The read tables are as they were. Run the command again at a time when none of that happens.",
  CommitUnknown: "Run es-ops seed:status.",
  DatabaseError: "es-ops doctor looks for the reason."
}

/** The step after a failure with this tag, where there is one that the failure's message does not name. */
export const nextStep = (tag: string, command: Option.Option<string> = Option.none()): Option.Option<string> =>
  tag === "UsageError"
    ? Option.some(`See es-ops ${[...Option.toArray(command), "--help"].join(" ")}.`)
    : Option.fromNullable(steps[tag])
