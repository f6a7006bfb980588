/**
 * `stream:purge`.
 */
import * as Options from "@effect/cli/Options"
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { stdin } from "node:process"
import { parseDuration } from "../../operation/DurationText.js"
import type { PurgeProblem } from "../../stream/PurgeProblem.js"
import * as PurgeProblems from "../../stream/PurgeProblem.js"
import * as PurgeReports from "../../stream/PurgeReport.js"
import * as StreamDocument from "../../stream/StreamDocument.js"
import * as StreamPurge from "../../stream/StreamPurge.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as OptionForm from "../input/OptionForm.js"
import * as Settings from "../input/Settings.js"
import * as StreamOptions from "../input/StreamOptions.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/ExitCode.js"
import * as FailureReport from "../output/FailureReport.js"
import { counted } from "../output/Layout.js"
import * as PurgeLines from "../output/PurgeLines.js"
import * as StreamLines from "../output/StreamLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import { UsageError } from "../UsageError.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"
import { confirm, expected } from "./Confirmation.js"
import * as RunProgress from "./RunProgress.js"

export const options = {
  archivedBefore: Options.text("archived-before").pipe(
    Options.withPseudoName("when"),
    Options.withDescription("Streams that were archived so long ago, or before this date: 90d, 2026-01-31"),
    Options.optional
  ),
  type: Options.text("type").pipe(
    Options.withPseudoName("types"),
    Options.withDescription("Their aggregate types, between commas, or in several options"),
    Options.repeated
  ),
  tenant: Options.text("tenant").pipe(
    Options.withPseudoName("uuid"),
    Options.withDescription("Streams of this tenant only"),
    Options.optional
  ),
  export: Options.text("export").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("A new file that gets a JSON line for each event before it is deleted"),
    Options.optional
  ),
  keepRows: Options.boolean("keep-rows").pipe(Options.withDescription("Leave their rows in the read tables")),
  acceptProjectionLoss: Options.boolean("accept-projection-loss").pipe(
    Options.withDescription("Also streams whose rows a projection keeps, which no rebuild could compute again")
  ),
  expect: Options.integer("expect").pipe(
    Options.withPseudoName("n"),
    Options.withDescription("How many streams it is to be; another number is refused"),
    Options.optional
  ),
  yes: Options.boolean("yes").pipe(Options.withDescription("Delete without asking")),
  restart: Options.boolean("restart").pipe(
    Options.withDescription("Begin anew, whatever an unfinished run of the same purge has")
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Do it in transactions that are rolled back, and show what was done and would be refused")
  ),
  ...databaseOptions
}

interface Given extends DatabaseGiven {
  readonly archivedBefore: Option.Option<string>
  readonly type: ReadonlyArray<string>
  readonly tenant: Option.Option<string>
  readonly export: Option.Option<string>
  readonly keepRows: boolean
  readonly acceptProjectionLoss: boolean
  readonly expect: Option.Option<number>
  readonly yes: boolean
  readonly restart: boolean
  readonly dryRun: boolean
}

interface Shown extends PurgeReports.PurgeReport {
  readonly runId: string | null
  readonly problems: ReadonlyArray<PurgeProblem>
}

