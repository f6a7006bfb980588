/**
 * The dispatcher of handlers, apart from what its suite says of it over every store.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Equal, Layer, Option, Schema } from "effect"
import {
  EventStore,
  Feature,
  HandlerDispatcher,
  MemoryDatabase,
  OperationError,
  Projection,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as MemoryTransactor from "../../src/operation/memory/MemoryTransactor.js"
import * as MemoryEventStore from "../../src/event/memory/MemoryEventStore.js"

class Place extends Context.Tag("test/Place")<Place, string>() {}

const Anything = Schema.Struct({ id: Schema.String })

const noted = (id: string): WriteHandler.Decision => ({
  events: [{ aggregateId: id, aggregateType: "note", version: 1, type: "note.noted", payload: { id } }],
  data: { id }
})

const note = randomUUID()

const places: Array<string> = []

const feature = Feature.make({
  name: "notes",
  handlers: [
    WriteHandler.make({
      name: "notes:write:where",
      payload: Anything,
      access: ["system"],
      handle: ({ id }) => Effect.map(Place, (place) => ({ ...noted(id), data: { id, place } }))
    }),
    WriteHandler.make({
      name: "notes:write:note",
      payload: Anything,
      access: ["system"],
      handle: ({ id }) => noted(id)
    })
  ],
  projections: [
    Projection.make({
      name: "places",
      events: ["note.noted"],
      apply: () => Effect.map(Place, (place) => void places.push(place))
    })
  ]
})

const request = (handler: string, id: string) => ({
  handler,
  actor: { id: "u", tenantId: randomUUID(), roles: ["system"] },
  operationId: "an-operation",
  correlationId: "a-correlation",
  payload: { id }
})

const store = Layer.merge(MemoryEventStore.layer, MemoryTransactor.layer).pipe(Layer.provide(MemoryDatabase.layer))

const write = (id: string) =>
  Effect.flatMap(WriteDispatcher.WriteDispatcher, (dispatcher) => dispatcher.write(request("notes:write:where", id)))

describe("the dispatcher of handlers", () => {
  const dispatcher = HandlerDispatcher.layer([feature]).pipe(
    Layer.provide(store),
    Layer.provide(Layer.succeed(Place, "where it was made"))
  )

  it.effect("gives handlers and projections the services that it was made with, where the step brings none", () =>
    Effect.gen(function* () {
      places.length = 0
      const { data } = yield* write(note)
      assert.strictEqual(data["place"], "where it was made")
      assert.deepStrictEqual(places, ["where it was made"])
    }).pipe(Effect.provide(dispatcher))
  )

  it.effect("gives handlers and projections the step's own services before those that it was made with", () =>
    Effect.gen(function* () {
      places.length = 0
      const { data } = yield* Effect.provideService(write(note), Place, "in the step")
      assert.strictEqual(data["place"], "in the step")
      assert.deepStrictEqual(places, ["in the step"])
    }).pipe(Effect.provide(dispatcher))
  )

  it.effect("writes under a span of its own, which names the handler", () =>
    Effect.gen(function* () {
      const spans: Array<readonly [string, unknown]> = []
      const inside = Feature.make({
        name: "spans",
        handlers: [
          WriteHandler.make({
            name: "spans:write:see",
            payload: Anything,
            access: ["system"],
            handle: ({ id }) =>
              Effect.map(Effect.currentSpan, (span) => {
                spans.push([span.name, span.attributes.get("handler")])
                return noted(id)
              }).pipe(Effect.orDie)
          })
        ]
      })
      const made = yield* Effect.provide(HandlerDispatcher.make([inside]), store)
      yield* made.write(request("spans:write:see", note))
      assert.deepStrictEqual(spans, [["WriteDispatcher.writeAll", "spans:write:see"]])
    })
  )
})

describe("a write that failed", () => {
  it("keeps its cause as it is, and tells it in JSON", () => {
    const cause = new OperationError.TransactionControl({ statement: "COMMIT" })
    const failed = new WriteDispatcher.WriteFailed({ handler: "notes:write:note", cause })
    assert.strictEqual(failed.cause, cause)
    const json = JSON.stringify(Schema.encodeSync(WriteDispatcher.WriteFailed)(failed))
    assert.deepStrictEqual(JSON.parse(json), {
      _tag: "WriteFailed",
      handler: "notes:write:note",
      cause: { name: "TransactionControl", message: cause.message }
    })
    const again = Schema.decodeUnknownSync(WriteDispatcher.WriteFailed)(JSON.parse(json))
    assert.instanceOf(again.cause, Error)
    assert.deepInclude(again.cause, { name: "TransactionControl", message: cause.message })
  })

  it("keeps a cause that is no error as it is, too", () => {
    const cause = { reason: "no paper" }
    const failed = new WriteDispatcher.WriteFailed({ handler: "notes:write:note", cause })
    assert.strictEqual(failed.cause, cause)
    const json = JSON.stringify(Schema.encodeSync(WriteDispatcher.WriteFailed)(failed))
    assert.include(json, "no paper")
  })
})

describe("a conflict of versions", () => {
  it.each([Option.some(3), Option.none()])("is the same after a way through JSON: actual version %o", (actual) => {
    const conflict = new EventStore.VersionConflict({ tenantId: "t", aggregateId: "a", expected: 2, actual })
    const json = JSON.stringify(Schema.encodeSync(EventStore.VersionConflict)(conflict))
    const again = Schema.decodeUnknownSync(EventStore.VersionConflict)(JSON.parse(json))
    assert.isTrue(Equal.equals(again.actual, actual))
    assert.strictEqual(again.message, conflict.message)
  })
})
