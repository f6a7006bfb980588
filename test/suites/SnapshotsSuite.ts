/**
 * What every store of snapshots does, for loads and for rebuilds.
 */
import { assert, layer } from "@effect/vitest"
import { Array, Effect, Option } from "effect"
import type { Layer } from "effect"
import { EventStore, SnapshotRows, Snapshots } from "effect-es-ops"
import type { EsOps, Event } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const appended = (stream: Event.StreamId, from: number, to: number, aggregateType: string) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    store.append(
      Array.map(Array.range(from, to), (version) => ({
        ...stream,
        aggregateType,
        version,
        type: "counted",
        eventVersion: 1,
        payload: { n: version },
        metadata: { userId: "u" }
      }))
    )
  )

const fresh = () => ({ tenantId: randomUUID(), aggregateId: randomUUID() })

/** Each test has an aggregate type of its own. */
const freshType = () => ({ aggregateType: `type-${randomUUID()}`, snapshotVersion: 2 })

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`Snapshots: ${name}`, (it) => {
    it.effect("load all events where no snapshot is stored, and those behind the newest one", () =>
      Effect.gen(function* () {
        const snapshots = yield* Snapshots.Snapshots
        const [stream, type] = [fresh(), freshType()]
        const key = { ...stream, ...type }
        const events = yield* appended(stream, 1, 5, type.aggregateType)
        const whole = yield* snapshots.load(key)
        assert.isTrue(Option.isNone(whole.snapshot))
        assert.deepStrictEqual(
          whole.events.map(({ version }) => version),
          [1, 2, 3, 4, 5]
        )
        for (const at of [1, 3]) {
          const eventId = events[at - 1]?.id ?? 0n
          yield* snapshots.save({ ...key, version: at, eventId, state: { at, text: "ä '\\" } })
        }
        const tail = yield* snapshots.load(key)
        assert.deepStrictEqual(tail.snapshot, Option.some({ version: 3, state: { at: 3, text: "ä '\\" } }))
        assert.deepStrictEqual(
          tail.events.map(({ version }) => version),
          [4, 5]
        )
        const ofOther = yield* snapshots.load({ ...key, snapshotVersion: 3 })
        assert.isTrue(Option.isNone(ofOther.snapshot))
      })
    )

    it.effect("are not stored for an event that is not there, and an older one does not replace a newer one", () =>
      Effect.gen(function* () {
        const snapshots = yield* Snapshots.Snapshots
        const [stream, type] = [fresh(), freshType()]
        const key = { ...stream, ...type }
        const [first, second] = yield* appended(stream, 1, 2, type.aggregateType)
        yield* snapshots.save({ ...key, version: 3, eventId: 999_999_999n, state: 3 })
        yield* snapshots.save({ ...key, version: 2, eventId: first.id, state: 2 })
        assert.isTrue(Option.isNone((yield* snapshots.load(key)).snapshot))
        yield* snapshots.save({ ...key, version: 2, eventId: second?.id ?? 0n, state: "two" })
        yield* snapshots.save({ ...key, version: 1, eventId: first.id, state: "one" })
        assert.deepStrictEqual((yield* snapshots.load(key)).snapshot, Option.some({ version: 2, state: "two" }))
      })
    )

    it.effect("are compared with what was folded, and mended", () =>
      Effect.gen(function* () {
        const rows = yield* SnapshotRows.SnapshotRows
        const snapshots = yield* Snapshots.Snapshots
        const [type, a, b, c] = [freshType(), fresh(), fresh(), fresh()]
        const folded = (stream: Event.StreamId, { id, version }: Event.Event, state: unknown) => ({
          ...stream,
          version,
          eventId: id,
          isHead: true,
          state
        })
        const [ofA] = yield* appended(a, 1, 1, type.aggregateType)
        const [ofB, lastOfB] = yield* appended(b, 1, 2, type.aggregateType)
        const [ofC] = yield* appended(c, 1, 1, type.aggregateType)
        yield* snapshots.save({ ...b, ...type, version: 1, eventId: ofB.id, state: { n: 1 } })
        yield* snapshots.save({ ...c, ...type, version: 1, eventId: ofC.id, state: { n: 7 } })
        const all = [folded(a, ofA, { n: 1 }), folded(b, lastOfB ?? ofB, { n: 2 }), folded(c, ofC, { n: 1 })] as const
        const kinds = ["missing", "behind", "different"]
        assert.deepStrictEqual(
          (yield* rows.compare(type, all)).map(([, kind]) => kind),
          kinds
        )
        assert.deepStrictEqual(
          (yield* rows.mend(type, all)).map(([, kind]) => kind),
          kinds
        )
        assert.deepStrictEqual(yield* rows.compare(type, all), [])
        assert.deepStrictEqual(
          (yield* snapshots.load({ ...c, ...type })).snapshot,
          Option.some({ version: 1, state: { n: 1 } })
        )
        const [older] = yield* rows.compare(type, [folded(b, ofB, { n: 1 })])
        assert.isUndefined(older, "a newer snapshot of a live writer's is right")
        assert.sameDeepMembers(
          [...(yield* rows.versions(type, [a, b]))],
          [
            { ...a, version: 1 },
            { ...b, version: 1 },
            { ...b, version: 2 }
          ]
        )
      })
    )

    it.effect("of older versions are strays, which are counted and deleted; those of newer versions stay", () =>
      Effect.gen(function* () {
        const rows = yield* SnapshotRows.SnapshotRows
        const snapshots = yield* Snapshots.Snapshots
        const [type, stream] = [freshType(), fresh()]
        const [first] = yield* appended(stream, 1, 1, type.aggregateType)
        for (const snapshotVersion of [1, 2, 3]) {
          yield* snapshots.save({ ...stream, ...type, snapshotVersion, version: 1, eventId: first.id, state: 1 })
        }
        const stray = { ...stream, kind: "outdated", snapshotVersion: 1, version: 1 } as const
        const found = yield* rows.strays(type, 10)
        assert.deepStrictEqual(found.counts, { outdated: 1, beyond: 0, orphaned: 0 })
        assert.deepStrictEqual(found.first, [stray])
        assert.deepStrictEqual(yield* rows.removeStrays(type, 10), [stray])
        assert.deepStrictEqual(yield* rows.removeStrays(type, 10), [])
        assert.isTrue(Option.isSome((yield* snapshots.load({ ...stream, ...type, snapshotVersion: 3 })).snapshot))
      })
    )
  })
