/**
 * `seed:mark`, `seed:unmark`, `seed:rename` and `history`: the record of seeds, kept and read by hand.
 */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as EsOps from "../../EsOps.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import * as SeedLedger from "../../seed/record/SeedLedger.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import { historyLines } from "../output/HistoryLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"

export const id = Args.text({ name: "id" }).pipe(Args.withDescription("The seed's id: its file name without extension"))

const reasonOption = Options.text("reason").pipe(
  Options.withPseudoName("text"),
  Options.withDescription("Why, for whoever reads the history")
)

export const markOptions = { id, reason: reasonOption, ...databaseOptions }

export const renameOptions = {
  from: Args.text({ name: "old" }).pipe(Args.withDescription("The id that the marker has: the file's name as it was")),
  to: Args.text({ name: "new" }).pipe(Args.withDescription("The id that it gets: the file's name as it is now")),
  reason: reasonOption,
  ...databaseOptions
}

export const historyOptions = { ...databaseOptions, id: Args.optional(id) }

type ChangeGiven = DatabaseGiven & { readonly reason: string }
type MarkGiven = ChangeGiven & { readonly id: string }

/** Records a seed as applied without running it; gives the exit code. */
export const mark = (given: MarkGiven): Effect.Effect<number, never, Terminal> =>
  change(given, (by) => SeedLedger.mark({ id: given.id, ...by }), {
    done: "Marked as applied, without running it",
    idle: "Applied already, nothing was changed"
  })

/** Forgets that a seed was applied; gives the exit code. */
export const unmark = (given: MarkGiven): Effect.Effect<number, never, Terminal> =>
  change(given, (by) => SeedLedger.unmark({ id: given.id, ...by }), {
    done: "No longer applied: the next seed:apply runs it again, if there is such a seed. What it wrote stays",
    idle: "Nothing was changed"
  })

/** Gives the marker of a file that was renamed its new id; gives the exit code. */
export const rename = (
  given: ChangeGiven & { readonly from: string; readonly to: string }
): Effect.Effect<number, never, Terminal> =>
  change(given, (by) => SeedLedger.rename({ from: given.from, to: given.to, ...by }), {
    done: `The marker of ${given.from} has the id of its file now, without running it`,
    idle: "Nothing was changed"
  })

type Change = (
  options: Pick<SeedLedger.MarkOptions, "reason" | "appliedBy">
) => Effect.Effect<
  { readonly id: string; readonly changed: boolean },
  Effect.Effect.Error<ReturnType<typeof SeedLedger.mark | typeof SeedLedger.unmark | typeof SeedLedger.rename>>,
  EsOps.Services
>

/** Runs a change of the record, and says whether anything was changed. */
const change = (given: ChangeGiven, by: Change, says: { readonly done: string; readonly idle: string }) =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      if (given.reason.trim() === "") return yield* new UsageError({ reason: "--reason is empty: say why" })
      const settings = yield* Settings.resolveAll(given)
      const changed = yield* withDatabase(settings, by({ reason: given.reason, appliedBy: settings.appliedBy }))
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
  given: DatabaseGiven & { readonly id: Option.Option<string> }
): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const attempts = yield* withDatabase(settings, SeedLedger.history(Option.getOrUndefined(given.id)))
      yield* given.json
        ? terminal.out(Documents.encode(SeedDocument.HistoryDocument, Documents.ofHistory(attempts)))
        : writeLines(terminal, historyLines(terminal, attempts))
      return 0
    })
  )
