/**
 * `SnapshotRows` of a `MemoryDatabase`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { streamKey } from "../../event/AppendRules.js"
import { MemoryEvents } from "../../event/memory/MemoryEvents.js"
import { isOfKey, MemorySnapshots } from "../../event/memory/MemorySnapshots.js"
import type { Snapshot } from "../../event/Snapshots.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { isSameJson } from "../../operation/Run.js"
import type { Folded, MendedKind, SnapshotType, StrayKind } from "../SnapshotRows.js"
import { SnapshotRows } from "../SnapshotRows.js"

/** The stored snapshots of a `MemoryDatabase`. */
export const layer: Layer.Layer<SnapshotRows, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  SnapshotRows,
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const snapshots = MemoryDatabase.view(database, MemorySnapshots, MemorySnapshots.empty)
    const store = MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty)

    const differing = (type: SnapshotType, folded: ReadonlyArray<Folded>) =>
      Effect.zipWith(snapshots.get, store.get, (all, { events }) =>
        folded.flatMap((one) => {
          const isThere = (snapshot: Snapshot) =>
            events.some((event) => streamKey(event) === streamKey(snapshot) && event.id === snapshot.eventId)
          const own = all.filter((snapshot) => isOfKey({ ...one, ...type }, snapshot))
          const kind = kindOf(one, own, isThere)
          return kind === undefined ? [] : [[one, kind] as const]
        })
      )

    const strays = ({ aggregateType, snapshotVersion }: SnapshotType) =>
      Effect.zipWith(snapshots.get, store.get, (all, { events }) =>
        all
          .filter((snapshot) => snapshot.aggregateType === aggregateType)
          .flatMap((snapshot) => {
            const own = events.filter((event) => streamKey(event) === streamKey(snapshot))
            const kind: StrayKind | undefined = own.every((event) => event.aggregateType !== aggregateType)
              ? "orphaned"
              : own.every(({ version }) => version < snapshot.version)
                ? "beyond"
                : snapshot.snapshotVersion < snapshotVersion
                  ? "outdated"
                  : undefined
            return kind === undefined ? [] : [{ snapshot, stray: { ...keyOf(snapshot), kind } }]
          })
      )

    return SnapshotRows.of({
      areStored: ({ aggregateType, snapshotVersion }) =>
        Effect.map(snapshots.get, (all) =>
          all.some((one) => one.aggregateType === aggregateType && one.snapshotVersion === snapshotVersion)
        ),
      versions: (type, streams) =>
        Effect.map(snapshots.get, (all) =>
          streams.flatMap((stream) =>
            all
              .filter((snapshot) => isOfKey({ ...stream, ...type }, snapshot))
              .map(({ aggregateId, tenantId, version }) => ({ aggregateId, tenantId, version }))
          )
        ),
      compare: (type, folded) =>
        Effect.map(differing(type, folded), (found) =>
          found.flatMap(([one, kind]) => (kind === "newer" ? [] : [[one, kind] as const]))
        ),
      mend: (type, folded) =>
        Effect.tap(differing(type, folded), (found) =>
          Effect.forEach(
            found,
            ([{ aggregateId, eventId, state, tenantId, version }, kind]) => {
              if (kind === "newer") return Effect.void
              const snapshot = { ...type, aggregateId, tenantId, eventId, version, state }
              return snapshots.update((all) => [
                ...all.filter((other) => !isOfKey(snapshot, other) || other.version !== version),
                snapshot
              ])
            },
            { discard: true }
          )
        ),
      strays: (type, limit) =>
        Effect.map(strays(type), (found) => {
          const of = (kind: StrayKind) => found.filter(({ stray }) => stray.kind === kind).map(({ stray }) => stray)
          return {
            counts: {
              orphaned: of("orphaned").length,
              beyond: of("beyond").length,
              outdated: of("outdated").length
            },
            first: [of("beyond"), of("orphaned"), of("outdated")].flatMap((some) => some.slice(0, limit))
          }
        }),
      removeStrays: (type, limit) =>
        Effect.flatMap(strays(type), (all) => {
          const found = all.slice(0, limit)
          const gone = new Set(found.map(({ snapshot }) => snapshot))
          return Effect.as(
            snapshots.update((stored) => stored.filter((snapshot) => !gone.has(snapshot))),
            found.map(({ stray }) => stray)
          )
        })
    })
  })
)

const keyOf = ({ aggregateId, snapshotVersion, tenantId, version }: Snapshot) => ({
  aggregateId,
  tenantId,
  snapshotVersion,
  version
})

const kindOf = (
  folded: Folded,
  own: ReadonlyArray<Snapshot>,
  isThere: (snapshot: Snapshot) => boolean
): MendedKind | undefined => {
  const same = own.find(({ version }) => version === folded.version)
  if (same !== undefined) {
    return same.eventId === folded.eventId && isSameJson(same.state, folded.state) ? undefined : "different"
  }
  if (!folded.isHead) return undefined
  if (own.some((other) => other.version > folded.version && isThere(other))) return "newer"
  return own.some(({ version }) => version < folded.version) ? "behind" : "missing"
}
