/**
 * Rows of the events table as the feed reads them, by the million: checked by hand, as a Schema takes longer for a row than the driver does.
 */
import * as DateTime from "effect/DateTime"
import * as Predicate from "effect/Predicate"
import type { Event, EventMetadata, Payload } from "../../event/Event.js"
import { describe } from "../../operation/ErrorDescription.js"
import type { RecordedTime } from "../../operation/RecordedTime.js"
import * as PgTime from "../client/PgTime.js"

/** The columns of a row: texts, as drivers differ in what they make of numbers, times and jsonb. */
export const columns = `e.id::text, e.tenant_id::text, e.aggregate_id::text, e.aggregate_type, e.version::text, e.type, e.event_version::text,
  e.payload::text, e.metadata::text, ${PgTime.select("created_at")}, e.created_by`

/** The event that a row is. Throws where the table has other columns than it should. */
export const toEvent = (row: unknown): Event => {
  if (!isRow(row)) throw new TypeError("the events table has other columns than expected")
  const read = jsonOf(row.payload, row.metadata)
  const event = {
    tenantId: row.tenant_id,
    aggregateId: row.aggregate_id,
    aggregateType: row.aggregate_type,
    version: Number(row.version),
    type: row.type,
    eventVersion: Number(row.event_version),
    payload: read.payload,
    metadata: read.metadata,
    id: BigInt(row.id),
    createdAt: timeOf(row.created_at),
    createdBy: row.created_by
  }
  return read.unreadable === undefined ? event : { ...event, unreadable: read.unreadable }
}

interface Row {
  readonly id: string
  readonly tenant_id: string
  readonly aggregate_id: string
  readonly aggregate_type: string
  readonly version: string
  readonly type: string
  readonly event_version: string
  readonly payload: string
  readonly metadata: string
  readonly created_at: string
  readonly created_by: string
}

const names: ReadonlyArray<keyof Row> = [
  "id",
  "tenant_id",
  "aggregate_id",
  "aggregate_type",
  "version",
  "type",
  "event_version",
  "payload",
  "metadata",
  "created_at",
  "created_by"
]

const isRow = (row: unknown): row is Row => {
  if (!Predicate.isRecord(row)) return false
  for (const name of names) if (typeof row[name] !== "string") return false
  return true
}

interface Json {
  readonly payload: Payload
  readonly metadata: EventMetadata
  readonly unreadable: string | undefined
}

const jsonOf = (payloadText: string, metadataText: string): Json => {
  try {
    const payload = parsed(payloadText)
    const metadata = parsed(metadataText)
    if (!Predicate.isRecord(payload)) return nothing("its payload is no JSON object")
    if (!isMetadata(metadata)) return nothing("its metadata is not that of an event")
    return { payload, metadata, unreadable: undefined }
  } catch (error) {
    return nothing(`it is no JSON: ${describe(error).message}`)
  }
}

const nothing = (unreadable: string): Json => ({ payload: {}, metadata: { userId: "" }, unreadable })

/** Old rows hold a jsonb string that contains JSON. */
const parsed = (text: string): unknown => {
  const value: unknown = JSON.parse(text)
  return typeof value === "string" ? JSON.parse(value) : value
}

const optionalTexts = ["requestId", "correlationId", "causationId", "idempotencyKey"]

const isMetadata = (value: unknown): value is EventMetadata =>
  Predicate.isRecord(value) &&
  typeof value["userId"] === "string" &&
  optionalTexts.every((name) => value[name] === undefined || typeof value[name] === "string") &&
  (value["headers"] === undefined ||
    (Predicate.isRecord(value["headers"]) && Object.values(value["headers"]).every(isScalar)))

const isScalar = (value: unknown): boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"

/** Milliseconds, or the server's text where there is no `Date` for the time. */
const timeOf = (text: string): RecordedTime => {
  const ms = Number(text)
  return Number.isNaN(ms) ? text : DateTime.unsafeMake(ms)
}
