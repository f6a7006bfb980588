/**
 * Statements that write markers and attempts, with their values in them: what is sent together with other statements takes no parameters.
 */
import * as DateTime from "effect/DateTime"
import type { SqlError } from "@effect/sql/SqlError"
import * as Option from "effect/Option"
import type { NewAttempt } from "../../operation/Attempt.js"
import type { NewMarker } from "../../operation/Operation.js"
import type { RecordedTime } from "../../operation/RecordedTime.js"
import type { StepRecord } from "../../operation/Transactor.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { databaseError, notStored, ruleInTheWay, sqlState } from "../client/PgError.js"
import type { Constants } from "../client/SqlText.js"
import { constants, literal } from "../client/SqlText.js"
import * as UniqueViolation from "../client/UniqueViolation.js"

/**
 * The marker, of which the server says when, and the end of its attempt, or neither: fails where one of them is not stored as it is sent. What is
 * deferred may take the marker away too.
 */
export const markedUpdate = (table: string, marker: NewMarker, update: string, { outcome }: NewAttempt): string => {
  const marked = constants(markerRow(marker))
  const insert = `${markerOf(table, marked)} RETURNING ${marked.columns.join(", ")}`
  return `SET CONSTRAINTS ALL IMMEDIATE; WITH marked AS (${insert}), ended AS (${update} RETURNING outcome)
    SELECT 1 / count(*)::integer AS kept, ${attemptFailing(endedAs(outcome))} AS ended FROM marked WHERE ${same(marked)};
    SELECT ${markerKept(table, marked)}`
}

/** The end of an attempt that has no marker: fails where it is not stored as it is sent. */
export const endedUpdate = (update: string, { outcome }: NewAttempt): string =>
  `WITH ended AS (${update} RETURNING outcome) SELECT ${attemptFailing(endedAs(outcome))} AS ended`

const endedAs = (outcome: string): string => `(SELECT count(*) FROM ended WHERE outcome = ${literal(outcome)})`

/**
 * The marker, and the attempt where there is a table of attempts. What became of the marker is looked at by a statement of its own, when the
 * triggers of both are through.
 */
export const recordInserts = (
  tables: { readonly markers: string; readonly attempts: string | undefined },
  { attempt, marker }: StepRecord
): ReadonlyArray<string> => {
  const rows = [markerRow(marker), rowOf(attempt)] as const
  const [marked, attempted] = [constants(rows[0]), constants(rows[1])]
  return [
    markerOf(tables.markers, marked),
    ...(tables.attempts === undefined ? [] : [stored(numbered(tables.attempts, attempted), identifying(attempted))]),
    `SELECT ${markerKept(tables.markers, marked)}`
  ]
}

/** Fails a step whose marker was not stored as it was sent: division_by_zero. */
const markerNotStored = "22012"

/** Fails a step whose attempt was not: invalid_argument_for_logarithm. */
const attemptNotStored = "2201E"

/** The failure of a record that was not stored as it was sent, if this is one. A rule is refused behind WITH and RETURNING, which does not say whose. */
export const notStoredBy = (
  { attempts, markers }: { readonly markers: string; readonly attempts: string },
  error: SqlError,
  action = "writing the marker"
): DatabaseError | undefined => {
  const violation = Option.filter(
    UniqueViolation.of(error),
    ({ isNested, key, table }) => !isNested && (key.has("id") || key.has("")) && attempts.endsWith(`"${table}"`)
  )
  if (Option.isSome(violation)) return databaseError(action)(error).adding(sequenceBehind(attempts))
  const states: Readonly<Record<string, string>> = {
    [markerNotStored]: markers,
    [attemptNotStored]: attempts,
    [ruleInTheWay]: `${markers} or ${attempts}`
  }
  const table = Option.flatMapNullable(sqlState(error), (state) => states[state])
  return Option.getOrUndefined(Option.map(table, (found) => notStored(action, found, error)))
}

const sequenceBehind = (attempts: string): string =>
  `the sequence that numbers the attempts is behind the table, as after a restore; set it: SELECT setval(pg_get_serial_sequence(${literal(attempts)}, 'id'), (SELECT max(id) FROM ${attempts}))`

const attemptFailing = (kept: string): string => `ln(${kept}::numeric)`

/** Behind the INSERT, in the same message as the COMMIT, an attempt that a trigger swallowed or changed must be an error of the server's. */
const stored = (insert: string, sent: Constants): string =>
  `WITH stored AS (${insert} RETURNING ${sent.columns.join(", ")})
    SELECT ${attemptFailing("count(*)")} AS kept FROM stored WHERE ${same(sent)}`

/**
 * The column that fails where the marker is not there as it was sent, behind what is inserted and what that triggers. Its id, the first, is compared so
 * that the index serves.
 */
const markerKept = (table: string, marked: Constants): string =>
  `(SELECT 1 / count(*)::integer FROM ${table} WHERE ${marked.columns[0]} = ${marked.values[0]} AND ${same(marked)}) AS marked`

const same = ({ columns, values }: Constants): string =>
  columns.map((column, at) => `${column} IS NOT DISTINCT FROM ${values[at]}`).join(" AND ")

/** The columns of an attempt that are stored as they are sent, however the server writes times and JSON. */
const identifying = ({ columns, values }: Constants): Constants => {
  const kept = columns.flatMap((column, at) => (asSent.has(column) ? [at] : []))
  const at = (of: ReadonlyArray<string>) => kept.map((n) => of[n] ?? "NULL")
  return { columns: at(columns), values: at(values) }
}

