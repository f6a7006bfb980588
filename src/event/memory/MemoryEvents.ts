/**
 * Events as they stand in a `MemoryDatabase`: what its event store writes and its directory reads.
 */
import * as Context from "effect/Context"
import type { Event } from "../Event.js"

/** The events in the order of their append, and the archived streams by their keys. */
export class MemoryEvents extends Context.Tag("effect-es-ops/MemoryEvents")<
  MemoryEvents,
  { readonly events: ReadonlyArray<Event>; readonly archived: ReadonlySet<string> }
>() {
  static readonly empty: MemoryEvents["Type"] = { events: [], archived: new Set() }
}
