/**
 * Replays in memory: bounds, order, side by side, failures, and that nothing is written.
 */
import { assert, describe, it } from "@effect/vitest"
import { Array, Context, Effect, Layer, Option, Ref, Schema, TestClock, Fiber } from "effect"
import {
  Deliveries,
  EsOps,
  EventReplay,
  EventStore,
  EventType,
  Feature,
  MemoryDatabase,
  RunObserver,
  Subscriber,
  WriteDispatcher
} from "effect-es-ops"
import type { ReplayBounds } from "effect-es-ops"

const sent = EventType.make({
  type: "sent",
  version: 2,
  payload: Schema.Struct({ n: Schema.Number, upcast: Schema.Boolean }),
  upcasts: [(first) => ({ ...first, upcast: true })]
})

const tenantId = "00000000-0000-4000-8000-00000000000a"

const idOf = (n: number) => `00000000-0000-4000-8000-${`${n}`.padStart(12, "0")}`

interface Given {
  readonly id: bigint
  readonly stream: string
  readonly version: number
  readonly deliveryId: string
}

/** What reached the subscriber, and what it does besides. */
class Mailbox extends Context.Tag("test/Mailbox")<
  Mailbox,
  {
    readonly given: Ref.Ref<ReadonlyArray<Given>>
    readonly handle: (n: number) => Effect.Effect<unknown, unknown, EventStore.EventStore>
  }
>() {}

const subscriber = (replay: "allowed" | "never" = "allowed") =>
  Subscriber.make({
    name: "mail",
    events: [sent],
    replay,
    handle: ({ aggregateId, id, payload, version }, { deliveryId, isReplay }) =>
      Effect.gen(function* () {
        assert.isTrue(isReplay && payload.upcast)
        const { given, handle } = yield* Mailbox
        yield* Ref.update(given, (all) => [...all, { id, stream: aggregateId, version, deliveryId }])
        yield* handle(payload.n)
      })
  })

type Handle = Context.Tag.Service<typeof Mailbox>["handle"]

const world = (handle: Handle = () => Effect.void, replay?: "allowed" | "never") =>
  EsOps.layerMemory({
    seeds: {},
    features: [Feature.make({ name: "f", handlers: [], subscribers: [subscriber(replay)] })]
  }).pipe(
    Layer.provideMerge(
      Layer.effect(
        Mailbox,
        Effect.map(Ref.make<ReadonlyArray<Given>>([]), (given) => ({ given, handle }))
      )
    )
  )

/** Streams 1, 2, … with so many events each, one of each in turn. */
const seeded = (streams: number, events: number) =>
  Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    for (const version of Array.range(1, events)) {
      for (const stream of Array.range(1, streams)) {
        yield* store.append([
          {
            tenantId,
            aggregateId: idOf(stream),
            aggregateType: "thing",
            version,
            type: stream === 9 ? "other" : "sent",
            eventVersion: 1,
            payload: { n: stream * 10 + version },
            metadata: { userId: "u" }
          }
        ])
      }
    }
  })

const replay = (bounds: ReplayBounds.ReplayBounds, more: Partial<EventReplay.ReplayOptions> = {}) =>
  EventReplay.run({ subscriber: "mail", bounds, appliedBy: "cli", observer: RunObserver.silent, ...more }).pipe(
    Effect.map(({ value }) => Option.getOrThrow(value))
  )

const given = Effect.flatMap(Mailbox, (mailbox) => Ref.get(mailbox.given))

const refused = (handle: Handle) =>
  Effect.gen(function* () {
    yield* seeded(1, 1)
    const { state } = yield* MemoryDatabase.MemoryDatabase
    const before = (yield* EventStore.EventStore.pipe(
      Effect.flatMap((store) => store.load({ tenantId, aggregateId: idOf(1) }))
    )).length
    const error = yield* Effect.flip(replay({ all: true }))
    assert.strictEqual(error._tag, "DeliveryFailed")
    if (error._tag === "DeliveryFailed") assert.propertyVal(error.cause, "_tag", "ReplayWrites")
    assert.strictEqual(
      (yield* EventStore.EventStore.pipe(Effect.flatMap((store) => store.load({ tenantId, aggregateId: idOf(1) }))))
        .length,
      before
    )
    assert.isDefined(yield* Ref.get(state))
  }).pipe(Effect.provide(world(handle)))

