/**
 * What a handler of a replay tried to write: it fails by that, whether it caught the refusal or not.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { ReplayWrites } from "./ReplayError.js"

/** What the handler under way tried to write first, and how it ends because of that. */
export const make = () => {
  let first: ReplayWrites | undefined
  return {
    refuse: (what: ReplayWrites): void => {
      first ??= what
    },
    ending: <A, E>(exit: Exit.Exit<A, E>): Exit.Exit<A, E | ReplayWrites> => {
      const refused = first
      first = undefined
      return refused !== undefined && (Exit.isSuccess(exit) || Cause.isFailure(exit.cause)) ? Exit.fail(refused) : exit
    }
  }
}
