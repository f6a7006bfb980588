/**
 * How far a seed in batches is, in words. Pure.
 */
import * as Option from "effect/Option"
import type { BatchProgress } from "../../seed/Observer.js"

/** As `1200 of 5000 rows, 400/s, 10 s left`. */
export const rowsText = ({ done, rate, secondsLeft, total }: BatchProgress): string =>
  [
    `${done}${Option.match(total, { onNone: () => "", onSome: (all) => ` of ${all}` })} rows`,
    ...Option.toArray(Option.map(rate, (each) => `${each >= 10 ? Math.round(each) : each.toFixed(1)}/s`)),
    ...Option.toArray(Option.map(secondsLeft, (seconds) => `${seconds} s left`))
  ].join(", ")
