/**
 * Rows of the events table as the feed reads them, by the million: checked by hand, as a Schema takes longer for a row than the driver does.
 */
import * as DateTime from "effect/DateTime"
import * as Predicate from "effect/Predicate"
import type { Event, EventMetadata, Payload } from "../../event/Event.js"
import { describe } from "../../operation/ErrorDescription.js"
import type { RecordedTime } from "../../operation/RecordedTime.js"
import * as PgTime from "../client/PgTime.js"

/**
 * The columns of a row: texts, as drivers differ in what they make of numbers, times and jsonb. What has no spaces in it is one text, since each column
 * of a row costs the driver as much as its bytes. Rows are selected as values, without names.
 */
export const columns = `concat_ws(' ', e.id, e.version, e.event_version, ${PgTime.text("e.created_at")}, e.tenant_id, e.aggregate_id),
  e.aggregate_type, e.type, e.payload::text, e.metadata::text, e.created_by`

/** The event that a row is. Throws where the table has other columns than it should. */
export const toEvent = (row: unknown): Event => {
  if (!isRow(row)) throw new TypeError("the events table has other columns than expected")
  const [facts, aggregateType, type, payload, metadata, createdBy] = row
  const [id = "", version, eventVersion, createdAt = "", tenantId = "", aggregateId, ...rest] = facts.split(" ")
  if (aggregateId === undefined || rest.length > 0) throw new TypeError("an event has no id, version, date or stream")
  const read = jsonOf(payload, metadata)
  const event = {
    tenantId,
    aggregateId,
    aggregateType,
    version: Number(version),
    type,
    eventVersion: Number(eventVersion),
    payload: read.payload,
    metadata: read.metadata,
    id: BigInt(id),
    createdAt: timeOf(createdAt),
    createdBy
  }
  return read.unreadable === undefined ? event : { ...event, unreadable: read.unreadable }
}

type Row = readonly [facts: string, aggregateType: string, type: string, payload: string, metadata: string, by: string]

const isRow = (row: unknown): row is Row => {
  if (!Array.isArray(row) || row.length !== 6) return false
  for (const value of row) if (typeof value !== "string") return false
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
