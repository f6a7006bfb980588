/**
 * The lines of what was done to streams. Pure.
 */
import type { StreamId } from "../../event/Event.js"
import type { FollowedRows } from "../../event/StreamRows.js"
import type { MoveReport } from "../../stream/MoveReport.js"
import type { ArchiveReport, FailedStream } from "../../stream/ArchiveReport.js"
import * as Layout from "./Layout.js"
import type { Terminal } from "./Terminal.js"

/** So many streams are shown one by one. */
const shown = 20

/** The words of archiving or restoring. */
export interface ArchiveWords {
  readonly done: string
  readonly already: string
}

/** The lines of archiving or restoring. */
export const archiveLines = (
  terminal: Terminal["Type"],
  { changed, failed, leftRows, unchanged, ...followed }: ArchiveReport,
  { already, done }: ArchiveWords,
  dryRun: boolean
): ReadonlyArray<string> => [
  ...listed(changed, (stream) => `${terminal.paint("green", Layout.column(done))}${nameOf(stream)}`),
  ...listed(unchanged, (stream) => `${terminal.paint("yellow", Layout.column(already))}${nameOf(stream)}`),
  ...failedLines(terminal, failed),
  ...rowLines(followed),
  ...(leftRows === 0
    ? []
    : [
        `${Layout.counted(leftRows, "row")} of streams archived before were still in the read tables, and removed now.`
      ]),
  `${dryRun ? "Dry run, nothing was changed. " : ""}${Layout.counted(changed.length, "stream")} ${done}, ${unchanged.length} ${already}, ${failed.length} failed.`
]

/** Those that failed, each with its reason. */
export const failedLines = (terminal: Terminal["Type"], failed: ReadonlyArray<FailedStream>): ReadonlyArray<string> =>
  failed.map(
    ({ error, ...stream }) => `${terminal.paint("red", Layout.column("failed"))}${nameOf(stream)}: ${error.message}`
  )

/** The lines of moves. */
export const moveLines = (terminal: Terminal["Type"], report: MoveReport, dryRun: boolean): ReadonlyArray<string> => [
  ...report.failed.map(({ error, id }) => `${terminal.paint("red", Layout.column("failed"))}${id}: ${error.message}`),
  ...report.stragglers.map(
    ({ events, from, id }) =>
      `${Layout.column("put behind")}${id}: ${Layout.counted(events, "event")} that came to tenant ${from} after the move`
  ),
  ...rowLines(report),
  `${dryRun ? "Dry run, nothing was changed. " : ""}${Layout.counted(report.moved, "stream")} with ${Layout.counted(report.events, "event")} moved${report.merged === 0 ? "" : ` (${report.merged} merged)`}, ${report.unchanged} on their tenant already, ${report.failed.length} failed.`
]

/** What stands on stderr where streams failed. */
export const errorLines = (
  { paint }: Terminal["Type"],
  failed: ReadonlyArray<{ readonly error: { readonly message: string } }>
): ReadonlyArray<string> => {
  const [first, ...others] = failed
  if (first === undefined) return []
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`
  return [`${paint("red", "error:", "err")} ${first.error.message}${more}`]
}

/** What became of the read rows, and the rebuilds that are to be run. */
export const rowLines = ({ outdated, rows }: FollowedRows): ReadonlyArray<string> => [
  ...rows.map(
    ({ projection, removed, table, written }) =>
      `${Layout.column("rows")}${table} (${projection}): ${written} written, ${removed} removed`
  ),
  ...outdated.map(
    (projection) => `${Layout.column("outdated")}${projection}: run es-ops projection:rebuild ${projection}`
  )
]

const listed = (streams: ReadonlyArray<StreamId>, line: (stream: StreamId) => string): ReadonlyArray<string> => [
  ...streams.slice(0, shown).map(line),
  ...(streams.length > shown ? [`${Layout.column("")}and ${streams.length - shown} more`] : [])
]

const nameOf = ({ aggregateId, tenantId }: StreamId): string => `${aggregateId} of tenant ${tenantId}`
