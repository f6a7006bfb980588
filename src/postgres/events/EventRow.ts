/**
 * Rows of the events table: numbers and instants as text, as drivers differ in what they make of them.
 */
import * as Schema from "effect/Schema"
import type { Event } from "../../event/Event.js"
import { EventMetadata, Payload } from "../../event/Event.js"
import * as PgTime from "../client/PgTime.js"

/** Old rows hold a jsonb string that contains JSON; both shapes read as the object. */
const json = <A, I>(schema: Schema.Schema<A, I>) => Schema.parseJson(Schema.Union(schema, Schema.parseJson(schema)))

/** An event, as it is selected. */
export const EventRow = Schema.Struct({
  id: Schema.BigInt,
  tenant_id: Schema.String,
  aggregate_id: Schema.String,
  aggregate_type: Schema.String,
  version: Schema.NumberFromString,
  type: Schema.String,
  event_version: Schema.NumberFromString,
  payload: json(Payload),
  metadata: json(EventMetadata),
  created_at: PgTime.Column,
  created_by: Schema.String
})

/** The event that a row is. */
export const toEvent = (row: typeof EventRow.Type): Event => ({
  id: row.id,
  tenantId: row.tenant_id,
  aggregateId: row.aggregate_id,
  aggregateType: row.aggregate_type,
  version: row.version,
  type: row.type,
  eventVersion: row.event_version,
  payload: row.payload,
  metadata: row.metadata,
  createdAt: row.created_at,
  createdBy: row.created_by
})
