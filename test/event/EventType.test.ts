/**
 * Reading stored events by their type: upcast, decoded, or told apart as unreadable.
 */
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Either, FastCheck, Schema } from "effect"
import type { Event } from "effect-es-ops"
import { EsOps, EventType, Feature, Features, Projection } from "effect-es-ops"

const stored = (eventVersion: number, payload: Event.Payload): Event.Event => ({
  id: 7n,
  tenantId: "t",
  aggregateId: "a",
  aggregateType: "thing",
  version: 1,
  type: "thing.done",
  eventVersion,
  payload,
  metadata: { userId: "u" },
  createdAt: DateTime.unsafeMake(0),
  createdBy: "u"
})

const add = (step: number) => (payload: Event.Payload) => ({
  ...payload,
  steps: [...(Array.isArray(payload["steps"]) ? payload["steps"] : []), step]
})

const done = EventType.make({
  type: "thing.done",
  version: 4,
  payload: Schema.Struct({ steps: Schema.Array(Schema.Int), kept: Schema.optional(Schema.Unknown) }),
  upcasts: [add(2), add(3), add(4)]
})

describe("an event type", () => {
  it("upcasts a payload by exactly the steps that its version lacks, in their order, and keeps the rest", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.integer({ min: 1, max: 4 }), FastCheck.jsonValue(), (version, kept) => {
        const event = stored(version, { steps: [], kept })
        const before = structuredClone(event.payload)
        const { payload } = Either.getOrThrow(done.read(event))
        assert.deepStrictEqual(payload.steps, [2, 3, 4].slice(version - 1))
        assert.deepStrictEqual(payload.kept, kept)
        // What is stored is never changed.
        assert.deepStrictEqual(event.payload, before)
      })
    )
  })

  it("reads a version below the first as the first", () => {
    assert.deepStrictEqual(Either.getOrThrow(done.read(stored(0, {}))).payload.steps, [2, 3, 4])
  })

  const failing = EventType.make({
    type: "thing.done",
    version: 2,
    payload: Schema.Struct({ n: Schema.Int }),
    upcasts: [
      () => {
        throw new Error("no such field")
      }
    ]
  })

  it.each([
    ["of a version that is not known yet", done, 5, { steps: [] }, "the newest known version is 4"],
    ["whose payload does not fit", done, 4, { steps: ["x"] }, "steps.0: Expected number"],
    ["whose upcast throws", failing, 1, {}, "its upcast failed: no such field"]
  ] as const)("cannot read an event %s", (_, type: EventType.AnyEventType, version, payload, reason) => {
    const unreadable = Either.getOrThrow(Either.flip(type.read(stored(version, payload))))
    assert.deepInclude(unreadable, {
      _tag: "EventUnreadable",
      eventId: 7n,
      type: "thing.done",
      eventVersion: version
    })
    assert.include(unreadable.reason, reason)
    assert.include(unreadable.message, `event 7 (thing.done, version ${version}) cannot be read: `)
  })

  it("makes an event of today's version, encoded, and refuses a payload that does not encode", () => {
    const decided = { aggregateId: "a", aggregateType: "thing", version: 1 }
    const at = EventType.make({
      type: "at",
      payload: Schema.Struct({ at: Schema.DateFromSelf.pipe(Schema.validDate()) })
    })
    const dated = EventType.make({ type: "dated", payload: Schema.Struct({ at: Schema.Date }) })
    assert.deepStrictEqual(Either.getOrThrow(EventType.event(dated, { ...decided, payload: { at: new Date(0) } })), {
      ...decided,
      type: "dated",
      eventVersion: 1,
      payload: { at: "1970-01-01T00:00:00.000Z" }
    })
    const refused = EventType.event(at, { ...decided, payload: { at: new Date(NaN) } })
    assert.isTrue(Either.isLeft(refused) && refused.left.code === "validation_error")
    const text = EventType.make({ type: "text", payload: Schema.String })
    assert.isTrue(Either.isLeft(EventType.event(text, { ...decided, payload: "no object" })))
  })
})

describe("features that cannot be", () => {
  const payload = Schema.Struct({})
  const same = (value: Event.Payload) => value
  const table = Feature.table({
    name: "read_things",
    columns: [{ name: "id", type: "uuid" }],
    primaryKey: ["id"],
    row: Schema.Struct({ id: Schema.String })
  })
  const pair = { ...table, name: "read_pairs", primaryKey: ["id", "id"] } as const
  const type = EventType.make({ type: "a", payload })
  const fold = (name: string, of: Feature.RowTable<{ readonly id: string }, { readonly id: string }, "id"> = table) =>
    Projection.fold({ name, table: of, on: [[type, (row) => row]] })

  it.effect.each([
    ["two projections of one name", [fold("a"), fold("a", pair)], 'two projections are named "a"'],
    ["a table of two projections", [fold("a"), fold("b")], 'table "read_things" is folded by "a" and written by "b"'],
    [
      "a table of a fold and of another's apply",
      [fold("a"), Projection.make({ name: "b", events: [], apply: () => Effect.void, tables: [table] })],
      'table "read_things" is folded by "a" and written by "b"'
    ],
    ["a fold by the aggregate into a key of two columns", [fold("a", pair)], 'projection "a" needs a key'],
    [
      "an upcast too few",
      [
        Projection.rows({
          name: "a",
          table,
          on: [[EventType.make({ type: "x", version: Number("3"), payload, upcasts: [same] }), () => []]]
        })
      ],
      'event type "x" of version 3 needs 2 upcasts and has 1'
    ],
    [
      "a version that is none",
      [
        Projection.rows({
          name: "a",
          table,
          on: [[EventType.make({ type: "x", version: Number("0"), payload, upcasts: [] }), () => []]]
        })
      ],
      'event type "x" has version 0'
    ],
    [
      "an event type twice in one projection",
      [
        Projection.rows({
          name: "a",
          table,
          on: [
            [type, () => []],
            [type, () => []]
          ]
        })
      ],
      'projection "a" has event type "a" twice'
    ],
    [
      "two versions of one event type",
      [
        fold("a"),
        Projection.rows({
          name: "b",
          table: { ...table, name: "other" },
          on: [[EventType.make({ type: "a", version: 2, payload, upcasts: [same] }), () => []]]
        })
      ],
      'event type "a" is there with versions 1 and 2'
    ],
    ["a definition of no version", [{ ...fold("a"), version: 0 }], 'projection "a" has version 0']
  ] as const)("are a SettingError: %s", ([, projections, message]) =>
    Effect.gen(function* () {
      const features = [Feature.make({ name: "f", handlers: [], projections })]
      const error = yield* Effect.flip(Effect.provide(Features.Features, EsOps.layerMemory({ seeds: {}, features })))
      assert.strictEqual(error._tag, "SettingError")
      assert.include(error.message, message)
    })
  )
})