describe("a replay", () => {
  it.effect("gives the events within its bounds, upcast, in the order of their ids", () =>
    Effect.gen(function* () {
      yield* seeded(3, 3)
      const report = yield* replay({ fromId: 2n, toId: 7n, stream: idOf(2) })
      assert.deepInclude(report, { delivered: 2, failed: 0, skipped: 0 })
      assert.deepStrictEqual(
        (yield* given).map(({ id, version }) => [id, version]),
        [
          [2n, 1],
          [5n, 2]
        ]
      )
      assert.deepInclude(yield* EventReplay.plan({ subscriber: "mail", bounds: { all: true } }), {
        events: 9,
        toId: 9n
      })
    }).pipe(Effect.provide(world()))
  )

  it.effect.each([{ concurrency: 4 }, { lanes: 3 }, { lanes: 20, concurrency: 2 }])(
    "takes streams side by side, and each in its order: %o",
    (how) =>
      Effect.gen(function* () {
        yield* seeded(8, 5)
        const report = yield* replay({ all: true }, how)
        assert.strictEqual(report.delivered, 40)
        const all = yield* given
        assert.strictEqual(all.length, 40)
        for (const stream of Array.range(1, 8)) {
          assert.deepStrictEqual(
            all.filter((one) => one.stream === idOf(stream)).map(({ version }) => version),
            [1, 2, 3, 4, 5]
          )
        }
      }).pipe(Effect.provide(world(() => Effect.yieldNow())))
  )

  it.effect("leaves out archived streams unless they are asked for", () =>
    Effect.gen(function* () {
      yield* seeded(2, 1)
      const store = yield* EventStore.EventStore
      yield* store.archive({ tenantId, aggregateId: idOf(1), aggregateType: "thing", archivedBy: "u" })
      assert.strictEqual((yield* replay({ all: true })).delivered, 1)
      assert.strictEqual((yield* replay({ all: true, includeArchived: true })).delivered, 2)
    }).pipe(Effect.provide(world()))
  )

  it.effect("stops at the first failure, and says from which event to go on", () =>
    Effect.gen(function* () {
      yield* seeded(2, 2)
      const error = yield* Effect.flip(replay({ all: true }))
      assert.strictEqual(error._tag, "DeliveryFailed")
      assert.include(error.message, "failed at event 3")
      assert.include(error.message, "--from-id 2")
    }).pipe(Effect.provide(world((n) => (n === 12 ? Effect.fail("no") : Effect.void))))
  )

  it.effect("says of a failure in one of its lanes from which event to go on in all of them", () => {
    const handle: Handle = (n) => {
      if (n === 31) return Effect.never
      return n === 15 ? Effect.fail("no") : Effect.void
    }
    return Effect.gen(function* () {
      yield* seeded(4, 5)
      const error = yield* Effect.flip(replay({ all: true }, { lanes: 2 }))
      assert.strictEqual(error._tag, "DeliveryFailed")
      if (error._tag === "DeliveryFailed") assert.isAtMost(Number(error.fromId), 3)
    }).pipe(Effect.provide(world(handle)))
  })

  it.effect("goes on after a failure where it is told to, without the rest of that stream", () =>
    Effect.gen(function* () {
      yield* seeded(2, 3)
      const report = yield* replay({ all: true }, { onError: "continue" })
      assert.deepInclude(report, { delivered: 4, failed: 1, skipped: 1 })
      assert.deepStrictEqual(
        report.failures.map(({ eventId }) => eventId),
        [3n]
      )
    }).pipe(Effect.provide(world((n) => (n === 12 ? Effect.dieMessage("no") : Effect.void))))
  )

  it.effect("keeps to its rate", () =>
    Effect.gen(function* () {
      yield* seeded(1, 4)
      const fiber = yield* Effect.fork(replay({ all: true }, { rate: 2 }))
      yield* TestClock.adjust("1 second")
      assert.isAtMost((yield* given).length, 3)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual((yield* given).length, 4)
    }).pipe(Effect.provide(world()))
  )

  it.effect("goes on lane by lane, and gives no event again that was recorded", () => {
    let stops = true
    const stopping = (n: number) => (n === 43 && stops ? Effect.interrupt : Effect.yieldNow())
    return Effect.gen(function* () {
      yield* seeded(6, 5)
      yield* Effect.exit(replay({ all: true }, { lanes: 3 }))
      const before = (yield* given).length
      assert.isBelow(before, 30)
      stops = false
      const report = yield* replay({ all: true }, { lanes: 2 })
      assert.strictEqual(report.delivered, 30)
      const ids = (yield* given).map(({ id }) => id)
      assert.strictEqual(new Set(ids).size, 30)
      assert.isAtMost(ids.length, 30 + 6)
    }).pipe(Effect.provide(world(stopping)))
  })

  it.effect("goes on behind what was recorded, with the same ids of deliveries", () => {
    let stops = true
    const stopping = (n: number) => (n === 13 && stops ? Effect.interrupt : Effect.void)
    return Effect.gen(function* () {
      yield* seeded(1, 5)
      yield* Effect.exit(replay({ all: true }))
      const before = yield* given
      stops = false
      const report = yield* replay({ all: true })
      const after = (yield* given).slice(before.length)
      assert.strictEqual(report.delivered, 5)
      assert.deepStrictEqual(after.at(-1)?.version, 5)
      for (const again of after) {
        const earlier = before.find(({ id }) => id === again.id)
        if (earlier !== undefined) assert.strictEqual(earlier.deliveryId, again.deliveryId)
      }
      const deliveries = yield* Deliveries.Deliveries
      assert.strictEqual((yield* deliveries.recorded(report.runId, 0n)).size, 0)
    }).pipe(Effect.provide(world(stopping)))
  })

  it.effect("refuses what its subscriber appends, even where that is caught", () =>
    refused(() =>
      Effect.flatMap(EventStore.EventStore, (store) =>
        Effect.ignore(
          store.append([
            {
              tenantId,
              aggregateId: idOf(1),
              aggregateType: "thing",
              version: 2,
              type: "sent",
              eventVersion: 1,
              payload: {},
              metadata: { userId: "u" }
            }
          ])
        )
      )
    )
  )

  it.effect("refuses what its subscriber writes through a handler", () =>
    refused(() =>
      Effect.flatMap(Effect.flatten(Effect.serviceOption(WriteDispatcher.WriteDispatcher)), (writes) =>
        writes.write({ handler: "a:write:b", actor: { id: "u", tenantId, roles: [] }, correlationId: "c", payload: {} })
      )
    )
  )

  it.effect.each([
    [{}, "ReplayBoundsInvalid"],
    [{ all: true, fromId: 1n }, "ReplayBoundsInvalid"],
    [{ types: ["received"] }, "ReplayBoundsInvalid"],
    [{ fromId: 3n, toId: 2n }, "ReplayBoundsInvalid"]
  ] as const)("is refused for bounds that cannot be: %o", ([bounds, tag]) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(replay(bounds)))._tag, tag)
    }).pipe(Effect.provide(world()))
  )

  it.effect.each([
    { rate: 0 },
    { rate: -1 },
    { rate: Number.NaN },
    { rate: Infinity },
    { concurrency: 0 },
    { concurrency: 1.5 },
    { lanes: 0 }
  ])("is refused for a pace that delivers nothing: %o", (pace) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(replay({ all: true }, pace)))._tag, "ReplayBoundsInvalid")
    }).pipe(Effect.provide(world()))
  )

  it.effect("is refused for a subscriber that must not be given past events, and for one that there is not", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(replay({ all: true })))._tag, "ReplayForbidden")
      assert.strictEqual((yield* Effect.flip(replay({ all: true }, { subscriber: "fax" })))._tag, "UnknownSubscriber")
    }).pipe(Effect.provide(world(undefined, "never")))
  )
})
