/**
 * What is said when the process ends before the command does: a seed ended it, or somebody asked for the second time.
 */
import * as Option from "effect/Option"
import { writeSync } from "node:fs"

/** Why the command is being ended from outside its own work: what was thrown where nobody could catch it. */
let blamed = Option.none<unknown>()

let words: (reason: string) => Option.Option<string> = () => Option.none()

/** Sets what is written to stdout if the process ends now, given the reason. */
export const set = (next: (reason: string) => Option.Option<string>): void => {
  words = next
}

/** The command has said what there is to say. */
export const unset = (): void => {
  words = () => Option.none()
}

/** Writes them, at once and for good: nothing asynchronous happens any more. */
export const write = (reason: string): void => {
  const text = words(reason)
  unset()
  if (Option.isSome(text)) writeSync(1, `${text.value}\n`)
}

/** Notes what was thrown where nobody could catch it. */
export const blame = (reason: unknown): void => {
  if (Option.isNone(blamed)) blamed = Option.some(reason)
}

/** What was noted. */
export const blamedFor = (): Option.Option<unknown> => blamed
