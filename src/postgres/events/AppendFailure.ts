/**
 * Why the server did not append events: the rows that were in the way, a rule of the table, or a failure of its own.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Option from "effect/Option"
import type { NewEvent } from "../../event/Event.js"
import type { AppendError } from "../../event/EventStore.js"
import { IdempotencyConflict, VersionConflict } from "../../event/EventStore.js"
import { databaseError, refusedRow } from "../client/PgError.js"
import * as UniqueViolation from "../client/UniqueViolation.js"

/** A writer that committed between our check and our insert shows as unique_violation; the columns of its index tell of what. */
export const appendError = (events: NonEmptyReadonlyArray<NewEvent>, error: SqlError): AppendError => {
  const refused = refusedRow(error, "appending events", "kumiko_events")
  if (refused !== undefined) return refused
  const failure = databaseError("appending events")(error)
  const violation = Option.filter(UniqueViolation.of(error), ({ isNested }) => !isNested)
  if (Option.isNone(violation)) return failure
  const { columns, constraint, key } = violation.value
  const [first] = events
  if (isStreamIndex(violation.value)) {
    const id = key.get("aggregate_id")?.toLowerCase()
    const { aggregateId, tenantId, version } =
      events.find((event) => event.aggregateId.toLowerCase() === id && key.get("version") === `${event.version}`) ??
      first
    return new VersionConflict({ tenantId, aggregateId, expected: version - 1, actual: Option.none() })
  }
  if (columns === "" ? constraint === "events_idempotency_uq" : columns.includes("'idempotencyKey'")) {
    const { metadata, tenantId } = events.find((event) => event.metadata.idempotencyKey !== undefined) ?? first
    return new IdempotencyConflict({ tenantId, idempotencyKey: metadata.idempotencyKey ?? "" })
  }
  const isNumber = columns === "" ? constraint === "kumiko_events_pkey" : key.has("id")
  return failure.adding(
    isNumber ? sequenceBehind : failure.reason.includes(constraint) ? "" : `unique constraint "${constraint}"`
  )
}

/** Whether an index makes the versions of a stream unique, whatever its name: a partition's has another, and may have a column more. */
const isStreamIndex = ({ columns, constraint, key }: UniqueViolation.UniqueViolation): boolean =>
  columns === ""
    ? constraint === "events_aggregate_version_uq"
    : ["tenant_id", "aggregate_id", "version"].every((column) => key.has(column))

const sequenceBehind = `the sequence that numbers the events is behind the table, as after a restore; set it: SELECT setval(pg_get_serial_sequence('kumiko_events', 'id'), (SELECT max(id) FROM kumiko_events))`
