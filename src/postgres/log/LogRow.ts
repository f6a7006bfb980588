/**
 * Rows of the marker table and of the attempts table: numbers and instants as text, as drivers differ in what they make of them.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Attempt } from "../../operation/Attempt.js"
import { AttemptError, AttemptOutcome } from "../../operation/Attempt.js"
import type { Marker } from "../../operation/Operation.js"
import { OperationId } from "../../operation/Operation.js"
import { AppliedOperations, separator } from "../../operation/AppliedOperations.js"
import * as PgTime from "../client/PgTime.js"
import { literal } from "../client/SqlText.js"

const Count = Schema.NullOr(Schema.NumberFromString)

/** A marker, as it is selected. */
export const MarkerRow = Schema.Struct({
  id: OperationId,
  operation_type: Schema.String,
  applied_at: PgTime.Column,
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
  started_at: PgTime.Column,
  ended_at: Schema.NullOr(PgTime.Column),
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

export const toMarker = (row: typeof MarkerRow.Type): Marker => ({
  id: row.id,
  operationType: row.operation_type,
  appliedAt: row.applied_at,
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
  startedAt: row.started_at,
  endedAt: Option.fromNullable(row.ended_at),
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

/** The ids of all operations of a type in one text, how many there are, and those of other types with their types. */
export const AppliedRow = Schema.Struct({
  ids: Schema.String,
  count: Schema.NumberFromString,
  others: Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.String }))
})

/** Nothing is applied. */
export const noneApplied: typeof AppliedRow.Type = { ids: "", count: 0, others: {} }

/** The statement that answers with it. */
export const appliedSelect = (markers: string, type: string): string => {
  const ofType = `operation_type = ${literal(type)}`
  return `SELECT coalesce(string_agg(id, ${literal(separator)}) FILTER (WHERE ${ofType}), '') AS ids,
      (count(*) FILTER (WHERE ${ofType}))::text AS count,
      coalesce(json_object_agg(id, operation_type) FILTER (WHERE NOT ${ofType}), '{}')::text AS others
    FROM ${markers}`
}

/** What a row says; none where an id has the separator in it: then only rows tell. */
export const toApplied = (
  type: string,
  { count, ids, others }: typeof AppliedRow.Type
): Option.Option<AppliedOperations> =>
  count === 0 || count === countOf(ids)
    ? Option.some(AppliedOperations.fromText(type, ids, count, Object.entries(others)))
    : Option.none()

/** How many ids a text is of, if none has the separator in it. */
const countOf = (ids: string): number => {
  let found = 1
  for (let at = ids.indexOf(separator); at !== -1; at = ids.indexOf(separator, at + 1)) found++
  return found
}
