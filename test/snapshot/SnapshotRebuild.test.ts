/**
 * Snapshots in memory: loads, rebuilds and verifications of any streams, whatever was stored before.
 */
import { assert, describe, it } from "@effect/vitest"
import { Array, Effect, FastCheck, Option, Schema } from "effect"
import type { Layer } from "effect"
import {
  Aggregate,
  EsOps,
  EventStore,
  EventType,
  Feature,
  RunObserver,
  SnapshotRebuild,
  SnapshotReport,
  Snapshots
} from "effect-es-ops"
import type { Event } from "effect-es-ops"

const added = EventType.make({ type: "added", payload: Schema.Struct({ n: Schema.Number }) })

const State = Schema.Struct({ sum: Schema.Number, at: Schema.DateFromString, seen: Schema.Array(Schema.Number) })

const options = {
  type: "account",
  state: State,
  initial: { sum: 0, at: new Date(0), seen: [] },
  on: [
    [
      added,
      (state: typeof State.Type, event: EventType.Of<typeof added>): typeof State.Type => ({
        sum: state.sum * 2 + event.payload.n,
        at: new Date(event.version),
        seen: [...state.seen, event.payload.n].slice(-3)
      })
    ]
  ]
} as const

const account = Aggregate.make(options)

const world = (aggregate: Aggregate.AnyAggregate): Layer.Layer<EsOps.Services, unknown> =>
  EsOps.layerMemory({ seeds: {}, features: [Feature.make({ name: "f", handlers: [], aggregates: [aggregate] })] })

const tenants = ["00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"] as const

const streamAt = (index: number): Event.StreamId => ({
  tenantId: tenants[index % 2 === 0 ? 0 : 1],
  aggregateId: `00000000-0000-4000-8000-${`${Math.floor(index / 2)}`.padStart(12, "0")}`
})

const append = (stream: Event.StreamId, numbers: ReadonlyArray<number>, from = 1, type = "added") =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    Array.match(
      numbers.map((n, at) => ({
        ...stream,
        aggregateType: "account",
        version: from + at,
        type,
        eventVersion: 1,
        payload: { n },
        metadata: { userId: "u" }
      })),
      { onEmpty: () => Effect.succeed<ReadonlyArray<Event.Event>>([]), onNonEmpty: store.append }
    )
  )

const rebuildIn = (lanes: number) =>
  SnapshotRebuild.run({ aggregate: "account", appliedBy: "cli", lanes, observer: RunObserver.silent }).pipe(
    Effect.map(({ value }) => Option.getOrThrow(value))
  )

const rebuild = rebuildIn(1)

const verify = SnapshotRebuild.verify("account")

const whole = (numbers: ReadonlyArray<number>) => numbers.reduce((sum, n) => sum * 2 + n, 0)

const save = (stream: Event.StreamId, version: number, eventId: bigint, more: Partial<Snapshots.Snapshot> = {}) =>
  Effect.flatMap(Snapshots.Snapshots, (snapshots) =>
    snapshots.save({
      ...stream,
      aggregateType: "account",
      snapshotVersion: 1,
      version,
      eventId,
      state: { sum: -1, at: new Date(0).toISOString(), seen: [] },
      ...more
    })
  )

describe("Aggregate.load", () => {
  it.effect("gives the initial state and version 0 of a stream that does not exist", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Aggregate.load(account, streamAt(0)), { state: options.initial, version: 0 })
    }).pipe(Effect.provide(world(account)))
  )

  it.effect("stores a snapshot once it has folded as many events as snapshotEvery says, and goes on from it", () => {
    const folded: Array<number> = []
    const counting = Aggregate.make({
      ...options,
      snapshotEvery: 3,
      on: [
        [
          added,
          (state: typeof State.Type, event: EventType.Of<typeof added>) => {
            folded.push(event.version)
            return options.on[0][1](state, event)
          }
        ]
      ]
    })
    return Effect.gen(function* () {
      const stream = streamAt(0)
      yield* append(stream, [1, 2])
      yield* Aggregate.load(counting, stream)
      yield* append(stream, [3], 3)
      const third = yield* Aggregate.load(counting, stream)
      yield* append(stream, [4], 4)
      folded.length = 0
      const fourth = yield* Aggregate.load(counting, stream)
      assert.deepStrictEqual(folded, [4])
      assert.deepStrictEqual([third.state.sum, third.version], [whole([1, 2, 3]), 3])
      assert.deepStrictEqual([fourth.state.sum, fourth.version], [whole([1, 2, 3, 4]), 4])
      assert.deepStrictEqual(fourth.state.at, new Date(4))
    }).pipe(Effect.provide(world(counting)))
  })

  it.effect(
    "does not use a snapshot of another version, nor one that does not fit the state, nor one of an event that is gone",
    () =>
      Effect.gen(function* () {
        const stream = streamAt(0)
        const events = yield* append(stream, [1, 2, 3])
        yield* save(stream, 3, events[2]?.id ?? 0n, { snapshotVersion: 2 })
        assert.strictEqual((yield* Aggregate.load(account, stream)).state.sum, whole([1, 2, 3]))
        yield* save(stream, 3, events[2]?.id ?? 0n, { state: { sum: "many" } })
        assert.strictEqual((yield* Aggregate.load(account, stream)).state.sum, whole([1, 2, 3]))
      }).pipe(Effect.provide(world(account)))
  )

  it.effect("leaves the state as it is at an event that the aggregate has no function for", () =>
    Effect.gen(function* () {
      const stream = streamAt(0)
      yield* append(stream, [1])
      yield* append(stream, [2], 2, "noted")
      assert.deepInclude(yield* Aggregate.load(account, stream), { version: 2 })
      assert.strictEqual((yield* rebuild).failed, 0)
    }).pipe(Effect.provide(world(account)))
  )

  it.effect("fails with the event that it cannot read", () =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      yield* store.append([
        {
          ...streamAt(0),
          aggregateType: "account",
          version: 1,
          type: "added",
          eventVersion: 1,
          payload: {},
          metadata: { userId: "u" }
        }
      ])
      assert.strictEqual((yield* Effect.flip(Aggregate.load(account, streamAt(0))))._tag, "EventUnreadable")
      const report = yield* rebuild
      assert.deepStrictEqual(
        [report.failed, report.failures.map(({ error }) => error._tag), report.missing],
        [1, ["EventUnreadable"], 0]
      )
    }).pipe(Effect.provide(world(account)))
  )
})

