/**
 * The report of a rebuild or a verification of snapshots.
 */
import * as Schema from "effect/Schema"
import type { RunCounters } from "../operation/Run.js"
import type { FailedStream } from "./SnapshotFold.js"
import type { FoldedKind, StrayKind } from "./SnapshotRows.js"

/** A stored snapshot is another state than its stream gives. Changed functions without a new `snapshotVersion` are one cause. */
export class SnapshotDiffers extends Schema.TaggedError<SnapshotDiffers>()("SnapshotDiffers", {
  aggregateType: Schema.String,
  tenantId: Schema.String,
  aggregateId: Schema.String,
  snapshotVersion: Schema.Number,
  version: Schema.Number
}) {
  override get message(): string {
    return `the snapshot of ${this.aggregateType} ${this.aggregateId} of tenant ${this.tenantId} at version ${this.version} is not what its events give: it was changed, or the aggregate was, without a new snapshotVersion`
  }
}

/** What was found about one snapshot, or about a stream that has none. */
export interface SnapshotFinding {
  readonly kind: FoldedKind | StrayKind
  readonly tenantId: string
  readonly aggregateId: string
  readonly snapshotVersion: number
  readonly version: number
}

/** What was found, and with a rebuild mended. */
export interface SnapshotReport {
  readonly aggregateType: string
  readonly snapshotVersion: number
  /** How many streams were folded, from how many events. */
  readonly streams: number
  readonly events: number
  /** Streams without a snapshot of this version. */
  readonly missing: number
  /** Streams that went on since their newest snapshot: a load uses it, and a rebuild stores a newer one. */
  readonly behind: number
  /** Snapshots that are another state than their events give. */
  readonly different: number
  /** Snapshots of an older `snapshotVersion`, beyond the end of their stream, and of no stream. */
  readonly outdated: number
  readonly beyond: number
  readonly orphaned: number
  /** Streams that cannot be folded: how many, and the first of them. No snapshot of them is stored. */
  readonly failed: number
  readonly failures: ReadonlyArray<FailedStream>
  /** The first of what was found, snapshots that are only behind left out. */
  readonly findings: ReadonlyArray<SnapshotFinding>
}

/** How many findings and failures are listed, of each kind. */
export const listed = 20

/** A report of what was counted. */
export const make = (
  type: Pick<SnapshotReport, "aggregateType" | "snapshotVersion">,
  counters: RunCounters,
  lists: Pick<SnapshotReport, "failures" | "findings">
): SnapshotReport => {
  const count = (name: string): number => counters[name] ?? 0
  return {
    ...type,
    streams: count("streams"),
    events: count("events"),
    missing: count("missing"),
    behind: count("behind"),
    different: count("different"),
    outdated: count("outdated"),
    beyond: count("beyond"),
    orphaned: count("orphaned"),
    failed: count("failed"),
    failures: lists.failures,
    findings: lists.findings
  }
}

/** How many snapshots a rebuild writes. */
export const written = ({ behind, different, missing }: SnapshotReport): number => missing + behind + different

/** How many it deletes. */
export const deleted = ({ beyond, orphaned, outdated }: SnapshotReport): number => outdated + beyond + orphaned

/** Whether anything is not as it should be: what is only behind is right. */
export const isClean = (report: SnapshotReport): boolean =>
  report.missing + report.different + deleted(report) + report.failed === 0

/** The differences among the findings, as errors. */
export const differences = ({ aggregateType, findings }: SnapshotReport): ReadonlyArray<SnapshotDiffers> =>
  findings.filter(({ kind }) => kind === "different").map((found) => difference(aggregateType, found))

/** A finding as an error. */
export const difference = (
  aggregateType: string,
  { aggregateId, snapshotVersion, tenantId, version }: SnapshotFinding
): SnapshotDiffers => new SnapshotDiffers({ aggregateType, aggregateId, tenantId, snapshotVersion, version })

/** Counts of kinds, as counters. */
export const tally = (kinds: ReadonlyArray<FoldedKind | StrayKind>): RunCounters => {
  const counts: Record<string, number> = {}
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

/** The report of a run in another process, of which only the counts are known. */
export const ofRun = (aggregateType: string, counters: RunCounters): SnapshotReport =>
  make({ aggregateType, snapshotVersion: counters["snapshotVersion"] ?? 0 }, counters, { failures: [], findings: [] })
