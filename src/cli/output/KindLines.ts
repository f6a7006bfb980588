/**
 * The lines of reports of snapshots, replays and backfills, as people read them. Pure.
 */
import * as Option from "effect/Option"
import type { BackfillReport } from "../../backfill/EventBackfill.js"
import type { ReplayReport } from "../../replay/EventReplay.js"
import type { SnapshotReport } from "../../snapshot/SnapshotReport.js"
import * as Snapshots from "../../snapshot/SnapshotReport.js"
import { column, counted } from "./Layout.js"

const about = {
  missing: "no snapshot of this version is stored",
  behind: "its stream went on since",
  different: "it is not what its events give",
  outdated: "it is of an older snapshotVersion",
  beyond: "it is beyond the end of its stream",
  orphaned: "it is of no stream"
} as const

/** What a rebuild did, or would do. */
export const rebuildLines = (report: SnapshotReport, dryRun: boolean): ReadonlyArray<string> => [
  ...snapshotLines(report),
  `${dryRun ? "dry run: would store" : "stored"} ${counted(Snapshots.written(report), "snapshot")} and ${dryRun ? "delete" : "deleted"} ${Snapshots.deleted(report)}, ${folded(report)}`
]

/** What a verification found. */
export const verifyLines = (report: SnapshotReport): ReadonlyArray<string> => [
  ...snapshotLines(report),
  Snapshots.isClean(report)
    ? `every snapshot is right, ${folded(report)}${report.behind === 0 ? "" : `; ${report.behind} streams went on since theirs`}`
    : `missing ${report.missing}, different ${report.different}, outdated ${report.outdated}, beyond ${report.beyond}, orphaned ${report.orphaned}, failed ${report.failed}; ${folded(report)}`
]

const folded = ({ events, streams }: SnapshotReport): string =>
  `folded ${counted(streams, "stream")} of ${counted(events, "event")}`

const snapshotLines = ({ failures, findings }: SnapshotReport): ReadonlyArray<string> => [
  ...findings.map(
    ({ aggregateId, kind, tenantId, version }) =>
      `${column(kind)}${aggregateId} of tenant ${tenantId} at version ${version}: ${about[kind]}`
  ),
  ...failures.map(({ error }) => `${column("failed")}${error.message}`)
]

/** What a replay delivered. */
export const replayLines = ({ delivered, failed, failures, skipped }: ReplayReport): ReadonlyArray<string> => [
  ...failures.map(
    ({ aggregateId, error, eventId }) =>
      `${column("failed")}event ${eventId} of stream ${aggregateId}: ${Option.match(error, { onNone: () => "", onSome: ({ message }) => message })}`
  ),
  `delivered ${counted(delivered, "event")}, failed ${failed}, left out ${skipped}`
]

/** What a backfill did, or would do. */
export const backfillLines = (report: BackfillReport, dryRun: boolean): ReadonlyArray<string> => [
  ...report.changedKeys.map((key) => `${column("changed")}row ${key} is not what its events were made of`),
  ...report.failures.map(({ error, key }) => `${column("failed")}row ${key}: ${error.message}`),
  `${dryRun ? "dry run: would append" : "appended"} ${counted(report.events, "event")} of ${counted(report.appended, "row")}, done before ${report.done}, changed ${report.changed}, failed ${report.failed}; ${counted(report.rows, "row")} in all`
]
