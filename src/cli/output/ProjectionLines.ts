/**
 * The lines about projections for people: how they stand, what a rebuild did or would do, and what differs.
 */
import * as Option from "effect/Option"
import * as RecordedTime from "../../operation/RecordedTime.js"
import type { ProjectionStatusEntry } from "../../projection/ProjectionStatus.js"
import type {
  DifferingRows,
  RebuildDiff,
  RebuildPlan,
  RebuildReport,
  TableDiff
} from "../../projection/RebuildReport.js"
import * as Layout from "./Layout.js"
import { standing } from "./RunLines.js"
import type { Terminal } from "./Terminal.js"

/** Every projection, and the counts. */
export const statusLines = (
  terminal: Terminal["Type"],
  projections: ReadonlyArray<ProjectionStatusEntry>
): ReadonlyArray<string> => {
  if (projections.length === 0) return ["No projections."]
  const rows = Layout.table(projections.map(cells), terminal.width - Layout.column("").length)
  const outdated = projections.filter((projection) => projection.outdated).length
  return [
    ...projections.map((projection, at) => {
      const state = terminal.paint(
        projection.outdated ? "yellow" : "green",
        Layout.column(projection.outdated ? "outdated" : "current")
      )
      return `${state}${rows[at] ?? ""}`.trimEnd()
    }),
    `${[`${projections.length - outdated} current`, ...(outdated > 0 ? [`${outdated} outdated`] : [])].join(", ")}.`
  ]
}

const cells = (projection: ProjectionStatusEntry): ReadonlyArray<string> => [
  projection.name,
  projection.tables.length === 0 ? "(names no tables)" : projection.tables.join(", "),
  projection.outdated
    ? `version ${projection.version}, built with ${projection.builtVersion}`
    : `version ${projection.version}`,
  Option.match(projection.lastRebuild, {
    onNone: () => "never rebuilt",
    onSome: (at) => `rebuilt ${Layout.instant(RecordedTime.format(at))}`
  }),
  [
    ...Option.toArray(
      Option.map(projection.run, (run) => `run ${run.id}: ${run.isLive ? "" : "not going on; "}${standing(run)}`)
    ),
    ...(projection.deadLetters > 0 ? [`${Layout.counted(projection.deadLetters, "event")} left out`] : [])
  ].join("; ")
]

/** What was rebuilt. */
export const rebuildLines = (
  { paint }: Terminal["Type"],
  reports: ReadonlyArray<RebuildReport>
): ReadonlyArray<string> => {
  if (reports.length === 0) return ["Nothing to rebuild here."]
  const first = paint("green", Layout.column("rebuilt"))
  return [
    ...reports.flatMap((report) => [`${first}${reportText(report)}`, ...moreOf(report).map(below)]),
    `${Layout.counted(reports.flatMap(({ projections }) => projections).length, "projection")} rebuilt.`
  ]
}

const below = (text: string): string => `${Layout.column("")}${text}`

const reportText = ({ cutOver, events, mode, projections, rows, tables }: RebuildReport): string =>
  [
    `${projections.join(", ")} (${tables.join(", ")})`,
    Layout.counted(events, "event"),
    `${mode}: ${rows.inserted} inserted, ${rows.updated} updated, ${rows.deleted} deleted`,
    `writers stopped for ${Layout.duration(cutOver.stalledMs)}`
  ].join("  ")

const moreOf = ({
  anew,
  deadLetters,
  ghosts,
  mended,
  notes,
  projections,
  unsettled
}: RebuildReport): ReadonlyArray<string> => [
  ...(ghosts.kept + ghosts.deleted > 0
    ? [
        `${Layout.counted(ghosts.kept + ghosts.deleted, "row")} without any event ${ghosts.kept > 0 ? "kept" : "deleted"}: ${ghosts.keys.join(", ")}`
      ]
    : []),
  ...(mended > 0 ? [`${Layout.counted(mended, "row")} that earlier writers had written over put right`] : []),
  ...(deadLetters > 0
    ? [`${Layout.counted(deadLetters, "event")} left out, in es_ops_dead_letters; their rows were kept`]
    : []),
  ...(anew > 0 ? [`begun anew ${anew} times, as tables or archived streams changed`] : []),
  ...unsettled.map(
    (who) =>
      `still open from before the cut-over: ${who}. When it is over, run es-ops projection:diff ${projections[0] ?? ""}`
  ),
  ...notes
]

/** What would be rebuilt, and what is in the way. */
export const planLines = ({ paint }: Terminal["Type"], plans: ReadonlyArray<RebuildPlan>): ReadonlyArray<string> => {
  if (plans.length === 0) return ["Nothing is outdated."]
  return [
    ...plans.flatMap(({ bytes, events, ghosts, mode, notes, problems, projections, rows, tables }) => [
      `${paint("yellow", Layout.column("would"))}rebuild ${projections.join(", ")} (${tables.join(", ")})  ${Layout.counted(events, "event")}, ${Layout.counted(rows, "row")}  ${mode}  ${megabytes(bytes)} on disk`,
      ...(ghosts > 0 ? [below(`${Layout.counted(ghosts, "row")} without any event`)] : []),
      ...notes.map(below),
      ...problems.map(({ message }) => `${paint("red", Layout.column("problem"))}${Layout.indented(message)}`)
    ]),
    `${Layout.counted(plans.length, "rebuild")} planned, ${Layout.counted(plans.flatMap(({ problems }) => problems).length, "problem")}; nothing was written.`
  ]
}

const megabytes = (bytes: number): string => `${(bytes / 1_000_000).toFixed(1)} MB`

/** What differs. */
export const diffLines = ({ paint }: Terminal["Type"], diffs: ReadonlyArray<RebuildDiff>): ReadonlyArray<string> => {
  if (diffs.length === 0) return ["No projection names its tables."]
  return diffs.flatMap(({ deadLetters, events, projections, tables }) => [
    ...tables.flatMap((table) => {
      const isEqual = table.missing.count + table.surplus.count + table.different.count === 0
      const state = isEqual ? paint("green", Layout.column("equal")) : paint("red", Layout.column("differs"))
      return [
        `${state}${projections.join(", ")} (${table.table})  ${Layout.counted(events, "event")}${isEqual ? "" : `  ${countsOf(table)}`}`,
        ...(["missing", "surplus", "different"] as const).flatMap((kind) => keysOf(kind, table[kind])).map(below)
      ]
    }),
    ...(deadLetters > 0
      ? [below(`${Layout.counted(deadLetters, "event")} left out, as they cannot be read or folded`)]
      : [])
  ])
}

const countsOf = ({ different, missing, surplus }: TableDiff): string =>
  `${missing.count} missing, ${surplus.count} surplus, ${different.count} different`

const keysOf = (kind: string, { count, keys }: DifferingRows): ReadonlyArray<string> =>
  count === 0 ? [] : [`${kind}: ${keys.join(", ")}${count > keys.length ? ", …" : ""}`]
