/**
 * The report of a run at its end: the document or the last lines on stdout, and its failure on stderr.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SeedReport } from "../../seed/SeedReport.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import * as ModuleLoader from "../../seed/source/ModuleLoader.js"
import * as ApplyLines from "./ApplyLines.js"
import type { CommandFailure } from "./CommandFailure.js"
import * as Documents from "./Documents.js"
import { exitCode } from "./ExitCode.js"
import * as ExitMessage from "./ExitMessage.js"
import * as FailureReport from "./FailureReport.js"
import { Terminal, writeLines } from "./Terminal.js"

/** A run at its end. */
export interface EndedRun {
  readonly report: SeedReport
  readonly failure: Option.Option<CommandFailure>
  /** Lines about the failure that its message does not say. */
  readonly more: ReadonlyArray<string>
}

/** Writes the report; gives the exit code. */
export const write = (json: boolean, { failure, more, report }: EndedRun): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    ExitMessage.unset()
    yield* json
      ? terminal.out(document(report, failure))
      : writeLines(terminal, ApplyLines.closingLines(terminal, report, failure))
    if (Option.isNone(failure)) return 0
    const { _tag } = failure.value
    const next = report.dryRun && _tag === "SeedFailed" ? Option.some("Mend the seed; nothing was changed.") : undefined
    yield* FailureReport.explain(terminal, failure.value, [...placeOf(failure.value), ...more], next)
    return exitCode(_tag)
  })

/** The document of a run. */
export const document = (report: SeedReport, failure: Option.Option<CommandFailure>): string =>
  Documents.encode(SeedDocument.ApplyDocument, Documents.ofRun(report.outcomes, report, failure))

/** The place in a seed's file that its error comes from. */
const placeOf = ({ _tag, cause }: CommandFailure): ReadonlyArray<string> =>
  _tag === "SeedFailed" && cause instanceof Error
    ? Option.toArray(Option.map(ModuleLoader.placeOf(cause), (place) => `at ${place}`))
    : []
