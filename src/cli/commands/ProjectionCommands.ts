/**
 * `projection:status`, `projection:rebuild` and `projection:diff`: read tables that are of an older definition, and how they become right.
 */
import * as Args from "@effect/cli/Args"
import * as Options from "@effect/cli/Options"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ProjectionDocument from "../../projection/ProjectionDocument.js"
import * as ProjectionRebuild from "../../projection/ProjectionRebuild.js"
import * as ProjectionStatus from "../../projection/ProjectionStatus.js"
import type { RebuildRefused } from "../../projection/RebuildProblem.js"
import { isEqual } from "../../projection/RebuildReport.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { choices, databaseOptions } from "../input/CommandOptions.js"
import * as Setting from "../input/Setting.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/ExitCode.js"
import * as FailureReport from "../output/FailureReport.js"
import { nextStep } from "../output/NextStep.js"
import * as ProjectionLines from "../output/ProjectionLines.js"
import { Terminal, writeLines } from "../output/Terminal.js"
import * as ClusterSession from "./ClusterSession.js"
import { clusterOption } from "./ClusterSession.js"
import * as CommandRun from "./CommandRun.js"
import { withDatabase } from "./CommandSession.js"
import { confirm, expected } from "./Confirmation.js"
import * as RunProgress from "./RunProgress.js"

export const statusOptions = {
  check: Options.boolean("check").pipe(Options.withDescription("Exit 3 if a projection is outdated")),
  ...databaseOptions
}

const names = Args.text({ name: "name" }).pipe(
  Args.withDescription("The names of projections; those that share a table with one are rebuilt with it"),
  Args.repeated
)

export const rebuildOptions = {
  names,
  outdated: Options.boolean("outdated").pipe(
    Options.withDescription("Rebuild every projection whose definition is newer than its tables")
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Show what would be done, how much there is and what would be refused; nothing is written")
  ),
  mode: Options.choice("mode", choices.mode).pipe(
    Options.withDescription(
      "How the table takes over what was computed. Default: auto, a merge unless that would stop writers for longer than --max-stall"
    ),
    Options.withDefault("auto" as const)
  ),
  ghosts: Options.choice("ghosts", choices.ghosts).pipe(
    Options.withDescription("What becomes of rows without any event. Default: refuse"),
    Options.withDefault("refuse" as const)
  ),
  expect: Options.integer("expect").pipe(
    Options.withPseudoName("n"),
    Options.withDescription("How many rows --ghosts delete is to delete; another number is refused"),
    Options.optional
  ),
  yes: Options.boolean("yes").pipe(Options.withDescription("Delete rows without asking")),
  onPoison: Options.choice("on-poison", choices["on-poison"]).pipe(
    Options.withDescription(
      "What becomes of an event that cannot be read or folded. Default: fail. quarantine: it is left out, and its row stays"
    ),
    Options.withDefault("fail" as const)
  ),
  maxStall: Options.text("max-stall").pipe(
    Options.withPseudoName("duration"),
    Options.withDescription("How long writers may be stopped at the cut-over. Default: 250ms"),
    Options.optional
  ),
  lanes: Options.integer("lanes").pipe(
    Options.withPseudoName("n"),
    Options.withDescription("How many parts are computed side by side, each on a connection of its own. Default: 1"),
    Options.withDefault(1)
  ),
  cluster: clusterOption,
  restart: Options.boolean("restart").pipe(
    Options.withDescription("Begin anew, whatever an unfinished run has computed")
  ),
  ...databaseOptions
}

export const diffOptions = { names, ...databaseOptions }

/** Shows how the projections stand; gives the exit code. */
export const status = (given: DatabaseGiven & { readonly check: boolean }): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const found = yield* withDatabase(settings, ProjectionStatus.status)
      yield* given.json
        ? terminal.out(
            Documents.encode(
              ProjectionDocument.StatusDocument,
              ProjectionDocument.ofStatus(found, settings.database.shown)
            )
          )
        : writeLines(terminal, ProjectionLines.statusLines(terminal, found))
      if (!given.check || !found.some(({ outdated }) => outdated)) return 0
      yield* Effect.forEach(Option.toArray(nextStep("ProjectionsOutdated")), terminal.err, { discard: true })
      return exitCode("ProjectionsOutdated")
    })
  )

interface RebuildGiven extends DatabaseGiven {
  readonly names: ReadonlyArray<string>
  readonly outdated: boolean
  readonly dryRun: boolean
  readonly mode: (typeof choices.mode)[number]
  readonly ghosts: (typeof choices.ghosts)[number]
  readonly expect: Option.Option<number>
  readonly yes: boolean
  readonly onPoison: (typeof choices)["on-poison"][number]
  readonly maxStall: Option.Option<string>
  readonly lanes: number
  readonly cluster: boolean
  readonly restart: boolean
}

