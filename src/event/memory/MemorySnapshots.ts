/**
 * `Snapshots` of a `MemoryDatabase`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { streamKey } from "../AppendRules.js"
import type { Event } from "../Event.js"
import { EventStore } from "../EventStore.js"
import type { Snapshot, SnapshotKey } from "../Snapshots.js"
import { Snapshots } from "../Snapshots.js"

/** The snapshots as they stand in a `MemoryDatabase`. */
export class MemorySnapshots extends Context.Tag("effect-es-ops/MemorySnapshots")<
  MemorySnapshots,
  ReadonlyArray<Snapshot>
>() {
  static readonly empty: MemorySnapshots["Type"] = []
}

/** Whether two snapshots are of one stream, aggregate type and snapshot version. */
export const isOfKey = (key: SnapshotKey, other: SnapshotKey): boolean =>
  streamKey(key) === streamKey(other) &&
  key.aggregateType === other.aggregateType &&
  key.snapshotVersion === other.snapshotVersion

/** The snapshots of a `MemoryDatabase`. */
export const layer: Layer.Layer<Snapshots, never, MemoryDatabase.MemoryDatabase | EventStore> = Layer.effect(
  Snapshots,
  Effect.gen(function* () {
    const store = yield* EventStore
    const database = yield* MemoryDatabase.MemoryDatabase
    const snapshots = MemoryDatabase.view(database, MemorySnapshots, MemorySnapshots.empty)
    const isOf = ({ eventId, version }: Snapshot, events: ReadonlyArray<Event>) =>
      events.some((event) => event.version === version && event.id === eventId)
    return Snapshots.of({
      load: (key) =>
        Effect.gen(function* () {
          const events = yield* store.load(key)
          const [newest] = (yield* snapshots.get)
            .filter((snapshot) => isOfKey(key, snapshot) && isOf(snapshot, events))
            .toSorted((a, b) => b.version - a.version)
          return {
            snapshot: Option.map(Option.fromNullable(newest), ({ state, version }) => ({
              version,
              state: structuredClone(state)
            })),
            events: events.filter(({ version }) => version > (newest?.version ?? 0))
          }
        }),
      save: (snapshot) =>
        Effect.flatMap(store.load(snapshot), (events) =>
          isOf(snapshot, events)
            ? snapshots.update((all) => [
                ...all.filter((other) => !isOfKey(snapshot, other) || other.version > snapshot.version),
                { ...snapshot, state: structuredClone(snapshot.state) }
              ])
            : Effect.void
        )
    })
  })
)
