/**
 * `event:backfill`: rows from before event sourcing become events.
 */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BackfillDocument from "../../backfill/BackfillDocument.js"
import * as EventBackfill from "../../backfill/EventBackfill.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import * as KindLines from "../output/KindLines.js"
import { Terminal } from "../output/Terminal.js"
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
  readonly restart: boolean
}

/** Backfills; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
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
            const { name, restart } = given
            if (given.dryRun) {
              const plan = yield* EventBackfill.plan(name)
              yield* said(terminal, plan)
              return { report: plan, runId: null }
            }
            const { run, value } = yield* EventBackfill.run({
              backfill: name,
              appliedBy,
              lanes: given.lanes,
              restart,
              observer
            })
            return { report: Option.getOrElse(value, () => EventBackfill.reportOf(run)), runId: run.id }
          }),
          { connections: given.lanes + 1 + (lanes === undefined ? 0 : ClusterSession.connections), lanes }
        )
      )
      yield* given.json
        ? terminal.out(Documents.encode(BackfillDocument.BackfillDocument, BackfillDocument.ofReport(report, runId)))
        : Effect.forEach(KindLines.backfillLines(report, given.dryRun), terminal.out, { discard: true })
      return report.failed > 0 ? 1 : 0
    }),
    "interrupted: what was appended stays, and the same command goes on behind it"
  )

/** What a plan says besides its counts. */
const said = (terminal: Terminal["Type"], plan: EventBackfill.BackfillPlan) =>
  Effect.zipRight(
    plan.locksRows
      ? Effect.void
      : terminal.err("rows of this source cannot be locked: the application must not change them meanwhile"),
    terminal.err("consumers that poll the events table will see these events; nobody is notified of them")
  )
