/**
 * The JSON documents of `snapshot:rebuild` and `snapshot:verify`.
 */
import * as Schema from "effect/Schema"
import type { SnapshotReport } from "./SnapshotReport.js"
import * as Report from "./SnapshotReport.js"

const Stream = { tenantId: Schema.String, aggregateId: Schema.String }

const counts = {
  aggregate: Schema.String,
  snapshotVersion: Schema.Number,
  streams: Schema.Number,
  events: Schema.Number,
  missing: Schema.Number,
  behind: Schema.Number,
  different: Schema.Number,
  outdated: Schema.Number,
  beyond: Schema.Number,
  orphaned: Schema.Number,
  failed: Schema.Number,
  /** The first of the streams that cannot be folded. */
  failures: Schema.Array(
    Schema.Struct({ ...Stream, error: Schema.Struct({ _tag: Schema.String, message: Schema.String }) })
  ),
  /** The first of what was found, by kind. */
  findings: Schema.Array(
    Schema.Struct({
      kind: Schema.Literal("missing", "behind", "different", "outdated", "beyond", "orphaned"),
      ...Stream,
      snapshotVersion: Schema.Number,
      version: Schema.Number,
      error: Schema.NullOr(Schema.Struct({ _tag: Schema.String, message: Schema.String }))
    })
  )
}

/** What `snapshot:verify --json` prints. */
export const VerifyDocument = Schema.Struct({ schemaVersion: Schema.Literal(1), clean: Schema.Boolean, ...counts })
export type VerifyDocument = typeof VerifyDocument.Type

/** What `snapshot:rebuild --json` prints. */
export const RebuildDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  dryRun: Schema.Boolean,
  /** The run; null for a dry run. */
  runId: Schema.NullOr(Schema.String),
  written: Schema.Number,
  deleted: Schema.Number,
  ...counts
})
export type RebuildDocument = typeof RebuildDocument.Type

/** The document of a verification. */
export const ofVerify = (report: SnapshotReport): VerifyDocument => ({
  schemaVersion: 1,
  clean: Report.isClean(report),
  ...countsOf(report)
})

/** The document of a rebuild, or of a plan of one. */
export const ofRebuild = (report: SnapshotReport, runId: string | null): RebuildDocument => ({
  schemaVersion: 1,
  dryRun: runId === null,
  runId,
  written: Report.written(report),
  deleted: Report.deleted(report),
  ...countsOf(report)
})

const countsOf = ({ aggregateType, failures, findings, ...rest }: SnapshotReport) => ({
  aggregate: aggregateType,
  ...rest,
  failures: failures.map(({ aggregateId, error, tenantId }) => ({
    aggregateId,
    tenantId,
    error: { _tag: error._tag, message: error.message }
  })),
  findings: findings.map((finding) => {
    const different = finding.kind === "different" ? Report.difference(aggregateType, finding) : null
    return { ...finding, error: different === null ? null : { _tag: different._tag, message: different.message } }
  })
})