/** Purges streams; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const options = yield* optionsOf(given)
      if (!given.dryRun && !given.yes && !(terminal.interactive && stdin.isTTY)) yield* confirm(question, false)
      const settings = yield* Settings.resolveAll(given)
      const { appliedBy } = settings
      const shown = yield* RunProgress.shown((observer) =>
        withDatabase(
          settings,
          Effect.gen(function* () {
            if (given.dryRun) {
              return yield* Effect.map(StreamPurge.plan(options), (plan): Shown => ({ ...plan, runId: null }))
            }
            yield* Effect.provideService(asked(options, given.yes), Terminal, terminal)
            return yield* Effect.map(
              StreamPurge.run({ ...options, restart: given.restart, appliedBy, observer }),
              (done): Shown => ({ ...done, problems: [] })
            )
          }).pipe(
            Effect.catchTag("PurgeRefused", ({ problems }) =>
              Effect.succeed<Shown>({ ...PurgeReports.reportOf(PurgeReports.begin("")), runId: null, problems })
            )
          )
        )
      )
      yield* given.json
        ? terminal.out(Documents.encode(StreamDocument.PurgeDocument, documentOf(shown, given.dryRun)))
        : writeLines(
            terminal,
            given.dryRun || shown.problems.length === 0 ? PurgeLines.purgeLines(terminal, shown, given.dryRun) : []
          )
      return yield* concluded(shown, given.dryRun)
    }),
    "interrupted: streams that were purged before stay so; the same command goes on with the others"
  )

const question = "Archived streams are to be deleted for good."

/** Says how many there are before it asks; what is refused needs no answer. */
const asked = (options: StreamPurge.PurgeOptions, yes: boolean) =>
  Effect.gen(function* () {
    if (yes) return
    const { problems, streams } = yield* StreamPurge.check(options)
    if (Arr.isNonEmptyReadonlyArray(problems)) return yield* PurgeProblems.failureOf(problems)
    if (streams > 0)
      yield* confirm(`${counted(streams, "archived stream")} with all events will be deleted for good.`, false)
  })

/** What stands on stderr, and the exit code. */
const concluded = ({ failed, leftover, problems, unsettled }: Shown, dryRun: boolean) =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    if (Arr.isNonEmptyReadonlyArray(problems)) {
      const { _tag, message } = new PurgeProblems.PurgeRefused({ problems })
      yield* FailureReport.explain(terminal, { _tag, message })
      return exitCode(_tag)
    }
    yield* Effect.forEach(PurgeLines.warningLines(leftover, unsettled), terminal.err, { discard: true })
    yield* Effect.forEach(StreamLines.errorLines(terminal, failed), terminal.err, { discard: true })
    if (failed.length === 0) return 0
    return dryRun ? exitCode("PurgeRefused") : 1
  })

const optionsOf = (given: Given): Effect.Effect<StreamPurge.PurgeOptions, UsageError> =>
  Effect.gen(function* () {
    return {
      archivedBefore: yield* whenOf(given.archivedBefore),
      types: yield* typesOf(given.type),
      tenantId: Option.isSome(given.tenant) ? yield* StreamOptions.uuid("tenant", given.tenant) : undefined,
      export: Option.getOrUndefined(given.export),
      keepRows: given.keepRows,
      acceptProjectionLoss: given.acceptProjectionLoss,
      expect: yield* expected(given.expect)
    }
  })

const typesOf = (given: ReadonlyArray<string>): Effect.Effect<NonEmptyReadonlyArray<string>, UsageError> => {
  const types = given.flatMap(OptionForm.list).filter((type) => type !== "")
  return Arr.isNonEmptyReadonlyArray(types)
    ? Effect.succeed(types)
    : new UsageError({ reason: "--type is missing: name the aggregate types that may be deleted" })
}

/** An age or a date. */
const whenOf = (given: Option.Option<string>): Effect.Effect<Date | Duration.Duration, UsageError> =>
  Option.match(given, {
    onNone: () =>
      new UsageError({
        reason: "--archived-before is missing: how long ago, or before which date, they were archived"
      }),
    onSome: (text) => {
      const at = OptionForm.date.read(text)
      if (at !== undefined) return Effect.succeed(at)
      return Option.match(parseDuration(text), {
        onNone: () =>
          new UsageError({
            reason: `--archived-before: ${JSON.stringify(text)} is neither a date such as 2026-01-31 nor a duration such as 90d, 12h or "90 days"`
          }),
        onSome: (age) => Effect.succeed(age)
      })
    }
  })

const documentOf = ({ problems, ...report }: Shown, dryRun: boolean): StreamDocument.PurgeDocument => ({
  schemaVersion: 1,
  ...report,
  problems: problems.map(({ _tag, message }) => ({ _tag, message })),
  dryRun
})
