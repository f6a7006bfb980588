/**
 * `event:backfill`: rows from before event sourcing become events.
 */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BackfillDocument from "../../backfill/BackfillDocument.js"
import * as EventBackfill from "../../backfill/EventBackfill.js"
import * as EsOps from "../../EsOps.js"
import type { AppliedBy } from "../../operation/Operation.js"
import type { RunObserver } from "../../operation/RunObserver.js"
import { isEqual } from "../../projection/RebuildReport.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/ExitCode.js"
import * as KindLines from "../output/KindLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as VerificationLines from "../output/VerificationLines.js"
import * as ClusterSession from "./ClusterSession.js"
import { clusterOption } from "./ClusterSession.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"
import * as RunProgress from "./RunProgress.js"

export const options = {
  name: Args.text({ name: "name" }).pipe(Args.withDescription("The backfill, as a feature declares it")),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Show what would be appended, row by row of the source, and write nothing")
  ),
  lanes: Options.integer("lanes").pipe(
    Options.withPseudoName("n"),
    Options.withDescription("In how many parts a source in SQL is read side by side, each on a connection. Default: 1"),
    Options.withDefault(1)
  ),
  cluster: clusterOption,
  verify: Options.boolean("verify").pipe(
    Options.withDescription("Then compare the read tables that it feeds with their events; exit 3 where one differs")
  ),
  restart: Options.boolean("restart").pipe(
    Options.withDescription("Begin with the first row, and not where an unfinished backfill stands")
  ),
  ...databaseOptions
}

type Given = DatabaseGiven & {
  readonly name: string
  readonly dryRun: boolean
  readonly lanes: number
  readonly cluster: boolean
  readonly verify: boolean
  readonly restart: boolean
}

/** Backfills; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      if (given.lanes < 1) return yield* new UsageError({ reason: `--lanes: ${given.lanes} is not 1 or above` })
      if (given.verify && given.dryRun)
        return yield* new UsageError({ reason: "--verify compares what was appended: a dry run appends nothing" })
      const settings = yield* Settings.resolveAll(given)
      const lanes = yield* ClusterSession.lanes(given.cluster, settings)
      const done = yield* RunProgress.shown((observer) =>
        withDatabase(
          settings,
          Effect.gen(function* () {
            return given.dryRun
              ? yield* planned(terminal, given)
              : yield* backfilled(given, settings.appliedBy, observer)
          }),
          { connections: given.lanes + 1 + (lanes === undefined ? 0 : ClusterSession.connections), lanes }
        )
      )
      yield* given.json
        ? terminal.out(Documents.encode(BackfillDocument.BackfillDocument, documentOf(done)))
        : writeLines(terminal, linesOf(terminal, done))
      return yield* exitOf(done)
    }),
    "interrupted: what was appended stays, and the same command goes on behind it"
  )

/** What was done, or would be. */
interface Done {
  readonly report: EventBackfill.BackfillReport
  readonly runId: string | null
  readonly verification?: EsOps.Verification
}

const planned = (terminal: Terminal["Type"], { name }: Given) =>
  Effect.map(
    Effect.tap(EventBackfill.plan(name), (plan) => said(terminal, plan)),
    (report): Done => ({ report, runId: null })
  )

const backfilled = ({ lanes, name, restart, verify }: Given, appliedBy: AppliedBy, observer: RunObserver) =>
  Effect.gen(function* () {
    const options = { backfill: name, appliedBy, lanes, restart, observer }
    if (verify) {
      const { report, run, verification } = yield* EsOps.verifiedBackfill(options)
      return { report, runId: run.id, verification } satisfies Done
    }
    const { run, value } = yield* EventBackfill.run(options)
    const report = Option.getOrElse(value, () => EventBackfill.reportOf(run))
    return { report, runId: run.id } satisfies Done
  })

const documentOf = ({ report, runId, verification }: Done): BackfillDocument.BackfillDocument =>
  BackfillDocument.ofReport(
    report,
    runId,
    verification === undefined
      ? null
      : {
          ...verification,
          problems: verification.problems.map(({ _tag, message, projection }) => ({ _tag, message, projection }))
        }
  )

const linesOf = (terminal: Terminal["Type"], { report, runId, verification }: Done): ReadonlyArray<string> => [
  ...KindLines.backfillLines(report, runId === null),
  ...(verification === undefined ? [] : VerificationLines.verificationLines(terminal, verification))
]

/** Rows that were left out come first: the tables cannot be right without them. */
const exitOf = ({ report, verification }: Done): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const { err } = yield* Terminal
    if (verification !== undefined && verification.problems.length > 0) {
      yield* err("The read tables were not compared. Mend what is listed, then run es-ops projection:diff.")
      return report.failed > 0 ? 1 : exitCode("RebuildRefused")
    }
    if (verification !== undefined && !verification.equal) {
      const wrong = verification.diffs.filter((found) => !isEqual(found)).flatMap(({ projections }) => projections[0])
      yield* err(`Run es-ops projection:rebuild ${wrong.join(" ")}.`)
      return report.failed > 0 ? 1 : exitCode("ProjectionsOutdated")
    }
    return report.failed > 0 ? 1 : 0
  })

/** What a plan says besides its counts. */
const said = (terminal: Terminal["Type"], plan: EventBackfill.BackfillPlan) =>
  Effect.zipRight(
    plan.locksRows
      ? Effect.void
      : terminal.err("rows of this source cannot be locked: the application must not change them meanwhile"),
    terminal.err("consumers that poll the events table will see these events; nobody is notified of them")
  )
