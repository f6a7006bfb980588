/**
 * The lines of a purge. Pure.
 */
import type { PurgeReport } from "../../stream/PurgeReport.js"
import * as Layout from "./Layout.js"
import * as StreamLines from "./StreamLines.js"
import type { Terminal } from "./Terminal.js"

/** So many streams are shown one by one. */
const shown = 20

/** The lines of what was purged, or would be. */
export const purgeLines = (terminal: Terminal["Type"], report: PurgeReport, dryRun: boolean): ReadonlyArray<string> => [
  ...report.types.map(
    ({ events, streams, type }) =>
      `${terminal.paint("green", Layout.column("purged"))}${type}: ${Layout.counted(streams, "stream")}, ${Layout.counted(events, "event")}`
  ),
  ...report.failed
    .slice(0, shown)
    .map(({ error, id }) => `${terminal.paint("red", Layout.column("failed"))}${id}: ${error.message}`),
  ...report.leftover
    .slice(0, shown)
    .map(
      ({ events, id, tenantId }) =>
        `${terminal.paint("yellow", Layout.column("left"))}${id} of tenant ${tenantId}: ${Layout.counted(events, "event")} came after it was purged`
    ),
  ...StreamLines.rowLines(report),
  ...(report.export === null
    ? []
    : [
        `${Layout.column("exported")}${report.export.file}: ${Layout.counted(report.export.events, "event")}, ${report.export.bytes} bytes`
      ]),
  `${dryRun ? "Dry run, nothing was deleted. " : ""}${Layout.counted(report.streams, "stream")} with ${Layout.counted(report.events, "event")} purged${alongside(report)}, ${report.failed.length} failed.`
]

const alongside = ({ deadLetters, snapshots }: PurgeReport): string =>
  [
    ...(snapshots === 0 ? [] : [`, ${Layout.counted(snapshots, "snapshot")}`]),
    ...(deadLetters === 0 ? [] : [`, ${Layout.counted(deadLetters, "dead letter")}`])
  ].join("")

/** What is to be looked at. */
export const warningLines = (
  leftover: PurgeReport["leftover"],
  unsettled: PurgeReport["unsettled"]
): ReadonlyArray<string> => [
  ...(leftover.length === 0
    ? []
    : [
        `${Layout.counted(leftover.length, "purged stream")} got events from a program that knows nothing of purges: the same command deletes them.`
      ]),
  ...(unsettled.length === 0
    ? []
    : [
        `Transactions from before are still open, and what they append to purged streams was not looked for: ${unsettled.join("; ")}. es-ops doctor finds it later.`
      ])
]
