/**
 * What the dispatcher over features does, whatever store is beneath it.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Either, Layer, Ref, Schema } from "effect"
import {
  EventStore,
  Feature,
  HandlerDispatcher,
  Projection,
  Transactor,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const Count = Schema.Struct({ id: Schema.UUID, by: Schema.Int })

const happened = (id: string, version: number, by: number): WriteHandler.Decision => ({
  events: [{ aggregateId: id, aggregateType: "counter", version, type: "counter.counted", payload: { id, by } }],
  data: { id, by, version }
})

/** Decides at once: a new counter, or refuses. */
const begin = WriteHandler.make({
  name: "counter:write:begin",
  payload: Count,
  access: ["system"],
  handle: ({ by, id }) =>
    by < 0 ? Either.left(WriteHandler.reject("conflict", "it counts upwards")) : happened(id, 1, by)
})

/** Reads the stream, so that each write sees the one before it. */
const count = WriteHandler.make({
  name: "counter:write:count",
  payload: Count,
  access: ["system", "Counter"],
  handle: ({ by, id }, { actor }) =>
    Effect.gen(function* () {
      const store = yield* EventStore.EventStore
      const version = yield* store.version({ tenantId: actor.tenantId, aggregateId: id })
      return happened(id, version + 1, by)
    })
})

const nobody = WriteHandler.make({
  name: "counter:write:nobody",
  payload: Schema.Unknown,
  access: [],
  handle: () => happened("", 1, 1)
})

const request = (handler: string, roles: ReadonlyArray<string> = ["system"]) => ({
  handler,
  actor: { id: "u", tenantId: randomUUID(), roles },
  operationId: "an-operation",
  correlationId: "a-correlation"
})

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void => {
  const folded = Effect.runSync(Ref.make<ReadonlyArray<number>>([]))
  const counter = Feature.make({
    name: "counter",
    handlers: [begin, count, nobody],
    projections: [
      Projection.make({
        name: "batches",
        events: ["counter.counted"],
        apply: (events) => Ref.update(folded, (sizes) => [...sizes, events.length])
      }),
      Projection.make({ name: "others", events: ["something.else"], apply: () => Effect.dieMessage("not for it") })
    ]
  })
  const dispatcher = Layer.provideMerge(HandlerDispatcher.layer([counter]), services)

  layer(dispatcher, { excludeTestServices: true })(`HandlerDispatcher.layer: ${name}`, (it) => {
    const write = (payload: unknown, to = request("counter:write:begin")) =>
      Effect.gen(function* () {
        const { write: send } = yield* WriteDispatcher.WriteDispatcher
        const transactor = yield* Transactor.Transactor
        return yield* transactor.savepoint(send({ ...to, payload }))
      })
    const writeAll = (payloads: ReadonlyArray<unknown>, to = request("counter:write:begin")) =>
      Effect.gen(function* () {
        const { writeAll: send } = yield* WriteDispatcher.WriteDispatcher
        const transactor = yield* Transactor.Transactor
        return yield* transactor.savepoint(send?.({ ...to, payloads }) ?? Effect.dieMessage("it has writeAll"))
      })

    it.effect("names its handlers", () =>
      Effect.gen(function* () {
        const { names } = yield* WriteDispatcher.WriteDispatcher
        assert.deepStrictEqual(names, ["counter:write:begin", "counter:write:count", "counter:write:nobody"])
      })
    )

    it.effect("answers with the data and the stored events, which carry actor, operation and correlation", () =>
      Effect.gen(function* () {
        const id = randomUUID()
        const to = request("counter:write:begin")
        const { data, events } = yield* write({ id, by: 3 }, to)
        assert.deepStrictEqual(data, { id, by: 3, version: 1 })
        assert.strictEqual(events.length, 1)
        assert.deepInclude(events[0], {
          tenantId: to.actor.tenantId,
          aggregateId: id,
          createdBy: "u",
          metadata: { userId: "u", correlationId: "a-correlation", headers: { operationId: "an-operation" } }
        })
      })
    )

    it.effect("appends decisions made at once in batches, and projects them with it", () =>
      Effect.gen(function* () {
        yield* Ref.set(folded, [])
        const payloads = Array.from({ length: 2300 }, (_, by) => ({ id: randomUUID(), by }))
        const written = yield* writeAll(payloads)
        assert.deepStrictEqual(
          written.map(({ data, events }) => [data["by"], events.length]),
          payloads.map(({ by }) => [by, 1])
        )
        assert.deepStrictEqual(yield* Ref.get(folded), [1000, 1000, 300])
      })
    )

    it.effect("lets a decision that reads see every write before it", () =>
      Effect.gen(function* () {
        const id = randomUUID()
        const written = yield* writeAll(
          [
            { id, by: 1 },
            { id, by: 2 },
            { id, by: 3 }
          ],
          request("counter:write:count")
        )
        assert.deepStrictEqual(
          written.map(({ data }) => data["version"]),
          [1, 2, 3]
        )
      })
    )

    it.effect("refuses by role, payload, name and handler, and with the conflict that the store finds", () =>
      Effect.gen(function* () {
        const id = randomUUID()
        const code = <A, R>(effect: Effect.Effect<A, WriteDispatcher.WriteError, R>) =>
          Effect.map(Effect.flip(effect), (error) => (error._tag === "WriteRejected" ? error.code : error._tag))
        assert.strictEqual(
          yield* code(write({ id, by: 1 }, request("counter:write:begin", ["Counter"]))),
          "access_denied"
        )
        assert.strictEqual(
          yield* code(write({ id, by: 1 }, request("counter:write:nobody", ["system"]))),
          "access_denied"
        )
        assert.strictEqual(yield* code(write({ id, by: 0.5 })), "validation_error")
        assert.strictEqual(yield* code(write({}, request("counter:write:missing"))), "unknown_handler")
        assert.strictEqual(yield* code(write({ id, by: -1 })), "conflict")
        const to = request("counter:write:begin")
        yield* write({ id, by: 1 }, to)
        assert.strictEqual(yield* code(write({ id, by: 1 }, to)), "version_conflict")
        assert.strictEqual(
          yield* code(
            writeAll(
              [
                { id: randomUUID(), by: 1 },
                { id, by: 1 }
              ],
              to
            )
          ),
          "version_conflict"
        )
      })
    )
  })
}
