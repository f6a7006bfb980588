/**
 * Taking turns: alone, in order, without losing a turn with whoever leaves, and in a time that does not grow with those who wait.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, FiberId } from "effect"
import * as Mutex from "../../src/operation/Mutex.js"

/** Somebody who is alone until told to go. */
const staying = (mutex: Mutex.Mutex) =>
  Effect.gen(function* () {
    const [inside, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const fiber = yield* Effect.fork(
      mutex.alone(Effect.zipRight(Deferred.succeed(inside, undefined), Deferred.await(go)))
    )
    yield* Deferred.await(inside)
    return { leave: Effect.zipRight(Deferred.succeed(go, undefined), Fiber.join(fiber)) }
  })

describe("a mutex", () => {
  it.effect("lets one in at a time, in the order in which they came, whatever becomes of them", () =>
    Effect.gen(function* () {
      const mutex = Mutex.make()
      const [order, together]: [Array<number>, Array<number>] = [[], []]
      let inside = 0
      const visit = (n: number) =>
        mutex.alone(
          Effect.gen(function* () {
            together.push(++inside)
            yield* Effect.yieldNow()
            order.push(n)
            inside--
            if (n % 3 === 1) return yield* Effect.fail("no")
            if (n % 3 === 2) return yield* Effect.die("no")
          })
        )
      const numbers = Array.from({ length: 30 }, (_, n) => n)
      const exits = yield* Effect.forEach(numbers, (n) => Effect.exit(visit(n)), { concurrency: "unbounded" })
      assert.deepStrictEqual(order, numbers)
      assert.deepStrictEqual(new Set(together), new Set([1]))
      assert.lengthOf(exits.filter(Exit.isSuccess), 10)
      assert.isTrue(mutex.isFree())
    })
  )

  it.effect("lets go at once whoever waits, and forgets it", () =>
    Effect.gen(function* () {
      const mutex = Mutex.make()
      const first = yield* staying(mutex)
      const waiting = yield* Effect.fork(mutex.alone(Effect.die("nobody may come here")))
      yield* Effect.yieldNow()
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(waiting)))
      yield* first.leave
      assert.isTrue(mutex.isFree())
    })
  )

  it.effect("gives on the turn of whoever leaves just when it is called", () =>
    Effect.gen(function* () {
      const mutex = Mutex.make()
      const second = yield* Deferred.make<Fiber.RuntimeFiber<unknown>>()
      const [inside, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      // On leaving it calls the second, and interrupts it before that has run on.
      const first = yield* Effect.fork(
        Effect.flatMap(
          mutex.alone(
            Deferred.succeed(inside, undefined).pipe(
              Effect.zipRight(Deferred.await(go)),
              Effect.zipRight(Deferred.await(second))
            )
          ),
          (called) => Fiber.interruptAsFork(called, FiberId.none)
        )
      )
      yield* Deferred.await(inside)
      const waiting = yield* Effect.fork(mutex.alone(Effect.void))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(second, waiting)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(first)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(waiting)))
      const third = yield* Effect.fork(mutex.alone(Effect.succeed("third")))
      assert.strictEqual(yield* Fiber.join(third), "third")
      assert.isTrue(mutex.isFree())
    })
  )

  it.effect("wakes one at a time of however many wait", () =>
    Effect.gen(function* () {
      const mutex = Mutex.make()
      const count = 20_000
      let done = 0
      const first = yield* staying(mutex)
      const all = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: count }),
          () =>
            mutex.alone(
              Effect.sync(() => {
                done++
              })
            ),
          { concurrency: "unbounded", discard: true }
        )
      )
      yield* Effect.yieldNow()
      yield* first.leave
      yield* Fiber.join(all)
      assert.strictEqual(done, count)
    })
  )
})
