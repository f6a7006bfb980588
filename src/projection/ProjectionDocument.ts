/**
 * The JSON documents of projections: how they stand, what a rebuild did or would do, and how tables differ from their events.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { TableDiffs } from "../event/TableDiffs.js"
import * as RecordedTime from "../operation/RecordedTime.js"
import type { Run } from "../operation/Run.js"
import { RunOutcome } from "../operation/Run.js"
import type { ProjectionStatusEntry } from "./ProjectionStatus.js"
import type { RebuildProblem } from "./RebuildProblem.js"
import type { RebuildDiff, RebuildPlan, RebuildReport } from "./RebuildReport.js"
import { isEqual } from "./RebuildReport.js"

const Texts = Schema.Array(Schema.String)

const RunRow = Schema.Struct({
  id: Schema.String,
  outcome: RunOutcome,
  /** Whether a process is in it. */
  live: Schema.Boolean,
  phase: Schema.String,
  done: Schema.Number,
  total: Schema.NullOr(Schema.Number),
  owner: Schema.Struct({ host: Schema.String, pid: Schema.Number })
})

const StatusRow = Schema.Struct({
  name: Schema.String,
  tables: Texts,
  version: Schema.Number,
  builtVersion: Schema.Number,
  outdated: Schema.Boolean,
  lastRebuild: Schema.NullOr(Schema.String),
  run: Schema.NullOr(RunRow),
  deadLetters: Schema.Number
})

/** What `projection:status --json` prints. */
export const StatusDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  database: Schema.NullOr(Schema.String),
  projections: Schema.Array(StatusRow),
  counts: Schema.Struct({ current: Schema.Number, outdated: Schema.Number })
})
export type StatusDocument = typeof StatusDocument.Type

const Problem = Schema.Struct({ _tag: Schema.String, projection: Schema.String, message: Schema.String })

const PlanRow = Schema.Struct({
  projections: Texts,
  tables: Texts,
  mode: Schema.Literal("auto", "merge", "gradual", "swap"),
  events: Schema.Number,
  rows: Schema.Number,
  ghosts: Schema.Number,
  bytes: Schema.Number,
  notes: Texts
})

const ReportRow = Schema.Struct({
  projections: Texts,
  tables: Texts,
  runId: Schema.String,
  mode: Schema.Literal("merge", "gradual", "swap"),
  events: Schema.Number,
  rows: Schema.Struct({ inserted: Schema.Number, updated: Schema.Number, deleted: Schema.Number }),
  ghosts: Schema.Struct({ kept: Schema.Number, deleted: Schema.Number, keys: Texts }),
  mended: Schema.Number,
  unsettled: Texts,
  deadLetters: Schema.Number,
  cutOver: Schema.Struct({ tries: Schema.Number, stalledMs: Schema.Number }),
  anew: Schema.Number,
  notes: Texts
})

/** What `projection:rebuild --json` prints: what was done, what would be, and what is refused before anything begins. */
export const RebuildDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  dryRun: Schema.Boolean,
  rebuilt: Schema.Array(ReportRow),
  plans: Schema.Array(PlanRow),
  problems: Schema.Array(Problem)
})
export type RebuildDocument = typeof RebuildDocument.Type

/** What `projection:diff --json` prints. */
export const DiffDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  equal: Schema.Boolean,
  diffs: TableDiffs
})
export type DiffDocument = typeof DiffDocument.Type

/** The document of a status. */
export const ofStatus = (
  projections: ReadonlyArray<ProjectionStatusEntry>,
  database: string | null
): StatusDocument => {
  const outdated = projections.filter((projection) => projection.outdated).length
  return {
    schemaVersion: 1,
    database,
    projections: projections.map(({ lastRebuild, run, ...rest }) => ({
      ...rest,
      lastRebuild: Option.getOrNull(Option.map(lastRebuild, RecordedTime.format)),
      run: Option.getOrNull(Option.map(run, runRow))
    })),
    counts: { current: projections.length - outdated, outdated }
  }
}

const runRow = ({ done, id, isLive, outcome, owner, phase, total }: Run): typeof RunRow.Type => ({
  id,
  outcome,
  live: isLive,
  phase,
  done,
  total: Option.getOrNull(total),
  owner
})

/** The document of rebuilds. */
export const ofRebuild = (rebuilt: ReadonlyArray<RebuildReport>): RebuildDocument => ({
  schemaVersion: 1,
  dryRun: false,
  rebuilt,
  plans: [],
  problems: []
})

/** The document of what rebuilds would do. */
export const ofPlans = (plans: ReadonlyArray<RebuildPlan>): RebuildDocument => ({
  schemaVersion: 1,
  dryRun: true,
  rebuilt: [],
  plans: plans.map(planRow),
  problems: plans.flatMap(({ problems }) => problems.map(problemRow))
})

/** The document of a rebuild that was refused. */
export const ofProblems = (problems: ReadonlyArray<RebuildProblem>): RebuildDocument => ({
  ...ofRebuild([]),
  problems: problems.map(problemRow)
})

const planRow = ({
  bytes,
  events,
  ghosts,
  mode,
  notes,
  projections,
  rows,
  tables
}: RebuildPlan): typeof PlanRow.Type => ({
  projections,
  tables,
  mode,
  events,
  rows,
  ghosts,
  bytes,
  notes
})

const problemRow = ({ _tag, message, projection }: RebuildProblem): typeof Problem.Type => ({
  _tag,
  projection,
  message
})

/** The document of differences. */
export const ofDiffs = (diffs: ReadonlyArray<RebuildDiff>): DiffDocument => ({
  schemaVersion: 1,
  equal: diffs.every(isEqual),
  diffs
})
