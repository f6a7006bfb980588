/**
 * How a run waits for the lock.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Option, Ref, TestClock } from "effect"
import { EsOps, MemoryDatabase, OperationError, OperationLog, SeedRunner } from "effect-es-ops"
import { quiet } from "../../support/Applying.js"
import { Boom, seed, apply, summary, logged } from "../../support/Runs.js"

describe("the wait for the lock", () => {
  const holder = new OperationError.LockHolder({ pid: 4711, applicationName: "another", since: Option.none() })
  const hold = Effect.flatMap(MemoryDatabase.MemoryDatabase, ({ lock }) => Ref.set(lock, Option.some(holder)))
  const release = Effect.flatMap(MemoryDatabase.MemoryDatabase, ({ lock }) => Ref.set(lock, Option.none()))
  const seeds = { "1": seed(Effect.void) }

  it.effect(
    "goes on while another holds it, is mentioned at once and then every ten seconds, and ends when it is free",
    () =>
      Effect.gen(function* () {
        yield* hold
        const fiber = yield* Effect.fork(logged(apply))
        yield* TestClock.adjust("25 seconds")
        yield* release
        yield* TestClock.adjust("1 seconds")
        const { lines, result } = yield* Fiber.join(fiber)
        assert.deepStrictEqual(summary(result), [["Applied", "1"]])
        const waits = lines.filter((line) => line.includes("waits"))
        assert.strictEqual(waits.length, 3)
        assert.include(waits[0], "process 4711 (another)")
        const [attempt] = yield* (yield* OperationLog.OperationLog).attempts({})
        assert.isAtLeast(Option.getOrThrow(attempt?.waitedMs ?? Option.none()), 25_000)
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("ends with LockTimeout, which names the holder and the seed", () =>
    Effect.gen(function* () {
      yield* hold
      const fiber = yield* Effect.fork(Effect.flip(apply))
      yield* TestClock.adjust("61 seconds")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { _tag: "LockTimeout", id: "1" })
      assert.include(error.message, "process 4711 (another)")
      assert.deepStrictEqual(yield* (yield* OperationLog.OperationLog).attempts({}), [])
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds, lockTimeout: "1 minute" })))
  )

  for (const lockTimeout of [1, 60, 500, 4_999, 7_000]) {
    it.effect(`takes no longer than lockTimeout, with an attempt at its end: ${lockTimeout} ms`, () =>
      Effect.gen(function* () {
        yield* hold
        const fiber = yield* Effect.fork(Effect.flip(apply))
        yield* TestClock.adjust("1 minutes")
        assert.deepInclude(yield* Fiber.join(fiber), { _tag: "LockTimeout", waitedMs: lockTimeout })
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds, lockTimeout })))
    )
  }

  it.effect("asks again soon at first, then at least every half second, and not always after the same time", () =>
    Effect.gen(function* () {
      yield* hold
      const asked: Array<number> = []
      const waiting = () => Effect.map(Clock.currentTimeMillis, (now) => void asked.push(now))
      const fiber = yield* Effect.fork(SeedRunner.apply({ appliedBy: "boot", observer: { ...quiet, waiting } }))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.interrupt(fiber)
      const gaps = asked.slice(1).map((at, n) => at - (asked[n] ?? NaN))
      assert.isAtMost(gaps[0] ?? NaN, 60)
      assert.isAtMost(Math.max(...gaps), 500)
      assert.isAtLeast(new Set(gaps.slice(10)).size, 5)
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("is one attempt when lockTimeout is 0", () =>
    Effect.gen(function* () {
      yield* hold
      assert.deepInclude(yield* Effect.flip(apply), { _tag: "LockTimeout", waitedMs: 0 })
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds, lockTimeout: 0 })))
  )

  it.effect("can be interrupted", () =>
    Effect.gen(function* () {
      yield* hold
      const fiber = yield* Effect.fork(apply)
      yield* TestClock.adjust("1 seconds")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("makes of two runs at once one that applies and one that lost the race", () =>
    Effect.gen(function* () {
      const inside = yield* Deferred.make<void>()
      const leave = yield* Deferred.make<void>()
      const slow = seed(Effect.zipRight(Deferred.succeed(inside, void 0), Deferred.await(leave)))
      yield* Effect.gen(function* () {
        const first = yield* Effect.fork(apply)
        yield* Deferred.await(inside)
        const second = yield* Effect.fork(apply)
        yield* TestClock.adjust("2 seconds")
        yield* Deferred.succeed(leave, void 0)
        assert.deepStrictEqual(summary(yield* Fiber.join(first)), [
          ["Applied", "1"],
          ["Applied", "2"]
        ])
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(summary(yield* Fiber.join(second)), [
          ["Raced", "1"],
          ["Raced", "2"]
        ])
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": slow, "2": seed(Effect.void) } })))
    })
  )

  it.effect(
    "ends with SeedFailedElsewhere when the seed failed meanwhile at another, whose body alone ran; a new start runs it again",
    () =>
      Effect.gen(function* () {
        const inside = yield* Deferred.make<void>()
        const leave = yield* Deferred.make<void>()
        const runs = yield* Ref.make(0)
        const failing = seed(
          Ref.update(runs, (n) => n + 1).pipe(
            Effect.zipRight(Deferred.succeed(inside, void 0)),
            Effect.zipRight(Deferred.await(leave)),
            Effect.zipRight(new Boom({ code: "E1" }))
          )
        )
        yield* Effect.gen(function* () {
          const first = yield* Effect.fork(Effect.flip(apply))
          yield* Deferred.await(inside)
          const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(Effect.flip(apply)))
          yield* TestClock.adjust("2 seconds")
          yield* Deferred.succeed(leave, void 0)
          assert.strictEqual((yield* Fiber.join(first))._tag, "SeedFailed")
          yield* TestClock.adjust("5 seconds")
          for (const other of others) {
            const error = yield* Fiber.join(other)
            assert.deepInclude(error, { _tag: "SeedFailedElsewhere", id: "1", host: "memory" })
            assert.include(error.message, "no such thing")
          }
          assert.strictEqual(yield* Ref.get(runs), 1)
          assert.strictEqual((yield* Effect.flip(apply))._tag, "SeedFailed")
          assert.strictEqual(yield* Ref.get(runs), 2)
        }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": failing } })))
      })
  )
})
