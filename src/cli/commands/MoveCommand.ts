/**
 * `stream:move`.
 */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RunObserver } from "../../operation/RunObserver.js"
import type { MoveProblem } from "../../stream/MoveProblem.js"
import type { FailedMove, MoveReport } from "../../stream/MoveReport.js"
import * as MoveReports from "../../stream/MoveReport.js"
import * as StreamDocument from "../../stream/StreamDocument.js"
import type { Move } from "../../stream/StreamMove.js"
import * as StreamMove from "../../stream/StreamMove.js"
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
import * as RunProgress from "./RunProgress.js"

export const options = {
  id: StreamOptions.id,
  from: Options.text("from").pipe(
    Options.withPseudoName("uuid"),
    Options.withDescription("The tenant that its stream is on"),
    Options.optional
  ),
  to: Options.text("to").pipe(
    Options.withPseudoName("uuid"),
    Options.withDescription("The tenant that it is to be on"),
    Options.optional
  ),
  plan: StreamOptions.plan("aggregateId,from,to"),
  merge: Options.boolean("merge").pipe(
    Options.withDescription(
      "Put streams that both tenants have events of together, in the order of their ids, and number them anew"
    )
  ),
  restart: Options.boolean("restart").pipe(
    Options.withDescription("Begin anew, whatever an unfinished run of the same moves has")
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Show how many streams and events would move, and what would be refused")
  ),
  ...databaseOptions
}

interface Given extends DatabaseGiven {
  readonly id: Option.Option<string>
  readonly from: Option.Option<string>
  readonly to: Option.Option<string>
  readonly plan: Option.Option<string>
  readonly merge: boolean
  readonly restart: boolean
  readonly dryRun: boolean
}

interface Shown extends MoveReport {
  readonly runId: string | null
}

/** Moves streams; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const { merge, restart } = given
      const moves = yield* movesOf(given)
      const settings = yield* Settings.resolveAll(given)
      const { appliedBy } = settings
      const moving = (observer: RunObserver) =>
        given.dryRun
          ? Effect.map(StreamMove.plan({ moves, merge }), (planned): Shown => ({ ...planned, runId: null }))
          : StreamMove.run({ moves, merge, restart, appliedBy, observer }).pipe(
              Effect.map((done): Shown => done),
              Effect.catchTag("MovesRefused", ({ problems }) =>
                Effect.succeed<Shown>({
                  ...MoveReports.reportOf(MoveReports.begin),
                  runId: null,
                  failed: problems.map((problem) => refused(problem, moves))
                })
              )
            )
      const report = yield* RunProgress.shown((observer) => withDatabase(settings, moving(observer)))
      yield* given.json
        ? terminal.out(Documents.encode(StreamDocument.MoveDocument, documentOf(report, given.dryRun)))
        : writeLines(terminal, StreamLines.moveLines(terminal, report, given.dryRun))
      yield* Effect.forEach(StreamLines.errorLines(terminal, report.failed), terminal.err, { discard: true })
      return codeOf(report, given.dryRun)
    }),
    "interrupted: streams that were moved before stay so; the same command goes on with the others"
  )

/** A problem of a stream names one place of it, and of the move nothing: both are those that were asked for. */
const refused = (problem: MoveProblem, moves: ReadonlyArray<Move>): FailedMove => {
  const { _tag, aggregateId, message } = problem
  const asked = moves.find((move) => move.aggregateId.toLowerCase() === aggregateId.toLowerCase())
  const { from, to } = "from" in problem ? problem : (asked ?? { from: "", to: "" })
  return { id: aggregateId, from: from.toLowerCase(), to: to.toLowerCase(), error: { _tag, message } }
}

/** The moves that are meant: one by its id, or those of a plan. */
const movesOf = ({ from, id, plan, to }: Given): Effect.Effect<ReadonlyArray<Move>, UsageError> =>
  Effect.gen(function* () {
    if (Option.isSome(plan)) {
      if ([from, id, to].some(Option.isSome)) {
        return yield* new UsageError({ reason: "--plan names the streams: leave out --id, --from and --to" })
      }
      const lines = yield* PlanFile.read(plan.value, ["aggregateId", "from", "to"])
      return lines.map((line) => ({
        aggregateId: line["aggregateId"] ?? "",
        from: line["from"] ?? "",
        to: line["to"] ?? ""
      }))
    }
    return [
      {
        aggregateId: yield* StreamOptions.uuid("id", id),
        from: yield* StreamOptions.uuid("from", from),
        to: yield* StreamOptions.uuid("to", to)
      }
    ]
  })

const documentOf = (report: Shown, dryRun: boolean): StreamDocument.MoveDocument => ({
  schemaVersion: 1,
  ...report,
  dryRun
})

/** Where nothing was begun, the code is that of the refusal. */
const codeOf = ({ failed, moved, runId, unchanged }: Shown, dryRun: boolean): number => {
  if (failed.length === 0) return 0
  return dryRun || (runId === null && moved + unchanged === 0) ? exitCode("MovesRefused") : 1
}
