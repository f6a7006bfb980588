/**
 * What a pass over the snapshots of an aggregate type finds: counts of everything, and the first of each kind.
 */
import type { RunCounters } from "../operation/Run.js"
import type { FailedStream, Page } from "./SnapshotFold.js"
import type { SnapshotFinding } from "./SnapshotReport.js"
import * as Report from "./SnapshotReport.js"
import type { Folded, FoldedKind, SnapshotType } from "./SnapshotRows.js"

/** What a pass has found so far. */
export class Found {
  readonly failures: Array<FailedStream> = []
  readonly findings: Array<SnapshotFinding> = []
  counters: RunCounters = {}

  constructor(readonly type: SnapshotType) {}

  /** Notes a page; answers with what it adds to the counters. */
  add(page: Page, differing: ReadonlyArray<readonly [Folded, FoldedKind]>): RunCounters {
    const added: RunCounters = {
      streams: page.streams,
      events: page.events,
      failed: page.failed.length,
      ...Report.tally(differing.map(([, kind]) => kind))
    }
    const { snapshotVersion } = this.type
    this.failures.push(...page.failed.slice(0, Report.listed - this.failures.length))
    this.note(
      differing
        .filter(([, kind]) => kind !== "behind")
        .map(([{ aggregateId, tenantId, version }, kind]) => ({
          kind,
          aggregateId,
          tenantId,
          snapshotVersion,
          version
        }))
    )
    for (const [name, count] of Object.entries(added)) {
      this.counters = { ...this.counters, [name]: (this.counters[name] ?? 0) + count }
    }
    return added
  }

  /** Lists what was found, as long as there are few of its kind. */
  note(found: ReadonlyArray<SnapshotFinding>): void {
    for (const { aggregateId, kind, snapshotVersion, tenantId, version } of found) {
      if (this.findings.filter((other) => other.kind === kind).length >= Report.listed) continue
      this.findings.push({ kind, aggregateId, tenantId, snapshotVersion, version })
    }
  }
}
