/**
 * UnhandledRejections that nobody handles, of promises that a seed made from those that it was given: an async function that it did not await. By
 * default they end a Node process. And what a program that ends in order because of others says of them.
 */
import * as Option from "effect/Option"
import process from "node:process"

/** Whether a rejection is one of ours, and so no reason to end the process. */
type IsOurs = (reason: unknown) => boolean

const watchers = new Set<IsOurs>()

/** Whether somebody watches for this rejection, and so answers for it. */
export const isWatched = (reason: unknown): boolean => [...watchers].filter((isOurs) => isOurs(reason)).length > 0

/** With a listener Node leaves the decision to it: what is not ours ends the process as it would have, unless others listen as well. */
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

/** The next turn of the event loop: rejections without a handler are told before it. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

let isAnswering = false

/** Answers for rejections for the life of the process: what a seed left behind may reject long after its run. */
export const answerFor = (isOurs: IsOurs): void => {
  if (!isAnswering) watch(isOurs)
  isAnswering = true
}

let blamed = Option.none<unknown>()

/**
 * Notes what was thrown where nobody could catch it, for whoever interrupts the run because of it: the first is said to be why, and stands in the
 * attempt. It is no failure of the seed that was interrupted, as it may be of one before it, or of the application.
 */
export const blame = (reason: unknown): void => {
  if (Option.isNone(blamed)) blamed = Option.some(reason)
}

/** What was noted. */
export const blamedFor = (): Option.Option<unknown> => blamed
