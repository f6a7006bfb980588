/**
 * `snapshot:rebuild` and `snapshot:verify`: the snapshots of an aggregate type, folded again from its events.
 */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SnapshotDocument from "../../snapshot/SnapshotDocument.js"
import * as SnapshotRebuild from "../../snapshot/SnapshotRebuild.js"
import * as SnapshotReport from "../../snapshot/SnapshotReport.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/ExitCode.js"
import * as KindLines from "../output/KindLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as ClusterSession from "./ClusterSession.js"
import { clusterOption } from "./ClusterSession.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"
import * as RunProgress from "./RunProgress.js"

const aggregate = Args.text({ name: "aggregate" }).pipe(
  Args.withDescription("The aggregate type, as a feature declares it")
)

export const verifyOptions = { aggregate, ...databaseOptions }

export const rebuildOptions = {
  aggregate,
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Show what would be stored and deleted, and write nothing")
  ),
  lanes: Options.integer("lanes").pipe(
    Options.withPseudoName("n"),
    Options.withDescription("How many parts are folded side by side, each on a connection of its own. Default: 1"),
    Options.withDefault(1)
  ),
  cluster: clusterOption,
  restart: Options.boolean("restart").pipe(
    Options.withDescription("Begin anew, and do not go on where an unfinished rebuild stands")
  ),
  ...databaseOptions
}

type VerifyGiven = DatabaseGiven & { readonly aggregate: string }
type RebuildGiven = VerifyGiven & {
  readonly dryRun: boolean
  readonly lanes: number
  readonly cluster: boolean
  readonly restart: boolean
}

/** Compares the snapshots with what the events give; gives the exit code. */
export const verify = (given: VerifyGiven): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const report = yield* withDatabase(settings, SnapshotRebuild.verify(given.aggregate))
      yield* given.json
        ? terminal.out(Documents.encode(SnapshotDocument.VerifyDocument, SnapshotDocument.ofVerify(report)))
        : writeLines(terminal, KindLines.verifyLines(report))
      if (SnapshotReport.isClean(report)) return 0
      yield* terminal.err(`es-ops snapshot:rebuild ${given.aggregate} mends what can be mended.`)
      return exitCode("SnapshotDiffers")
    })
  )

/** Folds every stream again, and makes the snapshots right; gives the exit code. */
export const rebuild = (given: RebuildGiven): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      if (given.lanes < 1) return yield* new UsageError({ reason: `--lanes: ${given.lanes} is not 1 or above` })
      const settings = yield* Settings.resolveAll(given)
      const { appliedBy } = settings
      const lanes = yield* ClusterSession.lanes(given.cluster, settings)
      const { report, runId } = yield* RunProgress.shown((observer) =>
        withDatabase(
          settings,
          Effect.gen(function* () {
            const { aggregate, restart } = given
            if (given.dryRun) return { report: yield* SnapshotRebuild.verify(aggregate), runId: null }
            const options = { aggregate, appliedBy, lanes: given.lanes, restart, observer }
            const { run, value } = yield* SnapshotRebuild.run(options)
            return {
              report: Option.getOrElse(value, () => SnapshotReport.ofRun(aggregate, run.counters)),
              runId: run.id
            }
          }),
          {
            connections: given.lanes + 1 + (lanes === undefined ? 0 : ClusterSession.connections),
            lanes
          }
        )
      )
      yield* given.json
        ? terminal.out(Documents.encode(SnapshotDocument.RebuildDocument, SnapshotDocument.ofRebuild(report, runId)))
        : writeLines(terminal, KindLines.rebuildLines(report, given.dryRun))
      return report.failed > 0 && !given.dryRun ? 1 : 0
    }),
    "interrupted: what was stored stays, and the same command goes on where it stood"
  )
