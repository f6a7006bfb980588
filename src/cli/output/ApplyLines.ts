/**
 * The lines of a run for people: one a seed, and what ended the run with the counts.
 */
import * as Option from "effect/Option"
import type { SeedReport } from "../../seed/SeedReport.js"
import { SeedOutcome } from "../../seed/SeedReport.js"
import type { CommandFailure } from "./CommandFailure.js"
import { seedOf } from "./CommandFailure.js"
import * as Layout from "./Layout.js"
import type { Terminal } from "./Terminal.js"

/** The outcome of a seed, its id in a column of this width; with the events that it would append, in a dry run. */
export const outcomeLines = (
  { paint }: Terminal["Type"],
  outcome: SeedOutcome,
  width: number
): ReadonlyArray<string> => {
  const id = outcome.id.padEnd(width)
  return SeedOutcome.$match(outcome, {
    Applied: ({ atomic, durationMs, events, preview }) => [
      `${paint("green", Layout.column(Option.isSome(preview) ? "would apply" : "applied"))}${id}  ${paint("dim", `${Layout.durationColumn(durationMs)}  ${Layout.counted(events, "event")}${atomic ? "" : "  not atomic"}`)}`,
      ...Option.getOrElse(preview, () => []).map(
        ({ aggregateId, payload, type, version }) =>
          `${Layout.column("")}${type} v${version} of ${aggregateId} ${paint("dim", JSON.stringify(payload))}`
      )
    ],
    Skipped: ({ flag }) => [`${paint("yellow", Layout.column("skipped"))}${id}  ${paint("dim", `by ${flag}`)}`],
    Raced: () => [`${Layout.column("raced")}${id}  ${paint("dim", "applied by another replica meanwhile")}`]
  })
}

/** The words for a seed that ended a run and did not fail: at its line, and among the counts. */
const endings: { readonly [tag: string]: readonly [string, string] } = {
  LockTimeout: ["waited", "1 waited in vain"],
  Interrupted: ["interrupted", "1 interrupted"],
  ProcessEnded: ["cut off", "1 cut off"]
}

/** The last lines: the seed that ended the run, those that were not run, and the counts. */
export const closingLines = (
  { paint }: Terminal["Type"],
  report: SeedReport,
  failure: Option.Option<CommandFailure>
): ReadonlyArray<string> => {
  const { notAttempted, outcomes, skippedAll } = report
  const failed = Option.flatMap(failure, seedOf)
  const tag = Option.match(failure, { onNone: () => "", onSome: ({ _tag }) => _tag })
  const [state, ended] = endings[tag] ?? ["failed", "1 failed"]
  if (Option.isSome(skippedAll)) return [`Nothing applied: ${skippedAll.value}=1 skips all seeds.`]
  if (outcomes.length === 0 && notAttempted.length === 0 && Option.isNone(failed)) {
    return [Option.isSome(failure) ? "Nothing applied." : "Nothing to do."]
  }
  const count = (tag: SeedOutcome["_tag"]) => outcomes.filter((outcome) => outcome._tag === tag).length
  const counts = [
    `${count("Applied")} ${report.dryRun ? "would be applied" : "applied"}`,
    ...(count("Skipped") > 0 ? [`${count("Skipped")} skipped`] : []),
    ...(count("Raced") > 0 ? [`${count("Raced")} applied by another replica`] : []),
    ...(Option.isSome(failed) ? [ended] : []),
    `${notAttempted.length} not attempted`
  ]
  return [
    ...Option.toArray(failed).map((id) => `${paint("red", Layout.column(state))}${id}`),
    ...notAttempted.map((id) => `${paint("dim", Layout.column("not run"))}${id}`),
    `${counts.join(", ")}.${report.dryRun ? " Dry run: everything was rolled back." : ""}`
  ]
}
