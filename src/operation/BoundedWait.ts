/**
 * A bounded wait works wherever it stands, in an uninterruptible region as well: what has not ended in time goes on by itself, and nobody
 * waits for it any more.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** Waits for `effect`, but no longer than `duration`: it is interrupted then, and not waited for. */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.DurationInput
): Effect.Effect<A, E | Cause.TimeoutException, R> =>
  effect.pipe(Effect.interruptible, Effect.disconnect, Effect.interruptible, Effect.timeout(duration))

/**
 * Waits for `effect` to its end, also when the waiting fiber is interrupted: for something that must not be left in the middle. After an
 * interruption it has `patience` to end; what it came to is the answer then, and the interruption where it did not end.
 */
export const toItsEnd = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  patience: Duration.DurationInput
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.uninterruptible(
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (fiber) =>
      Effect.matchCauseEffect(Effect.interruptible(Fiber.await(fiber)), {
        onSuccess: Effect.succeed,
        onFailure: (interruption) =>
          within(Fiber.await(fiber), patience).pipe(
            Effect.orElse(() => Effect.as(Fiber.interruptFork(fiber), Exit.failCause(interruption)))
          )
      })
    )
  )
