/**
 * `stream:archive` and `stream:restore`.
 */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as EsOps from "../../EsOps.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { ArchiveReport } from "../../stream/ArchiveReport.js"
import type { ArchivedStream } from "../../stream/StreamArchive.js"
import * as StreamArchive from "../../stream/StreamArchive.js"
import * as StreamDocument from "../../stream/StreamDocument.js"
import type { StreamsRefused } from "../../stream/StreamProblem.js"
import * as StreamRestore from "../../stream/StreamRestore.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as PlanFile from "../input/PlanFile.js"
import * as Settings from "../input/Settings.js"
import * as StreamOptions from "../input/StreamOptions.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/ExitCode.js"
import * as StreamLines from "../output/StreamLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import { UsageError } from "../UsageError.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"

export const options = {
  id: StreamOptions.id,
  tenant: Options.text("tenant").pipe(
    Options.withPseudoName("uuid"),
    Options.withDescription("The tenant of its stream"),
    Options.optional
  ),
  plan: StreamOptions.plan("aggregateId,tenant,reason"),
  reason: Options.text("reason").pipe(
    Options.withPseudoName("text"),
    Options.withDescription("Why, for whoever asks later"),
    Options.optional
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Do it in transactions that are rolled back, and show what was done")
  ),
  ...databaseOptions
}

interface Given extends DatabaseGiven {
  readonly id: Option.Option<string>
  readonly tenant: Option.Option<string>
  readonly plan: Option.Option<string>
  readonly reason: Option.Option<string>
  readonly dryRun: boolean
}

/** Archives streams; gives the exit code. */
export const archive = (given: Given): Effect.Effect<number, never, Terminal> =>
  change(given, { done: "archived", already: "unchanged" }, (streams) => {
    const request = { streams, reason: Option.getOrUndefined(given.reason) }
    return given.dryRun ? StreamArchive.plan(request) : StreamArchive.run(request)
  })

/** Restores streams; gives the exit code. */
export const restore = (given: Given): Effect.Effect<number, never, Terminal> =>
  change(given, { done: "restored", already: "unchanged" }, (streams) =>
    Effect.zipRight(
      Effect.logInfo("restoring streams").pipe(
        Effect.annotateLogs(Option.match(given.reason, { onNone: () => ({}), onSome: (reason) => ({ reason }) })),
        Effect.when(() => Option.isSome(given.reason) && !given.dryRun)
      ),
      given.dryRun ? StreamRestore.plan({ streams }) : StreamRestore.run({ streams })
    )
  )

const change = (
  given: Given,
  words: StreamLines.ArchiveWords,
  work: (
    streams: ReadonlyArray<ArchivedStream>
  ) => Effect.Effect<ArchiveReport, StreamsRefused | DatabaseError, EsOps.Services>
) =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const streams = yield* streamsOf(given)
      const settings = yield* Settings.resolveAll(given)
      const report = yield* withDatabase(settings, refusedAsReport(work(streams)))
      yield* given.json
        ? terminal.out(Documents.encode(StreamDocument.ArchiveDocument, documentOf(report, given.dryRun)))
        : writeLines(terminal, StreamLines.archiveLines(terminal, report, words, given.dryRun))
      // The reason why a pipeline stops stands on stderr, where its log shows it.
      yield* Effect.forEach(StreamLines.errorLines(terminal, report.failed), terminal.err, { discard: true })
      return codeOf(report, given.dryRun)
    }),
    "interrupted: streams that were changed before stay so; the same command goes on with the others"
  )

/** The streams that are meant: one by its id, or those of a plan. */
const streamsOf = ({ id, plan, reason, tenant }: Given): Effect.Effect<ReadonlyArray<ArchivedStream>, UsageError> =>
  Effect.gen(function* () {
    if (Option.isSome(plan)) {
      if (Option.isSome(id) || Option.isSome(tenant)) {
        return yield* new UsageError({ reason: "--plan names the streams: leave out --id and --tenant" })
      }
      const lines = yield* PlanFile.read(plan.value, ["aggregateId", "tenantId|tenant", "reason?"])
      return lines.map(({ aggregateId = "", reason: own, tenantId = "" }) => ({
        aggregateId,
        tenantId,
        reason: own === "" ? undefined : own
      }))
    }
    const aggregateId = yield* StreamOptions.uuid("id", id)
    const tenantId = yield* StreamOptions.uuid("tenant", tenant)
    return [{ aggregateId, tenantId, reason: Option.getOrUndefined(reason) }]
  })

/** Where every stream is refused, each is in the report with its reason. */
const refusedAsReport = <R>(
  work: Effect.Effect<ArchiveReport, StreamsRefused | DatabaseError, R>
): Effect.Effect<ArchiveReport, DatabaseError, R> =>
  Effect.catchTag(work, "StreamsRefused", ({ problems }) =>
    Effect.succeed({
      changed: [],
      unchanged: [],
      failed: problems.map(({ _tag, aggregateId, message, tenantId }) => ({
        tenantId,
        aggregateId,
        error: { _tag, message }
      })),
      rows: [],
      outdated: [],
      leftRows: 0
    })
  )

const documentOf = (report: ArchiveReport, dryRun: boolean): StreamDocument.ArchiveDocument => ({
  schemaVersion: 1,
  ...report,
  failed: report.failed.map(({ aggregateId, error, tenantId }) => ({ id: aggregateId, tenantId, error })),
  dryRun
})

/** Where nothing was begun, or nothing would be refused only under way, the code is that of the refusal. */
const codeOf = ({ changed, failed, unchanged }: ArchiveReport, dryRun: boolean): number => {
  if (failed.length === 0) return 0
  return dryRun || changed.length + unchanged.length === 0 ? exitCode("StreamsRefused") : 1
}
