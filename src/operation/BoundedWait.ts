/**
 * A bounded wait ends in time wherever it stands, in an uninterruptible region as well: what has not ended by then goes on by itself, in the
 * background. What is waited for has a fiber that is nobody's child: whoever interrupts a fiber interrupts its children too, also those that an
 * uninterruptible region waits for.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"

/** Waits for `effect`, but no longer than `duration`: it is interrupted then, and not waited for. */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.DurationInput
): Effect.Effect<A, E | Cause.TimeoutException, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<A, E | Cause.TimeoutException>()
      const running = yield* Effect.forkDaemon(Effect.intoDeferred(Effect.interruptible(effect), ended))
      const late = Effect.suspend(() => Deferred.fail(ended, tooLate(duration)))
      const clock = yield* Effect.forkDaemon(Effect.interruptible(Effect.delay(late, duration)))
      const letGo = Effect.zipRight(
        Fiber.interruptAsFork(clock, FiberId.none),
        Fiber.interruptAsFork(running, FiberId.none)
      )
      return yield* Effect.ensuring(restore(Deferred.await(ended)), letGo)
    })
  )

const tooLate = (duration: Duration.DurationInput): Cause.TimeoutException =>
  new Cause.TimeoutException(`it did not end within ${Duration.format(duration)}`)