describe("a rebuild of snapshots", () => {
  const streams = FastCheck.array(FastCheck.array(FastCheck.integer({ min: -99, max: 99 }), { maxLength: 6 }), {
    maxLength: 6
  })
  const tampering = FastCheck.array(
    FastCheck.record({
      stream: FastCheck.nat(7),
      event: FastCheck.nat(6),
      snapshotVersion: FastCheck.integer({ min: 1, max: 3 })
    }),
    { maxLength: 8 }
  )

  it.effect.prop(
    "leaves snapshots of which each with its tail is the fold of all events, and a second one finds nothing",
    [streams, tampering, FastCheck.integer({ min: 1, max: 4 })],
    ([given, stored, lanes]) => {
      const second = Aggregate.make({ ...options, snapshotVersion: 2 })
      return Effect.gen(function* () {
        const events = yield* Effect.forEach(given, (numbers, at) => append(streamAt(at), numbers))
        for (const { event, snapshotVersion, stream } of stored) {
          const found = events[stream]?.[event]
          if (found !== undefined) yield* save(found, found.version, found.id, { snapshotVersion })
        }
        const before = yield* verify
        const report = yield* rebuildIn(lanes)
        const counts = (one: SnapshotReport.SnapshotReport) => ({ ...one, findings: [] })
        assert.deepStrictEqual(counts(report), counts(before))
        const after = yield* verify
        assert.isTrue(SnapshotReport.isClean(after))
        assert.strictEqual(SnapshotReport.written(after), 0)
        for (const [at, numbers] of given.entries()) {
          const { state, version } = yield* Aggregate.load(second, streamAt(at))
          assert.deepStrictEqual([state.sum, version], [whole(numbers), numbers.length])
          assert.deepStrictEqual(state.seen, numbers.slice(-3))
        }
      }).pipe(Effect.provide(world(second)))
    },
    { fastCheck: { numRuns: 15 } }
  )

  it.effect("looks again at a stream whose snapshot was wrong: a writer that had loaded it may store another one", () =>
    Effect.gen(function* () {
      const stream = streamAt(0)
      const [first] = yield* append(stream, [5])
      yield* save(stream, 1, first?.id ?? 0n)
      const services = yield* Effect.context<EsOps.Services>()
      let hasStored = false
      const storing = Effect.gen(function* () {
        hasStored = true
        const [second] = yield* append(stream, [6], 2)
        yield* save(stream, 2, second?.id ?? 0n)
      }).pipe(Effect.orDie, Effect.provide(services))
      const { value } = yield* SnapshotRebuild.run({
        aggregate: "account",
        appliedBy: "cli",
        observer: {
          ...RunObserver.silent,
          progress: ({ done }) => Effect.when(storing, () => done > 0 && !hasStored)
        }
      })
      assert.deepInclude(Option.getOrThrow(value), { different: 2, missing: 0 })
      assert.isTrue(SnapshotReport.isClean(yield* verify))
      assert.strictEqual((yield* Aggregate.load(account, stream)).state.sum, whole([5, 6]))
    }).pipe(Effect.provide(world(account)))
  )

  it.effect("tells of a snapshot that another text of its functions made", () =>
    Effect.gen(function* () {
      const [event] = yield* append(streamAt(0), [5])
      yield* save(streamAt(0), 1, event?.id ?? 0n)
      const report = yield* verify
      assert.deepStrictEqual(
        SnapshotReport.differences(report).map(({ _tag, version }) => [_tag, version]),
        [["SnapshotDiffers", 1]]
      )
      assert.isFalse(SnapshotReport.isClean(report))
    }).pipe(Effect.provide(world(account)))
  )

  it.effect("of a type that no feature has is refused with those that there are", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(SnapshotRebuild.verify("acount"))
      assert.strictEqual(error.message, 'no aggregate of type "acount" is known; there are: account')
    }).pipe(Effect.provide(world(account)))
  )
})