const asSent = new Set(["operation_id", "operation_type", "outcome", "applied_by", "host", "pid"])

/** The statement that answers with a row where this very record is there: by the attempt, or by the marker where there is no table of attempts. */
export const recordSelect = (
  tables: { readonly markers: string; readonly attempts: string | undefined },
  { attempt, marker }: StepRecord
): string => {
  const { host, operation_id, outcome, pid, started_at } = rowOf(attempt)
  const { columns, values } = constants(
    tables.attempts === undefined
      ? { id: marker.id, duration_ms: marker.durationMs, applied_by: marker.appliedBy }
      : { operation_id, outcome, host, pid, started_at }
  )
  const same = columns.map((column, at) => `${column} = ${values[at]}`).join(" AND ")
  return `SELECT 1 AS found FROM ${tables.attempts ?? tables.markers} WHERE ${same}`
}

/** The attempt, numbered after the newest that the operation has. */
export const attemptInsert = (table: string, attempt: NewAttempt): string => {
  const row = constants(rowOf(attempt))
  return stored(numbered(table, row), identifying(row))
}

/** The same, which answers with the id of the row that is stored. */
export const attemptBegin = (table: string, attempt: NewAttempt): string => {
  const row = constants(rowOf(attempt))
  const kept = identifying(row)
  const insert = `${numbered(table, row)} RETURNING id::text AS new_id, ${kept.columns.join(", ")}`
  return `WITH stored AS (${insert}) SELECT new_id AS id FROM stored WHERE ${same(kept)}`
}

/** The same, unless the newest has the same outcome. */
export const attemptInsertOnce = (table: string, attempt: NewAttempt): string => {
  const { columns, values } = constants(rowOf(attempt))
  return `INSERT INTO ${table} (${columns.join(", ")}, attempt) SELECT ${values.join(", ")}, ${nextNumber(table, values)}
    WHERE ${newest(table, values, "outcome")} IS DISTINCT FROM ${literal(attempt.outcome)}`
}

/** What its end adds to an attempt that was begun. */
export const attemptUpdate = (table: string, id: number, attempt: NewAttempt): string => {
  const { duration_ms, ended_at, error, outcome } = rowOf(attempt)
  const { columns, values } = constants({ outcome, ended_at, duration_ms, error })
  return `UPDATE ${table} SET ${columns.map((column, at) => `${column} = ${values[at]}`).join(", ")} WHERE id = ${id}`
}

/**
 * Says of attempts that never ended that they were interrupted, as under the lock nobody makes them any more; fails where the role may not
 * write what ends an attempt (42501).
 */
export const interruptEarlier = (markers: string, attempts: string, { operationId }: NewAttempt): string =>
  `WITH marked AS (INSERT INTO ${markers} (id, operation_type, duration_ms, applied_by, notes) SELECT '', '', 0, '', '' WHERE false)
    UPDATE ${attempts} SET outcome = 'interrupted', ended_at = ended_at, duration_ms = duration_ms, error = error
    WHERE operation_id = ${literal(operationId)} AND outcome = 'running'`

/** A marker of this operation, to be undone: its key is taken where there is one (23505), and it has to be seen. */
export const markerTried = (table: string, { operationId, operationType }: NewAttempt): string => {
  const tried = { id: operationId, operation_type: operationType, duration_ms: 0, applied_by: "cli", notes: "" }
  const marked = constants(tried)
  return `${markerOf(table, marked)}; SELECT ${markerKept(table, marked)}`
}

const markerRow = (marker: NewMarker) => ({
  id: marker.id,
  operation_type: marker.operationType,
  duration_ms: marker.durationMs,
  applied_by: marker.appliedBy,
  notes: Option.getOrNull(marker.notes)
})

/** The columns of an attempt; the first of them is the operation's id. */
const rowOf = (attempt: NewAttempt) => ({
  operation_id: attempt.operationId,
  operation_type: attempt.operationType,
  outcome: attempt.outcome,
  started_at: instant(attempt.startedAt),
  ended_at: Option.getOrNull(Option.map(attempt.endedAt, instant)),
  duration_ms: Option.getOrNull(attempt.durationMs),
  waited_ms: Option.getOrNull(attempt.waitedMs),
  applied_by: attempt.appliedBy,
  host: attempt.host,
  pid: attempt.pid,
  version: Option.getOrNull(attempt.version),
  source_hash: Option.getOrNull(attempt.sourceHash),
  reason: Option.getOrNull(attempt.reason),
  error: Option.getOrNull(Option.map(attempt.error, (error) => JSON.stringify(error)))
})

const markerOf = (table: string, { columns, values }: Constants): string =>
  `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${values.join(", ")})`

const numbered = (table: string, { columns, values }: Constants): string =>
  `INSERT INTO ${table} (${columns.join(", ")}, attempt) VALUES (${values.join(", ")}, ${nextNumber(table, values)})`

const instant = (at: RecordedTime): string => (typeof at === "string" ? at : DateTime.formatIso(at))

const nextNumber = (table: string, values: ReadonlyArray<string>): string =>
  `coalesce(${newest(table, values, "attempt")}, 0) + 1`

/** A column of the newest attempt at the operation whose id is the first of these. */
const newest = (table: string, [operationId]: ReadonlyArray<string>, column: string): string =>
  `(SELECT ${column} FROM ${table} WHERE operation_id = ${operationId} ORDER BY id DESC LIMIT 1)`
