/**
 * What every store and dispatcher keeps of a payload: what JSON keeps.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Ref, Schema } from "effect"
import { EventStore, Feature, HandlerDispatcher, Projection, WriteDispatcher, WriteHandler } from "effect-es-ops"
import type { EsOps, Event } from "effect-es-ops"
import { randomUUID } from "node:crypto"

class Money {
  constructor(readonly amount: number) {}
}

const cyclic = (): object => {
  const one: Record<string, unknown> = {}
  one["self"] = { one }
  return one
}

const deep = (levels: number): unknown => (levels === 0 ? [] : [deep(levels - 1)])

/** What JSON would change or lose, by a name, and the path that a refusal names. */
const refused: ReadonlyArray<readonly [string, unknown, string]> = [
  ["NaN", { price: NaN }, "payload.price is NaN"],
  ["infinity", { price: Infinity }, "payload.price is Infinity"],
  ["minus infinity", { lines: [{ price: -Infinity }] }, "payload.lines[0].price is -Infinity"],
  ["minus zero", { price: -0 }, "payload.price is -0"],
  ["a Map", { tags: new Map([["a", 1]]) }, "payload.tags is a Map"],
  ["a Set", { tags: new Set(["a"]) }, "payload.tags is a Set"],
  ["bytes", { image: new Uint8Array([1, 2]) }, "payload.image is a Uint8Array"],
  ["a bigint", { count: 1n }, "payload.count is a bigint"],
  ["a Date", { at: new Date(0) }, "payload.at is a Date"],
  ["an error", { why: new Error("no") }, "payload.why is a Error"],
  ["a boxed number", { n: Object(5) }, "payload.n is a Number"],
  ["undefined in a list", { tags: ["a", undefined] }, "payload.tags[1] is undefined"],
  ["a hole in a list", { tags: [Object.assign([], { length: 1 })] }, "payload.tags[0][0] is undefined"],
  ["a member of a list", { tags: Object.assign(["a"], { more: 1 }) }, "payload.tags.more is a member"],
  ["a function", { run: () => 1 }, "payload.run is a function"],
  ["a method", { run: { toJSON: () => 1 } }, "payload.run.toJSON is a function"],
  ["a symbol", { tag: Symbol("x") }, "payload.tag is a symbol"],
  ["a symbol as a name", { a: { [Symbol("x")]: 1 } }, "payload.a[Symbol(x)]"],
  ["a cycle", { tree: cyclic() }, "payload.tree.self.one is a part of itself"],
  ["an instance of a class", { price: new Money(5) }, "payload.price is a Money"],
  ["half a surrogate pair", { name: "a\uD800" }, "payload.name is a text with half a surrogate pair"],
  ["NUL", { name: "a\u0000b" }, "payload.name is a text with a NUL"],
  ["NUL in a name", { more: { "a\u0000b": 1 } }, 'the name of payload.more["a\\u0000b"] is a text with a NUL'],
  ["a nest without an end", { deep: deep(2000) }, "nested deeper than"]
]

const kept: Event.Payload = {
  text: "é 漢 😀 \\u0000 \\",
  none: null,
  yes: true,
  numbers: [0, -1.5, 1e308, 5e-324, 9007199254740991],
  empty: [{}, []],
  nested: { a: { b: [{ c: "d" }] } },
  deep: deep(200),
  "": "an empty name",
  bare: Object.assign(Object.create(null), { a: 1 })
}

const noted = (id: string, payload: Event.Payload): WriteHandler.Decision => ({
  events: [{ aggregateId: id, aggregateType: "note", version: 1, type: "note.noted", payload }],
  data: { id }
})

const Given = Schema.Struct({ id: Schema.String, given: Schema.Any })

/** Takes anything, and makes it the event's payload. */
const pass = WriteHandler.make({
  name: "note:write:pass",
  payload: Given,
  access: ["system"],
  handle: ({ given, id }) => noted(id, given)
})

/** Makes a payload of its own, which the request does not show. */
const own = WriteHandler.make({
  name: "note:write:own",
  payload: Schema.Struct({ id: Schema.String, which: Schema.Number }),
  access: ["system"],
  handle: ({ id, which }) => {
    const [, payload] = refused[which] ?? []
    return noted(id, { ...Object(payload) })
  }
})

const projected = Effect.runSync(Ref.make<ReadonlyArray<unknown>>([]))

const notes = Feature.make({
  name: "note",
  handlers: [pass, own],
  projections: [
    Projection.make({
      name: "notes",
      events: ["note.noted"],
      apply: (events) => Ref.update(projected, (before) => [...before, ...events.map(({ payload }) => payload)])
    })
  ]
})

const actor = { id: "u", tenantId: "018f6b2e-7c1d-7000-8000-0000000000bb", roles: ["system"] }

