/**
 * The lines about runs for people: one a run.
 */
import * as Option from "effect/Option"
import type { Run } from "../../operation/Run.js"
import { progressText, title } from "../../operation/RunObserver.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import * as Layout from "./Layout.js"
import type { Terminal } from "./Terminal.js"

/** The unfinished runs in their order, and what to type where nobody is in one. */
export const runLines = (terminal: Terminal["Type"], runs: ReadonlyArray<Run>): ReadonlyArray<string> => {
  if (runs.length === 0) return ["No unfinished runs."]
  const rows = Layout.table(runs.map(cells), terminal.width - Layout.column("").length)
  const lines = runs.map(
    (run, at) => `${terminal.paint(run.isLive ? "green" : "yellow", Layout.column(stateOf(run)))}${rows[at] ?? ""}`
  )
  const left = runs.filter(({ isLive }) => !isLive)
  return left.length === 0
    ? lines
    : [
        ...lines,
        "",
        "What is paused or interrupted goes on with the command that began it; es-ops runs:cancel <id> ends it."
      ]
}

const stateOf = ({ isLive, outcome }: Run): string =>
  outcome === "running" ? (isLive ? "running" : "interrupted") : outcome

/** A run whose name is made of its parameters says nothing to a person: then the types that it changes do. */
const named = (run: Run): string => {
  const { changes } = run.access
  return /^[\da-f]{16}$/.test(run.name) && changes.length > 0 ? `${title(run)} of ${changes.join(", ")}` : title(run)
}

const cells = (run: Run): ReadonlyArray<string> => [
  named(run),
  run.id,
  `since ${Layout.instant(RecordedTime.format(run.startedAt))}`,
  `on ${run.owner.host} (process ${run.owner.pid})`,
  standing(run)
]

/** How far a run is; nothing of its speed where nobody is in it. */
export const standing = (run: Run): string => progressText(run.isLive ? run : { ...run, rate: Option.none() })