/** Rebuilds projections, or shows what that would do; gives the exit code. */
export const rebuild = (given: RebuildGiven): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      yield* refuseMixed(given)
      const maxStall = yield* Effect.transposeMapOption(given.maxStall, (value) =>
        Setting.duration({ value, invalid: Setting.invalidOption("max-stall") })
      )
      return yield* given.dryRun ? planned(given, maxStall) : rebuilt(given, maxStall)
    }),
    "interrupted: the read tables are whole; a rebuild that was begun is paused, and the same command goes on where it stood: es-ops runs shows it"
  )

const refuseMixed = ({
  expect,
  ghosts,
  lanes,
  names: named,
  outdated
}: RebuildGiven): Effect.Effect<void, UsageError> => {
  if (named.length === 0 && !outdated)
    return new UsageError({ reason: "name the projections to rebuild, or give --outdated" })
  if (named.length > 0 && outdated)
    return new UsageError({ reason: "--outdated chooses the projections: name none beside it" })
  if (Option.isSome(expect) && ghosts !== "delete")
    return new UsageError({ reason: "--expect counts the rows that --ghosts delete deletes" })
  if (lanes < 1) return new UsageError({ reason: `--lanes: ${lanes} is not 1 or above` })
  return Effect.asVoid(expected(expect))
}

const optionsOf = (given: RebuildGiven, maxStall: Option.Option<Duration.Duration>): ProjectionRebuild.Options => ({
  projections: given.outdated ? undefined : given.names,
  mode: given.mode,
  ghosts: given.ghosts,
  expect: Option.getOrUndefined(given.expect),
  onPoison: given.onPoison,
  maxStall: Option.getOrUndefined(maxStall),
  lanes: given.lanes,
  restart: given.restart
})

const planned = (given: RebuildGiven, maxStall: Option.Option<Duration.Duration>) =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    const settings = yield* Settings.resolveAll(given)
    const plans = yield* withDatabase(settings, ProjectionRebuild.plan(optionsOf(given, maxStall)))
    yield* given.json
      ? terminal.out(Documents.encode(ProjectionDocument.RebuildDocument, ProjectionDocument.ofPlans(plans)))
      : writeLines(terminal, ProjectionLines.planLines(terminal, plans))
    if (plans.every(({ problems }) => problems.length === 0)) return 0
    yield* Effect.forEach(Option.toArray(nextStep("RebuildRefused")), terminal.err, { discard: true })
    return exitCode("RebuildRefused")
  })

const rebuilt = (given: RebuildGiven, maxStall: Option.Option<Duration.Duration>) =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    if (given.ghosts === "delete")
      yield* confirm(`Rows without any event are to be deleted from ${tablesOf(given)}.`, given.yes)
    const settings = yield* Settings.resolveAll(given)
    const { appliedBy } = settings
    const lanes = yield* ClusterSession.lanes(given.cluster, settings)
    const reports = yield* RunProgress.shown((observer) =>
      withDatabase(settings, ProjectionRebuild.run({ ...optionsOf(given, maxStall), appliedBy, observer }), {
        connections: given.lanes + 1 + (lanes === undefined ? 0 : ClusterSession.connections),
        lanes
      })
    )
    yield* given.json
      ? terminal.out(Documents.encode(ProjectionDocument.RebuildDocument, ProjectionDocument.ofRebuild(reports)))
      : writeLines(terminal, ProjectionLines.rebuildLines(terminal, reports))
    return 0
  }).pipe(Effect.catchTag("RebuildRefused", (refused) => refusal(given.json, refused)))

const tablesOf = ({ names: named, outdated }: RebuildGiven): string =>
  outdated ? "the tables of the outdated projections" : `the tables of ${named.join(", ")}`

/** Every problem, in the document as on stderr. */
const refusal = (json: boolean, { _tag, message, problems }: RebuildRefused) =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    if (json)
      yield* terminal.out(Documents.encode(ProjectionDocument.RebuildDocument, ProjectionDocument.ofProblems(problems)))
    yield* FailureReport.explain(terminal, { _tag, message })
    return exitCode(_tag)
  })

/** Compares read tables with the fold of their events; gives the exit code. */
export const diff = (
  given: DatabaseGiven & { readonly names: ReadonlyArray<string> }
): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const settings = yield* Settings.resolveAll(given)
      const { appliedBy } = settings
      const projections = given.names.length === 0 ? undefined : given.names
      const diffs = yield* RunProgress.shown((observer) =>
        withDatabase(settings, ProjectionRebuild.diff({ projections, appliedBy, observer }))
      )
      yield* given.json
        ? terminal.out(Documents.encode(ProjectionDocument.DiffDocument, ProjectionDocument.ofDiffs(diffs)))
        : writeLines(terminal, ProjectionLines.diffLines(terminal, diffs))
      if (diffs.every(isEqual)) return 0
      const wrong = diffs.filter((found) => !isEqual(found)).flatMap(({ projections }) => projections.slice(0, 1))
      yield* terminal.err(`Run es-ops projection:rebuild ${wrong.join(" ")}.`)
      return exitCode("ProjectionsOutdated")
    }).pipe(Effect.catchTag("RebuildRefused", (refused) => refusal(given.json, refused))),
    "interrupted: nothing of the live tables was changed"
  )
