/**
 * The command: its words, and which call each of them is.
 */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import type * as CliApp from "@effect/cli/CliApp"
import * as ValidationError from "@effect/cli/ValidationError"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { UsageError } from "./Failure.js"
import * as SeedCommands from "./SeedCommands.js"
import { keepStdoutForResults, Terminal, withoutColour } from "./Terminal.js"

/** What a command line asks for: done after its words are understood. */
type Action = Effect.Effect<number, never, Terminal>

const version = "0.1.0"

/** What the command needs of its process. */
export type Requirements = Terminal | CliApp.CliApp.Environment

/** Runs the command of `argv` (executable and script first); gives the exit code. */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<number, never, Requirements> =>
  Effect.gen(function* () {
    const chosen = yield* Ref.make(Option.none<Action>())
    const choose = (given: { readonly json: boolean; readonly logFormat: "text" | "json" }, action: Action) =>
      Ref.set(chosen, Option.some(prepared(given, action)))

    const apply = Command.make("seed:apply", SeedCommands.applyOptions, (given) =>
      choose(given, SeedCommands.apply(given))
    ).pipe(
      Command.withDescription("Applies the pending seeds, each exactly once. Example: es-ops seed:apply --embedded")
    )
    const status = Command.make("seed:status", SeedCommands.statusOptions, (given) =>
      choose(given, SeedCommands.status(given))
    ).pipe(Command.withDescription("Shows every seed with its state. Example: es-ops seed:status --check"))
    const command = Command.make("es-ops").pipe(
      Command.withDescription("Operations for event-sourced applications on PostgreSQL"),
      Command.withSubcommands([apply, status])
    )

    const words = Command.run(command, { name: "es-ops", version })(argv)
    const failure = yield* words.pipe(
      Effect.provide(CliConfig.layer({ showBuiltIns: false })),
      // The library prints usage errors by itself; ours come with the exit code and the document.
      quietly,
      Effect.as(Option.none<ValidationError.ValidationError>()),
      Effect.catchAll((error) => Effect.succeedSome(error))
    )
    if (Option.isSome(failure)) return yield* reportUsage(argv, failure.value)
    return yield* Option.getOrElse(yield* Ref.get(chosen), () => Effect.succeed(0))
  })

const reportUsage = (argv: ReadonlyArray<string>, error: ValidationError.ValidationError) => {
  const usage = new UsageError({ reason: withoutColour(HelpDoc.toAnsiText(error.error)).trim() })
  const json = argv.includes("--json")
  return json && argv.includes("seed:apply") ? SeedCommands.reportUnrun(usage) : SeedCommands.reportError(json, usage)
}

/** Logs go to stderr; with `--json` stdout is the document's alone. */
const prepared = (given: { readonly json: boolean; readonly logFormat: "text" | "json" }, action: Action): Action => {
  const logger = given.logFormat === "json" ? Logger.jsonLogger : textLogger
  const logging = Logger.replace(Logger.defaultLogger, Logger.withConsoleError(logger))
  return Effect.zipRight(given.json ? keepStdoutForResults : Effect.void, action).pipe(Effect.provide(logging))
}

/** A level, a message, and the seed that it belongs to. */
const textLogger = Logger.make<unknown, string>(({ annotations, logLevel, message }) => {
  const seed = Option.getOrNull(HashMap.get(annotations, "seed"))
  const text = Array.isArray(message) ? message.map(String).join(" ") : String(message)
  const level = LogLevel.greaterThanEqual(logLevel, LogLevel.Warning) ? `${logLevel.label.toLowerCase()}: ` : ""
  return `${typeof seed === "string" ? `[${seed}] ` : ""}${level}${text}`
})

const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Terminal> =>
  Effect.flatMap(Terminal, ({ help }) =>
    Console.consoleWith((console) =>
      Console.withConsole(effect, { ...console, error: () => Effect.void, log: (...lines) => help(lines.join(" ")) })
    )
  )
