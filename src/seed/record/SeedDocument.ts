/**
 * The JSON documents of the command line, one for each command, as schemas: `stdout` with `--json` decodes with them, whatever the exit code.
 */
import * as Schema from "effect/Schema"
import { AttemptError, AttemptOutcome } from "../../operation/Attempt.js"
import { SeedProblem, SeedProblemTag } from "../SeedProblem.js"

const Problem = Schema.Struct({ _tag: SeedProblemTag, message: Schema.String })

/** A seed in a status. */
export const SeedRow = Schema.Struct({
  id: Schema.String,
  state: Schema.Literal("applied", "pending", "late", "running", "interrupted", "orphan"),
  changed: Schema.Boolean,
  /** Of a running seed: the host, the server process that holds the lock, and since when (null where the role may not see it). */
  running: Schema.optional(
    Schema.Struct({ host: Schema.String, pid: Schema.Number, since: Schema.NullOr(Schema.String) })
  ),
  /** Of a seed in batches that is half done: how many rows are done, of how many, at which rate, and how many seconds that leaves. */
  progress: Schema.optional(
    Schema.Struct({
      done: Schema.Number,
      total: Schema.NullOr(Schema.Number),
      rate: Schema.NullOr(Schema.Number),
      secondsLeft: Schema.NullOr(Schema.Number)
    })
  ),
  /** The applied seed without a file whose source it has; only where there is one. */
  renamedFrom: Schema.optional(Schema.String),
  description: Schema.NullOr(Schema.String),
  skippable: Schema.NullOr(Schema.Boolean),
  flag: Schema.NullOr(Schema.String),
  flagSet: Schema.Boolean,
  /** ISO 8601, UTC. */
  appliedAt: Schema.NullOr(Schema.String),
  appliedBy: Schema.NullOr(Schema.String),
  durationMs: Schema.NullOr(Schema.Number),
  lastAttempt: Schema.NullOr(
    Schema.Struct({ outcome: Schema.String, at: Schema.String, error: Schema.NullOr(AttemptError) })
  ),
  problem: Schema.NullOr(Problem)
})

const Counts = Schema.Struct({
  applied: Schema.Number,
  pending: Schema.Number,
  late: Schema.Number,
  interrupted: Schema.Number,
  orphan: Schema.Number,
  changed: Schema.Number
})

/** `seed:status` and `seed:check`. */
export const StatusDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  /** The database, password hidden; null where none was asked. */
  database: Schema.NullOr(Schema.String),
  seeds: Schema.Array(SeedRow),
  counts: Counts
})
export type StatusDocument = typeof StatusDocument.Type

const Preview = Schema.Struct({
  type: Schema.String,
  aggregateType: Schema.String,
  aggregateId: Schema.String,
  tenantId: Schema.String,
  version: Schema.Number,
  payload: Schema.Unknown
})

const AppliedRow = Schema.Struct({
  id: Schema.String,
  durationMs: Schema.Number,
  events: Schema.Number,
  preview: Schema.optional(Schema.Array(Preview))
})

/** What ended a run. */
export const Failure = Schema.Struct({
  /** The seed, where one is to blame. */
  id: Schema.NullOr(Schema.String),
  error: Schema.Struct({
    _tag: Schema.String,
    message: Schema.String,
    cause: Schema.NullOr(AttemptError),
    problems: Schema.optional(Schema.Array(SeedProblem))
  })
})

/** `seed:apply`. */
export const ApplyDocument = Schema.Struct({
  schemaVersion: Schema.Literal(1),
  applied: Schema.Array(AppliedRow),
  skipped: Schema.Array(Schema.Struct({ id: Schema.String, flag: Schema.String })),
  raced: Schema.Array(Schema.String),
  failed: Schema.NullOr(Failure),
  notAttempted: Schema.Array(Schema.String),
  dryRun: Schema.Boolean,
  skippedAll: Schema.NullOr(Schema.String)
})
export type ApplyDocument = typeof ApplyDocument.Type

/** `history`: attempts, newest first. Instants are ISO 8601, UTC; durations are whole milliseconds. */
export const HistoryDocument = Schema.Array(
  Schema.Struct({
    id: Schema.String,
    operationType: Schema.String,
    attempt: Schema.Number,
    outcome: AttemptOutcome,
    startedAt: Schema.String,
    endedAt: Schema.NullOr(Schema.String),
    durationMs: Schema.NullOr(Schema.Number),
    waitedMs: Schema.NullOr(Schema.Number),
    appliedBy: Schema.String,
    host: Schema.String,
    pid: Schema.Number,
    version: Schema.NullOr(Schema.String),
    reason: Schema.NullOr(Schema.String),
    error: Schema.NullOr(AttemptError)
  })
)
export type HistoryDocument = typeof HistoryDocument.Type

/** `doctor`: what was looked at, whether it is as it should be, and what to do if not. */
export const DoctorDocument = Schema.Struct({
  checks: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      ok: Schema.Boolean,
      detail: Schema.String,
      fix: Schema.NullOr(Schema.String)
    })
  )
})
export type DoctorDocument = typeof DoctorDocument.Type

/** `seed:mark`, `seed:unmark`, `seed:rename` and `seed:new`: the seed, the file that was written, and whether anything was changed. */
export const ChangeDocument = Schema.Struct({
  id: Schema.String,
  path: Schema.optional(Schema.String),
  changed: Schema.Boolean
})
export type ChangeDocument = typeof ChangeDocument.Type

/** `schema`: statements in the order in which to run them. */
export const SchemaDocument = Schema.Struct({ statements: Schema.Array(Schema.String) })
export type SchemaDocument = typeof SchemaDocument.Type

export { ErrorDocument } from "./ErrorDocument.js"
