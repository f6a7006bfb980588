/**
 * An event: what happened to one aggregate, at one version of its stream.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import type { RecordedTime } from "../operation/RecordedTime.js"

/** The acting user of operations. */
export const systemUserId = "00000000-0000-0000-0000-000000000000"

/** The tenant that operations act on unless a write names another. */
export const systemTenantId = "00000000-0000-4000-8000-000000000000"

/** The metadata of an event: the user who caused it, and what it belongs to. */
export const EventMetadata = Schema.Struct({
  userId: Schema.String,
  requestId: Schema.optional(Schema.String),
  correlationId: Schema.optional(Schema.String),
  causationId: Schema.optional(Schema.String),
  idempotencyKey: Schema.optional(Schema.String),
  headers: Schema.optional(
    Schema.Record({ key: Schema.String, value: Schema.Union(Schema.String, Schema.Number, Schema.Boolean) })
  )
})
export type EventMetadata = typeof EventMetadata.Type

/** A JSON object. */
export const Payload = Schema.Record({ key: Schema.String, value: Schema.Unknown })
export type Payload = typeof Payload.Type

/** The stream of one aggregate, in one tenant. */
export interface StreamId {
  readonly tenantId: string
  readonly aggregateId: string
}

/** An event to be appended. Its version is the one that the stream will have with it: 1 for the first event of a new stream. */
export interface NewEvent extends StreamId {
  readonly aggregateType: string
  readonly version: number
  readonly type: string
  /** The version of the payload's shape; 1 unless the type has changed. */
  readonly eventVersion: number
  readonly payload: Payload
  readonly metadata: EventMetadata
}

/** An event as it is stored. Ids are given before commit: their order is not the order of commits. */
export interface Event extends NewEvent {
  readonly id: bigint
  readonly createdAt: RecordedTime
  readonly createdBy: string
  /** Why payload or metadata cannot be read, where another program stored something else than JSON objects: they are empty then. */
  readonly unreadable?: string | undefined
}

/** The source of new UUIDs; a test provides its own. */
export class NewId extends Context.Reference<NewId>()("effect-es-ops/NewId", {
  defaultValue: (): Effect.Effect<string> => Effect.sync(randomUUID)
}) {}
