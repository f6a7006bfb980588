/**
 * An event that a rebuild left out: with the key that keeps its live row, where that is known.
 */
import type { Event } from "../event/Event.js"
import type { Key } from "../event/Table.js"

/** One event that was left out. */
export interface DeadLetter {
  readonly projection: string
  readonly table: string | undefined
  readonly key: Key | undefined
  readonly event: Pick<Event, "id" | "type" | "tenantId" | "aggregateId">
  readonly reason: string
}
