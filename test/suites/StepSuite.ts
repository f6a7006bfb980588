/**
 * What every lock, transactor and log do together: one step, all of it or nothing but its attempt.
 */
import { assert, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"
import type { Layer } from "effect"
import { DatabaseHealth, EventStore, OperationLock, OperationLog, Transactor } from "effect-es-ops"
import type { EsOps, Event } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { attempt, Boom, isMarked, marker, newId, outcomesOf, step } from "./Steps.js"

const append = (stream: Event.StreamId, version: number) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    store.append([
      { ...stream, aggregateType: "t", version, type: "t.e", eventVersion: 1, payload: {}, metadata: { userId: "u" } }
    ])
  )

const versionOf = (stream: Event.StreamId) => Effect.flatMap(EventStore.EventStore, (store) => store.version(stream))

const fresh = () => ({ tenantId: randomUUID(), aggregateId: randomUUID() })

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`a step: ${name}`, (it) => {
    it.effect("keeps what its body wrote, with marker and attempt", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        assert.strictEqual(yield* step(id, Effect.as(append(stream, 1), "answer")), "answer")
        assert.strictEqual(yield* versionOf(stream), 1)
        const log = yield* OperationLog.OperationLog
        assert.strictEqual((yield* log.applied).get(id), "seed-migration")
        const kept = (yield* log.markers).find((found) => found.id === id)
        assert.deepInclude(kept, marker(id))
        const [recorded] = yield* log.attempts({ id })
        assert.deepInclude(recorded, { ...attempt(id, "applied"), attempt: 1 })
        assert.deepInclude((yield* log.lastAttempts).get(id), { outcome: "applied" })
      })
    )

    it.effect("finds a database that it can use healthy", () =>
      Effect.gen(function* () {
        const health = yield* DatabaseHealth.DatabaseHealth
        assert.deepStrictEqual(yield* health.mismatches, [])
        const found = yield* health.examine
        assert.isAbove(found.length, 0)
        assert.strictEqual(found[0]?.name, "connection")
        assert.deepStrictEqual(
          found.filter(({ fault, name }) => fault !== "none" && name !== "lock"),
          []
        )
      })
    )

    it.effect("undoes a body that fails, and keeps its attempt; the failure is the body's", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        const error = yield* Effect.flip(step(id, Effect.zipRight(append(stream, 1), new Boom())))
        assert.strictEqual(error._tag, "Boom")
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.isFalse(yield* isMarked(id))
        assert.deepStrictEqual(yield* outcomesOf(id), ["failed"])
      })
    )

    it.effect("undoes a body that dies, and keeps the defect", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        const exit = yield* Effect.exit(step(id, Effect.zipRight(append(stream, 1), Effect.dieMessage("bang"))))
        assert.isTrue(Exit.isFailure(exit) && Cause.isDie(exit.cause))
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.deepStrictEqual(yield* outcomesOf(id), ["failed"])
      })
    )

    it.effect("undoes a body that is interrupted, records it, and releases the lock", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        const inside = yield* Deferred.make<void>()
        const fiber = yield* Effect.fork(
          step(
            id,
            append(stream, 1).pipe(Effect.zipRight(Deferred.succeed(inside, void 0)), Effect.zipRight(Effect.never))
          )
        )
        yield* Deferred.await(inside)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.deepStrictEqual(yield* outcomesOf(id), ["interrupted"])
        yield* step(id, Effect.void)
      })
    )

    it.effect("is refused once it is applied, and leaves no trace of that", () =>
      Effect.gen(function* () {
        const [id, stream] = [newId(), fresh()]
        yield* step(id, Effect.void)
        const error = yield* Effect.flip(step(id, append(stream, 1)))
        assert.deepInclude(error, { _tag: "AlreadyApplied", id })
        assert.strictEqual(yield* versionOf(stream), 0)
        assert.deepStrictEqual(yield* outcomesOf(id), ["applied"])
      })
    )

    it.effect("holds the lock until it ends: another finds it held, and by whom", () =>
      Effect.gen(function* () {
        const inside = yield* Deferred.make<void>()
        const leave = yield* Deferred.make<void>()
        const [first, second] = [newId(), newId()]
        const fiber = yield* Effect.fork(
          step(first, Effect.zipRight(Deferred.succeed(inside, void 0), Deferred.await(leave)))
        )
        yield* Deferred.await(inside)
        const held = yield* Effect.flip(step(second, Effect.void))
        assert.strictEqual(held._tag, "LockHeld")
        if (held._tag === "LockHeld") assert.isTrue(Option.isSome(held.holder))
        assert.deepStrictEqual(yield* outcomesOf(second), [])
        yield* Deferred.succeed(leave, void 0)
        yield* Fiber.join(fiber)
        yield* step(second, Effect.void)
      })
    )

    it.effect("is probed without being taken: who holds it, and what is applied all the same", () =>
      Effect.gen(function* () {
        const { probe, ready } = yield* OperationLock.OperationLock
        const inside = yield* Deferred.make<void>()
        const leave = yield* Deferred.make<void>()
        const [done, first, second] = [newId(), newId(), newId()]
        yield* step(done, Effect.void)
        assert.isTrue(yield* ready(first))
        yield* probe(first)
        const fiber = yield* Effect.fork(
          step(first, Effect.zipRight(Deferred.succeed(inside, void 0), Deferred.await(leave)))
        )
        yield* Deferred.await(inside)
        const held = yield* Effect.flip(probe(second))
        assert.deepInclude(held, { _tag: "LockHeld", id: second })
        if (held._tag === "LockHeld") assert.isTrue(Option.isSome(held.holder))
        assert.deepInclude(yield* Effect.flip(probe(done)), { _tag: "AlreadyApplied", id: done })
        yield* Deferred.succeed(leave, void 0)
        yield* Fiber.join(fiber)
        assert.deepInclude(yield* Effect.flip(probe(first)), { _tag: "AlreadyApplied", id: first })
        yield* probe(second)
        yield* step(second, Effect.void)
      })
    )

    it.effect("can be checked as its commit would be, and goes on; nothing outside a step can", () =>
      Effect.gen(function* () {
        const { checkDeferred } = yield* Transactor.Transactor
        const [id, stream] = [newId(), fresh()]
        yield* step(id, Effect.zipRight(Effect.zipRight(append(stream, 1), checkDeferred), append(stream, 2)))
        assert.strictEqual(yield* versionOf(stream), 2)
        assert.strictEqual((yield* Effect.flip(checkDeferred))._tag, "DatabaseError")
      })
    )

    it.effect("keeps other parts of the body when one turn fails and the body goes on", () =>
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const [id, kept, undone] = [newId(), fresh(), fresh()]
        yield* step(
          id,
          Effect.gen(function* () {
            yield* transactor.savepoint(append(kept, 1))
            const error = yield* Effect.flip(transactor.savepoint(Effect.zipRight(append(undone, 1), new Boom())))
            assert.strictEqual(error._tag, "Boom")
            yield* transactor.savepoint(append(kept, 2))
          })
        )
        assert.deepStrictEqual([yield* versionOf(kept), yield* versionOf(undone)], [2, 0])
      })
    )

    it.effect("lets turns take turns, so that concurrent ones that fail undo themselves only", () =>
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const streams = Array.from({ length: 12 }, fresh)
        yield* step(
          newId(),
          Effect.forEach(
            streams,
            (stream, index) => {
              const write = Effect.zipRight(append(stream, 1), append(stream, 2))
              return Effect.exit(transactor.savepoint(index % 3 === 0 ? Effect.zipRight(write, new Boom()) : write))
            },
            { concurrency: "unbounded" }
          )
        )
        const versions = yield* Effect.forEach(streams, versionOf)
        assert.deepStrictEqual(
          versions,
          streams.map((_, index) => (index % 3 === 0 ? 0 : 2))
        )
      })
    )

    it.effect("refuses a turn that comes after its end", () =>
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const stream = fresh()
        const over = yield* Deferred.make<void>()
        const late = yield* step(
          newId(),
          Effect.forkDaemon(Effect.zipRight(Deferred.await(over), transactor.savepoint(append(stream, 1))))
        )
        yield* Deferred.succeed(over, void 0)
        const error = yield* Effect.flip(Fiber.join(late))
        assert.strictEqual(error._tag, "DatabaseError")
        assert.strictEqual(yield* versionOf(stream), 0)
      })
    )
  })
