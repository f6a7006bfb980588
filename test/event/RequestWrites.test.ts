/**
 * Writes outside a seed: each is a transaction of its own, or a savepoint of one that is open.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Effect } from "effect"
import { EventStore, Transactor, WriteDispatcher } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import type { Everything } from "./ShopFeature.js"
import { actor, hows, isStored, keys, memory, open, openTwo, server, SubDispatcher, submit } from "./ShopFeature.js"

describe.each([
  ["memory", memory],
  ["PostgreSQL", server(4)],
  ["PostgreSQL with one connection", server(1)]
] as const)("a write outside a seed: %s", (_, services) => {
  const test = (effect: Effect.Effect<void, unknown, Everything | Scope.Scope>) =>
    Effect.scoped(effect).pipe(Effect.provide(services))

  it.live.each(hows)("leaves nothing when a projection %s", (how) =>
    test(
      Effect.gen(function* () {
        const { write, writeAll } = yield* WriteDispatcher.WriteDispatcher
        const [good, one, two, three] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
        yield* submit("", good, "good")
        const request = { handler: open.name, actor, operationId: "o", correlationId: "c" }
        for (const wrong of [
          submit(how, one),
          write({ ...request, payload: { id: two, key: "two", how } }),
          writeAll?.({
            ...request,
            payloads: [
              { id: two, key: "two", how: "" },
              { id: three, key: "three", how }
            ]
          }) ?? Effect.dieMessage("it has writeAll")
        ]) {
          assert.strictEqual(
            (yield* Effect.exit(Effect.asVoid<unknown, unknown, WriteDispatcher.WriteDispatcher>(wrong)))._tag,
            "Failure"
          )
        }
        assert.deepStrictEqual(yield* keys, ["good"])
        assert.isTrue(yield* isStored(good))
        for (const id of [one, two, three]) assert.isFalse(yield* isStored(id))
      })
    )
  )

  it.live("leaves nothing of a part that is refused inside a write that goes on", () =>
    test(
      Effect.gen(function* () {
        ;(yield* SubDispatcher).set(yield* WriteDispatcher.WriteDispatcher)
        const [id, refused] = [randomUUID(), randomUUID()]
        yield* WriteDispatcher.submit(openTwo, { id, refused, key: "outer" }, { actor })
        assert.deepStrictEqual(yield* keys, ["outer"])
        assert.isTrue(yield* isStored(id))
        assert.isFalse(yield* isStored(refused))
      })
    )
  )

  it.live("keeps all that were accepted of many at once, and nothing of those that were refused", () =>
    test(
      Effect.gen(function* () {
        const written = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, n) => n),
          (n) => Effect.either(submit(n % 2 === 0 ? "" : "refuses", randomUUID(), `k${n + 10}`)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(written.filter(({ _tag }) => _tag === "Right").length, 10)
        assert.deepStrictEqual(
          yield* keys,
          Array.from({ length: 10 }, (_, n) => `k${2 * n + 10}`)
        )
      })
    )
  )

  it.live("answers with what its handler decided, on the actor's tenant, with or without a correlation", () =>
    test(
      Effect.gen(function* () {
        const id = randomUUID()
        const upper = { ...actor, tenantId: actor.tenantId.toUpperCase() }
        const answer = yield* WriteDispatcher.submit(
          open,
          { id, key: "k", how: "" },
          { actor: upper, correlationId: "c-1" }
        )
        assert.deepStrictEqual(answer, { id, key: "k" })
        const { load } = yield* EventStore.EventStore
        const [event] = yield* load({ tenantId: actor.tenantId, aggregateId: id })
        assert.deepStrictEqual(event?.metadata, { userId: "u", correlationId: "c-1" })
        const other = randomUUID()
        yield* submit("", other)
        const [second] = yield* load({ tenantId: actor.tenantId, aggregateId: other })
        assert.match(second?.metadata.correlationId ?? "", /^[0-9a-f-]{36}$/)
        const denied = yield* Effect.flip(
          WriteDispatcher.submit(open, { id: other, key: "", how: "" }, { actor: { ...actor, roles: [] } })
        )
        assert.deepInclude(denied, { _tag: "WriteRejected", code: "access_denied" })
      })
    )
  )

  it.live("belongs to a savepoint that is open, and is undone with it", () =>
    test(
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const [good, bad] = [randomUUID(), randomUUID()]
        const both = submit("", good, "good").pipe(Effect.zipRight(Effect.ignore(submit("refuses", bad))))
        yield* transactor.savepoint(both)
        assert.deepStrictEqual(yield* keys, ["good"])
        yield* Effect.ignore(transactor.savepoint(Effect.zipRight(submit("", bad, "later"), Effect.fail("no"))))
        assert.deepStrictEqual(yield* keys, ["good"])
        assert.isFalse(yield* isStored(bad))
      })
    )
  )
})
