/**
 * The pace of deliveries: so many a second at most, evenly.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { ReplayBoundsInvalid } from "./ReplayError.js"

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

/** How fast, and how many streams side by side. */
export interface Speed {
  readonly rate?: number | undefined
  readonly concurrency?: number | undefined
  readonly lanes?: number | undefined
}

/** What is wrong with the pace: one that delivers nothing would wait for ever, or end as if all were delivered. */
export const problemOf = ({ concurrency = 1, lanes = 1, rate = 1 }: Speed): ReplayBoundsInvalid | undefined => {
  const isCount = (count: number) => Number.isSafeInteger(count) && count > 0
  if (!(Number.isFinite(rate) && rate > 0)) return new ReplayBoundsInvalid({ reason: "rate is no number above 0" })
  if (!isCount(concurrency)) return new ReplayBoundsInvalid({ reason: "concurrency is no whole number above 0" })
  if (!isCount(lanes)) return new ReplayBoundsInvalid({ reason: "lanes is no whole number above 0" })
  return undefined
}
