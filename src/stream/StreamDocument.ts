/**
 * The JSON documents of the commands on streams, as schemas: `stdout` with `--json` decodes with them.
 */
import * as Schema from "effect/Schema"
import { MoveReport } from "./MoveReport.js"
import { PurgeReport } from "./PurgeReport.js"

const Stream = Schema.Struct({ tenantId: Schema.String, aggregateId: Schema.String })

const Failure = Schema.Struct({
  id: Schema.String,
  tenantId: Schema.String,
  error: Schema.Struct({ _tag: Schema.String, message: Schema.String })
})

/** The read rows of a projection that were written and removed. */
const Rows = Schema.Struct({
  projection: Schema.String,
  table: Schema.String,
  written: Schema.Number,
  removed: Schema.Number
})

/** `stream:archive` and `stream:restore`. `outdated` are projections to be rebuilt. */
export const ArchiveDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  changed: Schema.Array(Stream),
  unchanged: Schema.Array(Stream),
  failed: Schema.Array(Failure),
  rows: Schema.Array(Rows),
  outdated: Schema.Array(Schema.String),
  leftRows: Schema.Number,
  dryRun: Schema.Boolean
})
export type ArchiveDocument = typeof ArchiveDocument.Type

/** `stream:move`. `runId` is null in a dry run, and where every move is refused. */
export const MoveDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  runId: Schema.NullOr(Schema.String),
  ...MoveReport.fields,
  dryRun: Schema.Boolean
})
export type MoveDocument = typeof MoveDocument.Type

/** `stream:purge`. `runId` is null in a dry run, and where it is refused: `problems` says why. */
export const PurgeDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  runId: Schema.NullOr(Schema.String),
  ...PurgeReport.fields,
  problems: Schema.Array(Schema.Struct({ _tag: Schema.String, message: Schema.String })),
  dryRun: Schema.Boolean
})
export type PurgeDocument = typeof PurgeDocument.Type
