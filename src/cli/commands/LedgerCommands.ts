/**
 * `seed:mark`, `seed:unmark` and `history`: the record of seeds, kept and read by hand.
 */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as EsOps from "../../EsOps.js"
import type { Attempt } from "../../operation/Attempt.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import * as SeedLedger from "../../seed/record/SeedLedger.js"
import * as Documents from "../output/Documents.js"
import { UsageError } from "../output/Failure.js"
import * as Layout from "../output/Layout.js"
import * as Report from "../output/Report.js"
import { withDatabase } from "./CommandSession.js"
import * as Settings from "../input/Settings.js"
import { Terminal } from "../output/Terminal.js"

export const id = Args.text({ name: "id" }).pipe(Args.withDescription("The seed's id: its file name without extension"))

export const markOptions = {
  id,
  reason: Options.text("reason").pipe(
    Options.withPseudoName("text"),
    Options.withDescription("Why, for whoever reads the history")
  ),
  ...Settings.databaseOptions
}

export const historyOptions = { ...Settings.databaseOptions, id: Args.optional(id) }

type MarkGiven = Settings.DatabaseGiven & { readonly id: string; readonly reason: string }

/** Records a seed as applied without running it; gives the exit code. */
export const mark = (given: MarkGiven): Effect.Effect<number, never, Terminal> =>
  change(given, SeedLedger.mark, {
    done: "Marked as applied, without running it",
    idle: "Applied already, nothing was changed"
  })

/** Forgets that a seed was applied; gives the exit code. */
export const unmark = (given: MarkGiven): Effect.Effect<number, never, Terminal> =>
  change(given, SeedLedger.unmark, {
    done: "No longer applied: the next seed:apply runs it again, if there is such a seed. What it wrote stays",
    idle: "Nothing was changed"
  })

type Change = (
  options: SeedLedger.MarkOptions
) => Effect.Effect<
  { readonly id: string; readonly changed: boolean },
  Effect.Effect.Error<ReturnType<typeof SeedLedger.mark | typeof SeedLedger.unmark>>,
  EsOps.Services
>

const change = (given: MarkGiven, by: Change, says: { readonly done: string; readonly idle: string }) =>
  Report.command(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      if (given.reason.trim() === "") return yield* new UsageError({ reason: "--reason is empty: say why" })
      const settings = yield* Settings.resolveAll(given)
      const { id, reason } = given
      const changed = yield* withDatabase(settings, by({ id, reason, appliedBy: settings.appliedBy }))
      yield* terminal.out(
        given.json
          ? Documents.encode(SeedDocument.ChangeDocument, changed)
          : `${changed.changed ? says.done : says.idle}: ${changed.id}`
      )
      return 0
    }),
    "interrupted: unless it was done already, nothing was changed; es-ops history tells"
  )

/** Shows the attempts, newest first; gives the exit code. */
export const history = (
  given: Settings.DatabaseGiven & { readonly id: Option.Option<string> }
): Effect.Effect<number, never, Terminal> =>
  Report.command(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const attempts = yield* withDatabase(settings, SeedLedger.history(Option.getOrUndefined(given.id)))
      yield* given.json
        ? terminal.out(Documents.encode(SeedDocument.HistoryDocument, Documents.ofHistory(attempts)))
        : Effect.forEach(historyLines(terminal, attempts), terminal.out, { discard: true })
      return 0
    })
  )

const colours = {
  running: "yellow",
  applied: "green",
  failed: "red",
  skipped: "yellow",
  interrupted: "red",
  marked: "yellow",
  unmarked: "yellow"
} as const

const historyLines = (terminal: Terminal["Type"], attempts: ReadonlyArray<Attempt>): ReadonlyArray<string> => {
  if (attempts.length === 0) return ["No attempts."]
  const first = Layout.column("")
  const rows = Layout.table(attempts.map(cells), terminal.width - first.length)
  return attempts.map(
    ({ outcome }, index) => `${terminal.paint(colours[outcome], Layout.column(outcome))}${rows[index] ?? ""}`
  )
}

const cells = (attempt: Attempt): ReadonlyArray<string> => [
  attempt.operationId,
  `#${attempt.attempt}`,
  Layout.instant(DateTime.formatIso(attempt.startedAt)),
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
