/**
 * Archive marks in memory, on the events of a `MemoryDatabase`.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { streamKey } from "../../event/AppendRules.js"
import type { StreamId } from "../../event/Event.js"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import type { StreamState } from "../ArchiveMarks.js"
import { ArchiveMarks } from "../ArchiveMarks.js"

/** The marks of a `MemoryDatabase`. */
export const layer: Layer.Layer<ArchiveMarks, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  ArchiveMarks,
  Effect.gen(function* () {
    const store = MemoryDatabase.view(yield* MemoryDatabase.MemoryDatabase, MemoryEvents, MemoryEvents.empty)
    return ArchiveMarks.of({
      look: (streams) => Effect.map(store.get, (state) => streams.map((stream) => stateOf(state, stream))),
      set: Effect.fn("ArchiveMarks.set")(function* (marks) {
        const state = yield* store.get
        const archivedAt = DateTime.unsafeMake(yield* Clock.currentTimeMillis)
        const [purged, rest] = Arr.partition(marks, (mark) => !state.purged.has(streamKey(mark)))
        const fresh = rest.filter((mark) => !state.archived.has(streamKey(mark)))
        yield* store.update((current) => ({
          ...current,
          archived: new Map([
            ...current.archived,
            ...fresh.map((mark): [string, typeof mark & { readonly archivedAt: DateTime.Utc }] => [
              streamKey(mark),
              { ...mark, archivedAt }
            ])
          ])
        }))
        return { changed: fresh.map(idOf), purged: purged.map(idOf) }
      }),
      remove: Effect.fn("ArchiveMarks.remove")(function* (streams) {
        const state = yield* store.get
        const [purged, rest] = Arr.partition(streams, (stream) => !state.purged.has(streamKey(stream)))
        const marked = rest.filter((stream) => state.archived.has(streamKey(stream)))
        const gone = new Set(marked.map(streamKey))
        yield* store.update((current) => ({
          ...current,
          archived: new Map([...current.archived].filter(([key]) => !gone.has(key)))
        }))
        return { changed: marked.map(idOf), purged: purged.map(idOf) }
      })
    })
  })
)

const idOf = ({ aggregateId, tenantId }: StreamId): StreamId => ({ tenantId, aggregateId })

const stateOf = (state: MemoryEvents["Type"], stream: StreamId): StreamState => {
  const key = streamKey(stream)
  const events = state.events.filter((event) => streamKey(event) === key)
  const mark = Option.fromNullable(state.archived.get(key))
  return {
    ...idOf(stream),
    aggregateType: Option.orElse(
      Option.map(Arr.head(events), ({ aggregateType }) => aggregateType),
      () => Option.map(mark, ({ aggregateType }) => aggregateType)
    ),
    events: events.length,
    types: Arr.dedupe(events.map(({ type }) => type)),
    isArchived: Option.isSome(mark),
    isPurged: state.purged.has(key)
  }
}
