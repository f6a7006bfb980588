/**
 * The lines of a status for people: one a seed with its state, the problems, and the counts.
 */
import * as Option from "effect/Option"
import * as RecordedTime from "../../operation/RecordedTime.js"
import type { RunningSeed } from "../../seed/plan/SeedPlan.js"
import type { SeedStatusEntry, Status } from "../../seed/record/SeedStatus.js"
import { secondsLeft } from "../../operation/Run.js"
import { rowsText } from "./BatchText.js"
import * as Layout from "./Layout.js"
import type { Terminal } from "./Terminal.js"

const colours = {
  applied: "green",
  pending: "yellow",
  late: "yellow",
  running: "yellow",
  interrupted: "red",
  orphan: "dim"
} as const

/** Every seed, the problems, and the counts. */
export const statusLines = (terminal: Terminal["Type"], found: Status): ReadonlyArray<string> => {
  const running = found.seeds.filter(({ state }) => state === "running").length
  const totals = Object.entries({ ...found.counts, running })
    .filter(([, number]) => number > 0)
    .map(([state, number]) => `${number} ${state}`)
  const first = Layout.column("")
  const rows = Layout.table(found.seeds.map(cells), terminal.width - first.length)
  return [
    ...found.seeds.map(({ state }, index) =>
      `${terminal.paint(colours[state], Layout.column(state))}${rows[index] ?? ""}`.trimEnd()
    ),
    ...problemLines(terminal, found),
    totals.length === 0 ? "No seeds." : `${totals.join(", ")}.`
  ]
}

/** The problems alone, and how many seeds were checked. */
export const checkLines = (terminal: Terminal["Type"], found: Status): ReadonlyArray<string> => {
  const seeds = Layout.counted(found.seeds.length, "seed")
  return found.problems.length === 0
    ? [`${seeds} checked, no problems.`]
    : [...problemLines(terminal, found), `${seeds} checked, ${Layout.counted(found.problems.length, "problem")}.`]
}

/** The reason that the record gives for the last attempt: not atomic, or why it was marked by hand. */
export const noteOf = ({ id, lastAttempt }: SeedStatusEntry): ReadonlyArray<string> =>
  Option.toArray(Option.flatMap(lastAttempt, ({ reason }) => reason)).map((reason) => `[${id}] ${reason}`)

const problemLines = ({ paint }: Terminal["Type"], { problems }: Status): ReadonlyArray<string> =>
  problems.map(({ message }) => `${paint("red", Layout.column("problem"))}${Layout.indented(message)}`)

/** Where a seed runs, and since when. */
const whereOf = ({ host, pid, serverPid, since }: RunningSeed): string => {
  const own = Option.match(pid, { onNone: () => "", onSome: (of) => `process ${of}, ` })
  const from = Option.match(since, { onNone: () => "", onSome: (at) => ` since ${Layout.instant(at)}` })
  return `on ${host} (${own}server process ${serverPid})${from}`
}

/** Id, when and by whom, how long, and whatever else there is to say. */
const cells = (seed: SeedStatusEntry): ReadonlyArray<string> => [
  seed.id,
  Option.match(seed.marker, {
    onNone: () => "",
    onSome: ({ appliedAt, appliedBy }) => `${Layout.instant(RecordedTime.format(appliedAt))} by ${appliedBy}`
  }),
  Option.match(seed.marker, { onNone: () => "", onSome: ({ durationMs }) => Layout.durationColumn(durationMs) }),
  [
    ...Option.toArray(Option.map(seed.running, whereOf)),
    ...Option.toArray(
      Option.map(seed.progress, (run) => `half done: ${rowsText({ ...run, secondsLeft: secondsLeft(run) })}`)
    ),
    ...(seed.changed ? ["changed since"] : []),
    ...Option.toArray(Option.map(seed.renamedFrom, (from) => `has the source of ${from}`)),
    ...(seed.flagSet ? Option.toArray(seed.flag).map((flag) => `skipped by ${flag}`) : []),
    ...Option.toArray(Option.flatMap(seed.lastAttempt, ({ reason }) => reason)),
    ...Option.toArray(seed.lastAttempt)
      .filter(({ outcome }) => seed.state !== "applied" && seed.state !== "running" && outcome !== "applied")
      .map(
        ({ error, outcome }) =>
          `last attempt ${outcome}${Option.match(error, { onNone: () => "", onSome: (e) => `: ${e.message}` })}`
      ),
    ...Option.toArray(seed.description).filter((text) => text !== "")
  ]
    .join("; ")
    .replaceAll(/\s+/g, " ")
]
