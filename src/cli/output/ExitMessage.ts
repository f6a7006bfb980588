/**
 * The last message of a process that ends before its command does, because a seed ended it or a second signal came: it is written at once, as
 * nothing asynchronous happens any more.
 */
import * as Option from "effect/Option"
import { writeSync } from "node:fs"
import { stderr } from "node:process"

const nothing = (): Option.Option<string> => Option.none()

const state: { results: (reason: string) => Option.Option<string>; asLogEntries: boolean } = {
  results: nothing,
  asLogEntries: false
}

/** Sets what is written to stdout if the process ends now, made of the reason. */
export const set = (results: (reason: string) => Option.Option<string>): void => {
  state.results = results
}

/** Takes it back: the command writes its results itself. */
export const unset = (): void => {
  state.results = nothing
}

/** Writes to stdout what was set, once. */
export const writeResults = (reason: string): void => {
  const text = state.results(reason)
  unset()
  if (Option.isNone(text)) return
  try {
    writeSync(1, `${text.value}\n`)
  } catch {
    // Nobody reads stdout any more, and there is no later in which to say so.
  }
}

/** Makes an entry of the log of each message from here on. */
export const sayLogEntries = (): void => {
  state.asLogEntries = true
}

/** Writes an error to stderr, where neither a terminal nor a logger can do it any more. */
export const sayError = (_tag: string, message: string): void => {
  const entry = { message, logLevel: "ERROR", timestamp: new Date().toISOString(), annotations: { _tag } }
  stderr.write(state.asLogEntries ? `${JSON.stringify(entry)}\n` : `error: ${message}\n`)
}
