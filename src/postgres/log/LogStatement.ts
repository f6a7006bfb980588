/**
 * Statements that write markers and attempts, with their values in them: what is sent together with other statements takes no parameters.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import type { NewAttempt } from "../../operation/Attempt.js"
import type { NewMarker } from "../../operation/Operation.js"
import { literal } from "../client/SqlText.js"

/** Built as text, as compiling a statement took 0.06 ms more. */
export const markerInsert = (table: string, marker: NewMarker): string =>
  `INSERT INTO ${table} (id, operation_type, duration_ms, applied_by, notes) VALUES (${literal(marker.id)}, ${literal(marker.operationType)}, ${marker.durationMs}, ${literal(marker.appliedBy)}, ${constant(marker.notes)})`

/** Numbered after the newest that the operation has. */
export const attemptInsert = (table: string, attempt: NewAttempt): string =>
  inserting(table, attempt, (row) => `VALUES (${row})`)

/** The same, unless the newest has the same outcome. */
export const attemptInsertOnce = (table: string, attempt: NewAttempt): string =>
  inserting(
    table,
    attempt,
    (row) => `SELECT ${row} WHERE ${newest(table, attempt, "outcome")} IS DISTINCT FROM ${literal(attempt.outcome)}`
  )

/** As an aggregate it took 0.1 ms more to plan. */
const newest = (table: string, { operationId }: NewAttempt, column: string): string =>
  `(SELECT ${column} FROM ${table} WHERE operation_id = ${literal(operationId)} ORDER BY id DESC LIMIT 1)`

/** Of a seed's 0.6 ms, values take 0.03 less than rows of a query, and columns that are not named 0.02 less than NULL. */
const inserting = (table: string, attempt: NewAttempt, from: (row: string) => string): string => {
  const values = Object.entries({
    operation_id: literal(attempt.operationId),
    operation_type: literal(attempt.operationType),
    attempt: `coalesce(${newest(table, attempt, "attempt")}, 0) + 1`,
    outcome: literal(attempt.outcome),
    started_at: instant(Option.some(attempt.startedAt)),
    ended_at: instant(attempt.endedAt),
    duration_ms: constant(attempt.durationMs),
    waited_ms: constant(attempt.waitedMs),
    applied_by: literal(attempt.appliedBy),
    host: literal(attempt.host),
    pid: `${attempt.pid}`,
    version: constant(attempt.version),
    source_hash: constant(attempt.sourceHash),
    reason: constant(attempt.reason),
    error: errorOf(attempt)
  }).filter(([, value]) => value !== absent)
  const columns = values.map(([column]) => column).join(", ")
  return `INSERT INTO ${table} (${columns}) ${from(values.map(([, value]) => value).join(", "))}`
}

/** What its end adds to an attempt that was begun. */
export const attemptUpdate = (table: string, id: number, attempt: NewAttempt): string =>
  `UPDATE ${table} SET outcome = ${literal(attempt.outcome)}, ended_at = ${instant(attempt.endedAt)},
    duration_ms = ${constant(attempt.durationMs)}, error = ${errorOf(attempt)} WHERE id = ${id}`

/**
 * Says of attempts that never ended that they were interrupted, as under the lock nobody makes them any more; fails where the role may not
 * write what ends an attempt (42501).
 */
export const interruptEarlier = (markers: string, attempts: string, { operationId }: NewAttempt): string =>
  `WITH marked AS (INSERT INTO ${markers} (id, operation_type, duration_ms, applied_by, notes) SELECT '', '', 0, '', '' WHERE false)
    UPDATE ${attempts} SET outcome = 'interrupted', ended_at = ended_at, duration_ms = duration_ms, error = error
    WHERE operation_id = ${literal(operationId)} AND outcome = 'running'`

const absent = "NULL"

const constant = (value: Option.Option<string | number>): string =>
  Option.match(value, {
    onNone: () => absent,
    onSome: (some) => (typeof some === "string" ? literal(some) : `${some}`)
  })

const instant = (at: Option.Option<DateTime.Utc>): string => constant(Option.map(at, DateTime.formatIso))

const errorOf = ({ error }: NewAttempt): string => constant(Option.map(error, (given) => JSON.stringify(given)))
