/**
 * What a pass over the snapshots of an aggregate type finds: counts of everything, and the first of each kind.
 */
import type { RunCounters } from "../operation/Run.js"
import type { FailedStream, Page } from "./SnapshotFold.js"
import type { SnapshotFinding } from "./SnapshotReport.js"
import * as Report from "./SnapshotReport.js"
import type { SnapshotType } from "./SnapshotRows.js"

/** What a pass has found so far. */
export class Found {
  readonly failures: Array<FailedStream> = []
  readonly findings: Array<SnapshotFinding> = []
  counters: RunCounters = {}

  constructor(readonly type: SnapshotType) {}

  /** Notes what pages gave; answers with what they add to the counters. */
  add({ differing, events, failed, streams }: Page): RunCounters {
    this.failures.push(...failed.slice(0, Report.listed - this.failures.length))
    return this.count({ streams, events, failed: failed.length, ...this.noted(differing) })
  }

  /** Notes what was mended of streams that were looked at again; answers with what it adds to the counters. */
  addMended(mended: Page["differing"]): RunCounters {
    return this.count(this.noted(mended))
  }

  private count(added: RunCounters): RunCounters {
    for (const [name, count] of Object.entries(added)) {
      this.counters = { ...this.counters, [name]: (this.counters[name] ?? 0) + count }
    }
    return added
  }

  private noted(mended: Page["differing"]): RunCounters {
    const { snapshotVersion } = this.type
    const differing = mended.flatMap(([one, kind]) => (kind === "newer" ? [] : [[one, kind] as const]))
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
    return Report.tally(differing.map(([, kind]) => kind))
  }

  /** Lists what was found, as long as there are few of its kind. */
  note(found: ReadonlyArray<SnapshotFinding>): void {
    for (const { aggregateId, kind, snapshotVersion, tenantId, version } of found) {
      if (this.findings.filter((other) => other.kind === kind).length >= Report.listed) continue
      this.findings.push({ kind, aggregateId, tenantId, snapshotVersion, version })
    }
  }
}
