/**
 * A bounded wait ends in time wherever it stands, in an uninterruptible region as well: what has not ended by then goes on by itself, in the
 * background.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** Waits for `effect`, but no longer than `duration`: it is interrupted then, and not waited for. */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  duration: Duration.DurationInput
): Effect.Effect<A, E | Cause.TimeoutException, R> =>
  effect.pipe(Effect.interruptible, Effect.disconnect, Effect.interruptible, Effect.timeout(duration))
