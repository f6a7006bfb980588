/**
 * `seed:status` and `seed:check`: every seed with its state, on a database and on none.
 */
import * as Options from "@effect/cli/Options"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import { refuseUnreadable } from "../../seed/SeedProblem.js"
import { afterInterruption } from "../../seed/SeedReport.js"
import type { SeedStatusEntry, Status } from "../../seed/record/SeedStatus.js"
import * as SeedStatus from "../../seed/record/SeedStatus.js"
import * as Documents from "../output/Documents.js"
import { exitCode, nextStep } from "../output/Failure.js"
import * as Layout from "../output/Layout.js"
import * as Report from "../output/Report.js"
import { withDatabase, withoutDatabase } from "./CommandSession.js"
import * as Settings from "../input/Settings.js"
import { Terminal } from "../output/Terminal.js"

export const statusOptions = {
  check: Options.boolean("check").pipe(
    Options.withDescription("Exit 3 if anything is pending, late or interrupted; 4 if the seeds are inconsistent")
  ),
  ...Settings.databaseOptions
}

export const checkOptions = Settings.sourceOptions

/** Shows the status; gives the exit code. */
export const status = (
  given: Settings.DatabaseGiven & { readonly check: boolean }
): Effect.Effect<number, never, Terminal> =>
  Report.command(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const found = yield* withDatabase(settings, SeedStatus.status)
      yield* show(found, given.json, settings.database.shown)
      const code = given.check ? checkCode(found) : 0
      // What makes a pipeline stop stands beside the results, where its log shows it.
      if (code !== 0)
        yield* terminal.err(
          code === exitCode("SeedsPending") ? toApply(found) : Option.getOrElse(nextStep("SeedsInconsistent"), () => "")
        )
      return code
    })
  )

/** Looks for everything that can be wrong without a database; gives the exit code. */
export const check = (given: Settings.SourceGiven): Effect.Effect<number, never, Terminal> =>
  Report.command(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const source = yield* Settings.resolveSource(given)
      const found = yield* withoutDatabase(source, SeedStatus.status)
      yield* given.json ? show(found, true, null) : refuseUnreadable(found.problems)
      if (!given.json) yield* Effect.forEach(checkLines(terminal, found), terminal.out, { discard: true })
      return found.problems.length > 0 ? exitCode("SeedsInconsistent") : 0
    })
  )

const show = (found: Status, json: boolean, database: string | null) =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    yield* refuseUnreadable(found.problems)
    // A problem of no seed in particular has no place in the document.
    const others = json ? found.problems.filter(({ id }) => id === null) : []
    yield* Effect.forEach(others, ({ message }) => terminal.err(`problem: ${message}`), { discard: true })
    const notes = json ? found.seeds.flatMap(noteOf) : []
    yield* Effect.forEach(notes, terminal.err, { discard: true })
    yield* json
      ? terminal.out(Documents.encode(SeedDocument.StatusDocument, Documents.ofStatus(found, database)))
      : Effect.forEach(statusLines(terminal, found), terminal.out, { discard: true })
  })

/** What the record says of an attempt in words: not atomic, or why it was marked by hand. */
const noteOf = ({ id, lastAttempt }: SeedStatusEntry): ReadonlyArray<string> =>
  Option.toArray(Option.flatMap(lastAttempt, ({ reason }) => reason)).map((reason) => `[${id}] ${reason}`)

/** What was interrupted half-way is not run again by itself, unless it is idempotent. */
const toApply = ({ seeds }: Status): string => {
  const [first, ...others] = seeds.filter(({ state }) => state === "interrupted").map(({ id }) => id)
  const apply = Option.getOrElse(nextStep("SeedsPending"), () => "")
  if (first === undefined) return apply
  const names = [first, ...others].map((id) => `"${id}"`).join(" and ")
  return `${apply} It refuses what was interrupted half-way, ${names}, unless that is idempotent: ${afterInterruption(first)}.`
}

const checkCode = ({ counts, problems }: Status): number => {
  if (problems.length > 0) return exitCode("SeedsInconsistent")
  return counts.pending + counts.late + counts.interrupted > 0 ? exitCode("SeedsPending") : 0
}

const problemLines = ({ paint }: Terminal["Type"], { problems }: Status): ReadonlyArray<string> =>
  problems.map(({ message }) => `${paint("red", Layout.column("problem"))}${Layout.indented(message)}`)

const checkLines = (terminal: Terminal["Type"], found: Status): ReadonlyArray<string> => {
  const seeds = Layout.counted(found.seeds.length, "seed")
  return found.problems.length === 0
    ? [`${seeds} checked, no problems.`]
    : [...problemLines(terminal, found), `${seeds} checked, ${Layout.counted(found.problems.length, "problem")}.`]
}

const colours = { applied: "green", pending: "yellow", late: "yellow", interrupted: "red", orphan: "dim" } as const

const statusLines = (terminal: Terminal["Type"], found: Status): ReadonlyArray<string> => {
  const totals = Object.entries(found.counts)
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

/** Id, when and by whom, how long, and whatever else there is to say. */
const cells = (seed: SeedStatusEntry): ReadonlyArray<string> => [
  seed.id,
  Option.match(seed.marker, {
    onNone: () => "",
    onSome: ({ appliedAt, appliedBy }) => `${Layout.instant(DateTime.formatIso(appliedAt))} by ${appliedBy}`
  }),
  Option.match(seed.marker, { onNone: () => "", onSome: ({ durationMs }) => Layout.durationColumn(durationMs) }),
  [
    ...(seed.changed ? ["changed since"] : []),
    ...(seed.flagSet ? Option.toArray(seed.flag).map((flag) => `skipped by ${flag}`) : []),
    ...Option.toArray(Option.flatMap(seed.lastAttempt, ({ reason }) => reason)),
    ...Option.toArray(seed.lastAttempt)
      .filter(({ outcome }) => seed.state !== "applied" && outcome !== "applied")
      .map(
        ({ error, outcome }) =>
          `last attempt ${outcome}${Option.match(error, { onNone: () => "", onSome: (e) => `: ${e.message}` })}`
      ),
    ...Option.toArray(seed.description).filter((text) => text !== "")
  ]
    .join("; ")
    .replaceAll(/\s+/g, " ")
]
