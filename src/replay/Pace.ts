/**
 * The pace of deliveries: so many a second at most, evenly.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Waits until the next one may begin. */
export type Pace = Effect.Effect<void>

/** So many a second. */
export const perSecond = (rate: number): Pace => {
  let next = 0
  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const at = Math.max(now, next)
    next = at + 1000 / rate
    return at > now ? Effect.sleep(at - now) : Effect.void
  })
}
