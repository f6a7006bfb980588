/**
 * What has time to end, and what may not be cut short.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, TestClock } from "effect"
import * as BoundedWait from "../../src/operation/BoundedWait.js"

/** An undoing that says when it begins, and how it came to its end. */
const undoing = Effect.gen(function* () {
  const begun = yield* Deferred.make<void>()
  const end = yield* Deferred.make<void>()
  const exit = yield* Deferred.make<Exit.Exit<void>>()
  const effect = Effect.onExit(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(end)), (how) =>
    Deferred.succeed(exit, how)
  )
  return { effect, begun, end, exit }
})

describe("BoundedWait.within", () => {
  it.effect("answers with what it came to", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* BoundedWait.within(Effect.succeed(1), "1 second"), 1)
      assert.strictEqual(yield* Effect.flip(BoundedWait.within(Effect.fail("no"), "1 second")), "no")
    })
  )

  it.effect("ends in time in an uninterruptible region, and interrupts what it waited for", () =>
    Effect.gen(function* () {
      const { begun, effect, exit } = yield* undoing
      const waiting = yield* Effect.fork(Effect.uninterruptible(Effect.flip(BoundedWait.within(effect, "3 seconds"))))
      yield* Deferred.await(begun)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual((yield* Fiber.join(waiting)).message, "it did not end within 3s")
      assert.isTrue(Exit.isInterrupted(yield* Deferred.await(exit)))
    })
  )

  it.effect("is interrupted at once where that is allowed", () =>
    Effect.gen(function* () {
      const { begun, effect, exit } = yield* undoing
      const waiting = yield* Effect.fork(BoundedWait.within(effect, "3 seconds"))
      yield* Deferred.await(begun)
      const how = yield* Fiber.interrupt(waiting)
      assert.isTrue(Exit.isFailure(how) && Cause.isInterruptedOnly(how.cause))
      assert.isTrue(Exit.isInterrupted(yield* Deferred.await(exit)))
    })
  )

  it.effect("goes on to its end in an uninterruptible region, however often its fiber is interrupted", () =>
    Effect.gen(function* () {
      const { begun, effect, end, exit } = yield* undoing
      const waiting = yield* Effect.fork(
        Effect.onInterrupt(Effect.never, () => Effect.orDie(BoundedWait.within(effect, "3 seconds")))
      )
      yield* Effect.yieldNow()
      yield* Fiber.interruptFork(waiting)
      yield* Deferred.await(begun)
      yield* Fiber.interruptFork(waiting)
      // Until whatever the second one reaches has run.
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* Deferred.succeed(end, undefined)
      assert.deepStrictEqual(yield* Deferred.await(exit), Exit.void)
    })
  )
})
