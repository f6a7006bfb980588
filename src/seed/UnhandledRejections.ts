/**
 * Unhandled rejections of promises that a seed derived from those that it was given, such as an async function that it did not await. By default
 * they end a Node process. And the rejection that made a program end in order, which the interrupted attempt names as its cause.
 */
import * as Option from "effect/Option"
import process from "node:process"

/** Whether a rejection belongs to a seed, and so is no reason to end the process. */
type IsOurs = (reason: unknown) => boolean

const watchers = new Set<IsOurs>()

/** Whether somebody watches for this rejection, and so answers for it. */
export const isWatched = (reason: unknown): boolean => [...watchers].filter((isOurs) => isOurs(reason)).length > 0

/** Where there is a listener, Node leaves the decision to it: other rejections end the process as they would have, unless others listen as well. */
const listener = (reason: unknown): void => {
  if (isWatched(reason) || process.listenerCount("unhandledRejection") > 1) return
  throw reason
}

/** Answers for rejections until it is ended. */
export const watch = (isOurs: IsOurs): { readonly end: () => void } => {
  if (watchers.size === 0) process.on("unhandledRejection", listener)
  watchers.add(isOurs)
  return {
    end: () => {
      watchers.delete(isOurs)
      if (watchers.size === 0) process.off("unhandledRejection", listener)
    }
  }
}

/** The next turn of the event loop: Node reports rejections without a handler before it. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

let isAnswering = false

/** Answers for rejections for the life of the process: what a seed left behind may reject long after its run. */
export const answerFor = (isOurs: IsOurs): void => {
  if (!isAnswering) watch(isOurs)
  isAnswering = true
}

let blamed = Option.none<unknown>()

/**
 * Notes what was thrown where nobody could catch it, and is why the run is interrupted; the first one stands in the attempt. It is no failure of
 * the seed that was interrupted: it may come from one before it, or from the application.
 */
export const blame = (reason: unknown): void => {
  if (Option.isNone(blamed)) blamed = Option.some(reason)
}

/** What was noted first, if anything was. */
export const blamedFor = (): Option.Option<unknown> => blamed
