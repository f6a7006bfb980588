/**
 * The lines of a history for people: one an attempt.
 */
import * as Option from "effect/Option"
import type { Attempt } from "../../operation/Attempt.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import * as Layout from "./Layout.js"
import type { Terminal } from "./Terminal.js"

const colours = {
  running: "yellow",
  applied: "green",
  failed: "red",
  skipped: "yellow",
  interrupted: "red",
  marked: "yellow",
  unmarked: "yellow"
} as const

/** The attempts in their order. */
export const historyLines = (terminal: Terminal["Type"], attempts: ReadonlyArray<Attempt>): ReadonlyArray<string> => {
  if (attempts.length === 0) return ["No attempts."]
  const first = Layout.column("")
  const rows = Layout.table(attempts.map(cells), terminal.width - first.length)
  return attempts.map(
    ({ outcome }, index) => `${terminal.paint(colours[outcome], Layout.column(outcome))}${rows[index] ?? ""}`
  )
}

/** Id, number, when, how long and by which process, and whatever else there is to say. */
const cells = (attempt: Attempt): ReadonlyArray<string> => [
  attempt.operationId,
  `#${attempt.attempt}`,
  Layout.instant(RecordedTime.format(attempt.startedAt)),
  Option.match(attempt.durationMs, { onNone: () => "", onSome: Layout.durationColumn }),
  `by ${attempt.appliedBy} on ${attempt.host} (process ${attempt.pid})`,
  [
    ...Option.toArray(attempt.version).map((version) => `version ${version}`),
    ...Option.toArray(attempt.waitedMs)
      .filter((waited) => waited >= 1000)
      .map((waited) => `waited ${Layout.duration(waited)}`),
    ...Option.toArray(attempt.reason),
    ...Option.toArray(attempt.error).map(({ message }) => message)
  ]
    .join("; ")
    .replaceAll(/\s+/g, " ")
]