const event = (aggregateId: string, payload: Event.Payload, metadata: Event.EventMetadata): Event.NewEvent => ({
  tenantId: actor.tenantId,
  aggregateId,
  aggregateType: "note",
  version: 1,
  type: "note.noted",
  eventVersion: 1,
  payload,
  metadata
})

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(Layer.provideMerge(HandlerDispatcher.layer([notes]), services), { excludeTestServices: true })(
    `what is kept of a payload: ${name}`,
    (it) => {
      const stored = (aggregateId: string) =>
        Effect.flatMap(EventStore.EventStore, (store) => store.load({ tenantId: actor.tenantId, aggregateId }))

      it.effect.each(refused)("nothing, and a validation_error that names the path: %s", ([, payload, path]) =>
        Effect.gen(function* () {
          yield* Ref.set(projected, [])
          const id = randomUUID()
          const rejected = yield* Effect.flip(WriteDispatcher.submit(pass, { id, given: payload }, { actor }))
          assert.deepInclude(rejected, { _tag: "WriteRejected", code: "validation_error" })
          assert.include(rejected.message, path.replace("payload", "payload.given"))
          assert.deepStrictEqual(yield* Ref.get(projected), [])
          assert.deepStrictEqual(yield* stored(id), [])
        })
      )

      it.effect.each(refused.map(([what, , path], which) => [what, which, path] as const))(
        "nothing of what a handler makes, before a projection sees it: %s",
        ([, which, path]) =>
          Effect.gen(function* () {
            yield* Ref.set(projected, [])
            const id = randomUUID()
            const rejected = yield* Effect.flip(WriteDispatcher.submit(own, { id, which }, { actor }))
            assert.deepInclude(rejected, { _tag: "WriteRejected", code: "validation_error" })
            assert.include(rejected.message, path.replace("payload", 'payload of "note.noted"'))
            assert.deepStrictEqual(yield* Ref.get(projected), [])
            assert.deepStrictEqual(yield* stored(id), [])
          })
      )

      it.effect.each(refused)("nothing of an append beside the handlers: %s", ([, payload, path]) =>
        Effect.gen(function* () {
          const { append } = yield* EventStore.EventStore
          const id = randomUUID()
          const metadata = { userId: "u" }
          const refusal = yield* Effect.flip(append([event(id, { ...Object(payload) }, metadata)]))
          assert.strictEqual(refusal._tag, "DatabaseError")
          assert.include(refusal.message, path)
          const second = yield* Effect.flip(
            append([event(randomUUID(), {}, metadata), event(id, { ...Object(payload) }, metadata)])
          )
          assert.include(second.message, path)
          assert.deepStrictEqual(yield* stored(id), [])
        })
      )

      it.effect("all that JSON has, and projections see what is stored", () =>
        Effect.gen(function* () {
          yield* Ref.set(projected, [])
          const id = randomUUID()
          yield* WriteDispatcher.submit(pass, { id, given: { ...kept, left: undefined } }, { actor })
          const expected = [JSON.parse(JSON.stringify(kept))]
          assert.deepStrictEqual(yield* Ref.get(projected), expected)
          assert.deepStrictEqual(
            (yield* stored(id)).map(({ payload }) => payload),
            expected
          )
        })
      )

      it.effect("what it was at the write, whatever its maker and its readers do to it", () =>
        Effect.gen(function* () {
          const { append } = yield* EventStore.EventStore
          const id = randomUUID()
          const payload = { tags: ["a"] }
          const [given] = yield* append([event(id, payload, { userId: "u" })])
          payload.tags.push("b")
          for (const read of [given, ...(yield* stored(id))]) Object(read.payload)["tags"].push("c")
          assert.deepStrictEqual(
            (yield* stored(id)).map((read) => read.payload),
            [{ tags: ["a"] }]
          )
        })
      )

      it.effect("no metadata that JSON would change: headers, keys, ids and types", () =>
        Effect.gen(function* () {
          const { append } = yield* EventStore.EventStore
          const { write } = yield* WriteDispatcher.WriteDispatcher
          const id = randomUUID()
          for (const metadata of [
            { userId: "u", headers: { at: NaN } },
            { userId: "u\u0000" },
            { userId: "u", idempotencyKey: "\uD800" },
            { userId: "u", requestId: "a\u0000" }
          ]) {
            const refusal = yield* Effect.flip(append([event(id, {}, metadata)]))
            assert.strictEqual(refusal._tag, "DatabaseError")
            assert.include(refusal.message, "metadata.")
          }
          const odd = yield* Effect.flip(append([{ ...event(id, {}, { userId: "u" }), type: "note\u0000" }]))
          assert.include(odd.message, "event.type")
          const request = { handler: pass.name, actor, correlationId: "c", payload: { id, given: {} } }
          for (const wrong of [
            { ...request, correlationId: "\uD800" },
            { ...request, operationId: "a\u0000" },
            { ...request, actor: { ...actor, id: "u\u0000" } }
          ]) {
            assert.deepInclude(yield* Effect.flip(write(wrong)), { _tag: "WriteRejected", code: "validation_error" })
          }
          assert.deepStrictEqual(yield* stored(id), [])
        })
      )
    }
  )
