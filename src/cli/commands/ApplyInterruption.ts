/**
 * The failures of a run that did not end by itself: it was interrupted, or its process ends now. They say what was and was not done.
 */
import * as Option from "effect/Option"
import { SeedOutcome } from "../../seed/SeedReport.js"
import type { CommandFailure } from "../output/CommandFailure.js"
import * as Layout from "../output/Layout.js"
import type { ApplyProgress } from "./ApplyProgress.js"
import * as Interruption from "./Interruption.js"

/** The failure of a run that was interrupted; `inTime` says whether the seed under way stopped. */
export const interrupted = (progress: ApplyProgress, dryRun: boolean, inTime: boolean): CommandFailure => {
  const { outcomes, planned, running } = progress
  const left = planned.length - outcomes.length - (Option.isSome(running) ? 1 : 0)
  const applied = outcomes.filter(SeedOutcome.$is("Applied")).length
  const parts = [
    ...Option.toArray(running).map((id) => `"${id}" was under way and ${fateOf(progress, inTime)}`),
    applied === 0 || dryRun
      ? "nothing was applied"
      : `${Layout.counted(applied, "seed")} applied before it stay applied`,
    ...(left > 0 ? [`${Layout.counted(left, "seed")} not attempted`] : [])
  ]
  const failure = { _tag: "Interrupted", id: running, message: `interrupted: ${parts.join("; ")}` }
  return Interruption.failure(failure, dryRun ? "" : nextStep(progress))
}

const fateOf = ({ committing, rows, undone }: ApplyProgress, inTime: boolean): string => {
  if (Option.isSome(rows) && !committing)
    return `is half done: its ${rows.value} rows that are done stay, and the batch under way ${inTime ? "was" : "is"} rolled back`
  if (committing) return `was being committed: ${unknown}`
  if (!undone) return "what it did is not undone"
  return inTime ? "was rolled back" : "did not stop: the server rolls it back"
}

/** What is said of a COMMIT that was sent and not answered. */
const unknown = "whether it is applied is not known here, es-ops seed:status tells"

const nextStep = ({ running, undone }: ApplyProgress): string =>
  `. es-ops seed:apply ${undone || Option.isNone(running) ? "goes on where it stopped" : "says how to go on"}`

/** The failure in the document of a run whose process ends now: the seed under way is the one that failed. */
export const processEnded = ({ committing, running }: ApplyProgress, reason: string): CommandFailure =>
  Option.match(running, {
    onNone: () => ({ _tag: "ProcessEnded", message: reason }),
    onSome: (id) =>
      committing
        ? { _tag: "CommitUnknown", id, message: `${reason} while "${id}" was being committed: ${unknown}` }
        : { _tag: "SeedFailed", id, cause: new Error(reason), message: `seed "${id}" failed: ${reason}` }
  })

/** The same failure for people, to whom the seed under way is cut off: how it ended is not known. */
export const cutOff = ({ running }: ApplyProgress, reason: string): CommandFailure => ({
  _tag: "ProcessEnded",
  id: running,
  message: reason
})
