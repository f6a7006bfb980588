/**
 * The format of stderr: logs and lines for people as text, or all of them as JSON entries of the log.
 */
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as LogLevel from "effect/LogLevel"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { withoutColour } from "./Colour.js"
import * as ExitMessage from "./ExitMessage.js"
import * as StandardStreams from "./StandardStreams.js"
import { Terminal } from "./Terminal.js"

/** The options that decide it. */
export interface Format {
  readonly json: boolean
  readonly logFormat: "text" | "json"
}

type Action = Effect.Effect<number, never, Terminal>

/** The action with its logs on stderr; with `--json` stdout is the document's alone. */
export const configured = ({ json, logFormat }: Format, action: Action): Action => {
  const asEntries = logFormat === "json"
  const logging = Logger.replace(
    Logger.defaultLogger,
    Logger.withConsoleError(asEntries ? Logger.jsonLogger : textLogger)
  )
  return Effect.zipRight(json ? StandardStreams.keepStdoutForResults : Effect.void, action).pipe(
    asEntries ? inEntries : identity,
    Effect.provide(logging)
  )
}

/** The action whose lines for people are entries of the log: a program that reads entries reads no other line, nor a live one. */
const inEntries = (action: Action): Action =>
  Effect.zipRight(
    Effect.sync(ExitMessage.sayLogEntries),
    Effect.updateService(action, Terminal, (terminal) => ({
      ...terminal,
      interactive: false,
      live: () => Effect.void,
      err: logged
    }))
  )

/** Logs a line for people, at the level that its first word names. */
const logged = (line: string): Effect.Effect<void> => {
  const [, word, rest] = /^(error|warning|problem): (.*)$/s.exec(withoutColour(line)) ?? []
  if (word === undefined) return Effect.logInfo(withoutColour(line))
  return word === "warning" ? Effect.logWarning(rest) : Effect.logError(rest)
}

/** Writes an entry as its seed, its level from warnings on, and its message. */
const textLogger = Logger.make<unknown, string>(({ annotations, logLevel, message }) => {
  const seed = Option.getOrNull(HashMap.get(annotations, "seed"))
  const text = Array.isArray(message) ? message.map(String).join(" ") : String(message)
  const level = LogLevel.greaterThanEqual(logLevel, LogLevel.Warning) ? `${logLevel.label.toLowerCase()}: ` : ""
  return `${typeof seed === "string" ? `[${seed}] ` : ""}${level}${text}`
})
