/**
 * The JSON document of `event:backfill`.
 */
import * as Schema from "effect/Schema"
import { TableDiffs } from "../event/TableDiffs.js"
import type { BackfillReport } from "./EventBackfill.js"

/** How the read tables that a backfill feeds stand to their events. */
const Verified = Schema.Struct({
  /** Whether every table could be compared, and none differs. */
  equal: Schema.Boolean,
  diffs: TableDiffs,
  /** The projections that it feeds which name no tables. */
  unverified: Schema.Array(Schema.String),
  /** Why tables were not compared. */
  problems: Schema.Array(Schema.Struct({ _tag: Schema.String, projection: Schema.String, message: Schema.String }))
})

/** What `event:backfill --json` prints. */
export const BackfillDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  dryRun: Schema.Boolean,
  /** The run; null for a dry run. */
  runId: Schema.NullOr(Schema.String),
  backfill: Schema.String,
  rows: Schema.Number,
  /** How many rows became events, and how many events; in a dry run, how many would. */
  appended: Schema.Number,
  events: Schema.Number,
  /** Rows that were events already. */
  done: Schema.Number,
  /** Rows that are not what their events were made of. */
  changed: Schema.Number,
  /** The keys of the first of them. */
  changedKeys: Schema.Array(Schema.String),
  failedRows: Schema.Number,
  /** The first rows that were left out. */
  failed: Schema.Array(
    Schema.Struct({ key: Schema.String, error: Schema.Struct({ _tag: Schema.String, message: Schema.String }) })
  ),
  /** With `--verify`; null without. */
  verified: Schema.NullOr(Verified)
})
export type BackfillDocument = typeof BackfillDocument.Type

/** The document of a backfill, or of a plan of one; of its verification, where there was one. */
export const ofReport = (
  report: BackfillReport,
  runId: string | null,
  verified: typeof Verified.Type | null = null
): BackfillDocument => ({
  schemaVersion: 1,
  dryRun: runId === null,
  runId,
  backfill: report.backfill,
  rows: report.rows,
  appended: report.appended,
  events: report.events,
  done: report.done,
  changed: report.changed,
  changedKeys: report.changedKeys,
  failedRows: report.failed,
  failed: report.failures,
  verified
})
