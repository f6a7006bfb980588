/**
 * How logs are written, and what is said to people beside the results: as text, or as entries for a machine.
 */
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import type * as Settings from "../input/Settings.js"
import { keepStdoutForResults, sayEntries, Terminal, withoutColour } from "./Terminal.js"

type Action = Effect.Effect<number, never, Terminal>

/** Logs go to stderr; with `--json` stdout is the document's alone. */
export const prepared = (given: Settings.Given, action: Action): Action => {
  const asEntries = given.logFormat === "json"
  const logging = Logger.replace(
    Logger.defaultLogger,
    Logger.withConsoleError(asEntries ? Logger.jsonLogger : textLogger)
  )
  return Effect.zipRight(given.json ? keepStdoutForResults : Effect.void, action).pipe(
    asEntries ? inEntries : identity,
    Effect.provide(logging)
  )
}

/** Whoever reads entries reads no other line, nor a live one. */
const inEntries = (action: Action): Action =>
  Effect.zipRight(
    Effect.sync(sayEntries),
    Effect.updateService(action, Terminal, (terminal) => ({
      ...terminal,
      interactive: false,
      live: () => Effect.void,
      err: logged
    }))
  )

/** What is said to people, as an entry of the log. */
const logged = (line: string): Effect.Effect<void> => {
  const [, word, rest] = /^(error|warning|problem): (.*)$/s.exec(withoutColour(line)) ?? []
  if (word === undefined) return Effect.logInfo(withoutColour(line))
  return word === "warning" ? Effect.logWarning(rest) : Effect.logError(rest)
}

/** A level, a message, and the seed that it belongs to. */
const textLogger = Logger.make<unknown, string>(({ annotations, logLevel, message }) => {
  const seed = Option.getOrNull(HashMap.get(annotations, "seed"))
  const text = Array.isArray(message) ? message.map(String).join(" ") : String(message)
  const level = LogLevel.greaterThanEqual(logLevel, LogLevel.Warning) ? `${logLevel.label.toLowerCase()}: ` : ""
  return `${typeof seed === "string" ? `[${seed}] ` : ""}${level}${text}`
})
