/**
 * Events as they stand in a `MemoryDatabase`: what its event store writes and its directory reads.
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Option from "effect/Option"
import type { Event } from "../Event.js"

/** The mark of an archived stream. */
export interface ArchiveMark {
  readonly aggregateType: string
  readonly archivedAt: DateTime.Utc
  readonly archivedBy: string
  readonly reason: Option.Option<string>
}

/** What is kept of a purged stream. */
export interface Tombstone {
  readonly runId: string
  readonly aggregateType: string
  readonly lastVersion: number
  readonly events: number
  readonly sha256: string
}

/** The events in the order of their append, the last id that was given, and the archived and purged streams by their keys. */
export class MemoryEvents extends Context.Tag("effect-es-ops/MemoryEvents")<
  MemoryEvents,
  {
    readonly events: ReadonlyArray<Event>
    readonly lastId: bigint
    readonly archived: ReadonlyMap<string, ArchiveMark>
    readonly purged: ReadonlyMap<string, Tombstone>
  }
>() {
  static readonly empty: MemoryEvents["Type"] = { events: [], lastId: 0n, archived: new Map(), purged: new Map() }
}
