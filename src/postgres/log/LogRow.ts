/**
 * Rows of the marker table and of the attempts table: numbers and instants as text, as drivers differ in what they make of them.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Attempt } from "../../operation/Attempt.js"
import { AttemptError, AttemptOutcome } from "../../operation/Attempt.js"
import type { Marker } from "../../operation/Operation.js"
import { OperationId } from "../../operation/Operation.js"

const Epoch = Schema.NumberFromString
const Count = Schema.NullOr(Schema.NumberFromString)

/** A marker, as it is selected. */
export const MarkerRow = Schema.Struct({
  id: OperationId,
  operation_type: Schema.String,
  applied_at: Epoch,
  duration_ms: Schema.NumberFromString,
  applied_by: Schema.String,
  notes: Schema.NullOr(Schema.String)
})

/** An attempt, as it is selected. */
export const AttemptRow = Schema.Struct({
  id: Schema.NumberFromString,
  operation_id: OperationId,
  operation_type: Schema.String,
  attempt: Schema.NumberFromString,
  outcome: AttemptOutcome,
  started_at: Epoch,
  ended_at: Count,
  duration_ms: Count,
  waited_ms: Count,
  applied_by: Schema.String,
  host: Schema.String,
  pid: Schema.NumberFromString,
  version: Schema.NullOr(Schema.String),
  source_hash: Schema.NullOr(Schema.String),
  reason: Schema.NullOr(Schema.String),
  error: Schema.NullOr(Schema.parseJson(AttemptError))
})

const utc = (millis: number): DateTime.Utc => DateTime.unsafeMake(millis)

export const toMarker = (row: typeof MarkerRow.Type): Marker => ({
  id: row.id,
  operationType: row.operation_type,
  appliedAt: utc(row.applied_at),
  durationMs: row.duration_ms,
  appliedBy: row.applied_by,
  notes: Option.fromNullable(row.notes)
})

export const toAttempt = (row: typeof AttemptRow.Type): Attempt => ({
  id: row.id,
  operationId: row.operation_id,
  operationType: row.operation_type,
  attempt: row.attempt,
  outcome: row.outcome,
  startedAt: utc(row.started_at),
  endedAt: Option.map(Option.fromNullable(row.ended_at), utc),
  durationMs: Option.fromNullable(row.duration_ms),
  waitedMs: Option.fromNullable(row.waited_ms),
  appliedBy: row.applied_by,
  host: row.host,
  pid: row.pid,
  version: Option.fromNullable(row.version),
  sourceHash: Option.fromNullable(row.source_hash),
  reason: Option.fromNullable(row.reason),
  error: Option.fromNullable(row.error)
})
