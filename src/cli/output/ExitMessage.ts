/**
 * What is said when the process ends before the command does: a seed ended it, or somebody asked for the second time.
 */
import * as Option from "effect/Option"
import { writeSync } from "node:fs"

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
  if (Option.isNone(text)) return
  try {
    writeSync(1, `${text.value}\n`)
  } catch {
    // Nobody reads it any more, and there is no later to tell anybody else.
  }
}
