/**
 * `runs` and `runs:cancel`: the long operations that have not ended.
 */
import * as Args from "@effect/cli/Args"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RunDocument from "../../operation/RunDocument.js"
import { RunLog } from "../../operation/RunLog.js"
import { title } from "../../operation/RunObserver.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import { runLines } from "../output/RunLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"

export const listOptions = databaseOptions

export const cancelOptions = {
  id: Args.text({ name: "id" }).pipe(Args.withDescription("The run's id, as es-ops runs shows it")),
  ...databaseOptions
}

/** Shows the unfinished runs; gives the exit code. */
export const list = (given: DatabaseGiven): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const runs = yield* withDatabase(
        settings,
        Effect.flatMap(RunLog, ({ unfinished }) => unfinished)
      )
      yield* given.json
        ? terminal.out(Documents.encode(RunDocument.RunsDocument, RunDocument.ofRuns(runs)))
        : writeLines(terminal, runLines(terminal, runs))
      return 0
    })
  )

/** Cancels an unfinished run, whoever has it; gives the exit code. */
export const cancel = (given: DatabaseGiven & { readonly id: string }): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const { id } = given
      const settings = yield* Settings.resolveAll(given)
      const cancelled = yield* withDatabase(
        settings,
        Effect.flatMap(RunLog, (log) => log.cancel(id, settings.appliedBy))
      )
      if (Option.isNone(cancelled))
        return yield* new UsageError({ reason: `there is no unfinished run "${id}": es-ops runs lists them` })
      yield* terminal.out(
        given.json
          ? Documents.encode(SeedDocument.ChangeDocument, { id, changed: true })
          : `Cancelled: ${title(cancelled.value)}, run ${id}. What it left behind is dropped by the process that was in it, or when it is begun again.`
      )
      return 0
    }),
    "interrupted: es-ops runs tells whether the run was cancelled"
  )
