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
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as ApplyCommand from "./ApplyCommand.js"
import * as Completions from "../output/Completions.js"
import * as DoctorCommand from "./DoctorCommand.js"
import { UsageError } from "../output/Failure.js"
import * as Help from "../output/Help.js"
import * as LedgerCommands from "./LedgerCommands.js"
import * as Logging from "../output/Logging.js"
import * as NewCommand from "./NewCommand.js"
import { version } from "../process/Program.js"
import * as Report from "../output/Report.js"
import * as SchemaCommand from "./SchemaCommand.js"
import * as Settings from "../input/Settings.js"
import * as StatusCommands from "./StatusCommands.js"
import { Terminal, withoutColour } from "../output/Terminal.js"
import type { CommandWord, OptionWord } from "../input/CommandLine.js"
import * as Words from "../input/CommandLine.js"

/** What a command line asks for: done after its words are understood. */
type Action = Effect.Effect<number, never, Terminal>

/** The commands, in the order of help. */
const names = [
  "seed:new",
  "seed:check",
  "seed:status",
  "seed:apply",
  "seed:mark",
  "seed:unmark",
  "history",
  "schema",
  "doctor"
]

/** What the command needs of its process. */
export type Requirements = Terminal | CliApp.CliApp.Environment

/** Runs the command of `argv` (executable and script first); gives the exit code. */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<number, never, Requirements> =>
  Effect.gen(function* () {
    const chosen = yield* Ref.make(Option.none<Action>())
    const command = commandOf((given, action) => Ref.set(chosen, Option.some(Logging.prepared(given, action))))
    const { out, width } = yield* Terminal
    const words = Words.read(command, names)
    const shell = Completions.requested(argv.slice(2))
    if (Option.isSome(shell)) {
      return yield* Option.match(Completions.script(words, shell.value), {
        onNone: () => reportUsageError(argv, new UsageError({ reason: "--completions: say bash, zsh or fish" })),
        onSome: (script) => Effect.as(out(script), 0)
      })
    }
    const help = Help.requested(argv.slice(2), words)
    if (Option.isSome(help)) return yield* Effect.as(out(Help.page(version, words, help.value, width)), 0)
    const wrong = misunderstood(argv.slice(2), words)
    if (wrong !== undefined) return yield* reportUsageError(argv, new UsageError({ reason: wrong }))
    const failure = yield* Command.run(command, { name: "es-ops", version })(
      argv.filter((word) => !Help.isHelp(word))
    ).pipe(
      Effect.provide(CliConfig.layer({ showBuiltIns: false })),
      // The library prints usage errors by itself; ours come with the exit code and the document.
      quietly,
      Effect.as(Option.none<ValidationError.ValidationError>()),
      Effect.catchAll((error) => Effect.succeedSome(error))
    )
    if (Option.isSome(failure)) return yield* reportUsage(argv, words, failure.value)
    return yield* Option.getOrElse(yield* Ref.get(chosen), () => Effect.succeed(0))
  })

/** All commands; a command line that is understood chooses one. */
const commandOf = (choose: (given: Settings.Given, action: Action) => Effect.Effect<void>) => {
  const described = (about: string, example: string) => Command.withDescription(Words.describe(about, example))
  return Command.make("es-ops").pipe(
    Command.withSubcommands([
      Command.make("seed:new", NewCommand.options, (given) => choose(given, NewCommand.run(given))).pipe(
        described("Writes a new seed file that passes every check", "seed:new fill-display-names")
      ),
      Command.make("seed:check", StatusCommands.checkOptions, (given) =>
        choose(given, StatusCommands.check(given))
      ).pipe(described("Finds everything that can be wrong with the seeds without a database", "seed:check --json")),
      Command.make("seed:status", StatusCommands.statusOptions, (given) =>
        choose(given, StatusCommands.status(given))
      ).pipe(described("Shows every seed with its state", "seed:status --check")),
      Command.make("seed:apply", ApplyCommand.options, (given) => choose(given, ApplyCommand.run(given))).pipe(
        described("Applies the pending seeds, each exactly once", "seed:apply --dry-run")
      ),
      Command.make("seed:mark", LedgerCommands.markOptions, (given) => choose(given, LedgerCommands.mark(given))).pipe(
        described(
          "Records a seed as applied without running it",
          'seed:mark 2026-11-24-fill-display-names --reason "done by hand"'
        )
      ),
      Command.make("seed:unmark", LedgerCommands.markOptions, (given) =>
        choose(given, LedgerCommands.unmark(given))
      ).pipe(
        described(
          "Forgets that a seed was applied, so that it runs again",
          'seed:unmark 2026-11-24-fill-display-names --reason "restored from a backup"'
        )
      ),
      Command.make("history", LedgerCommands.historyOptions, (given) =>
        choose(given, LedgerCommands.history(given))
      ).pipe(described("Shows the attempts, newest first", "history 2026-11-24-fill-display-names")),
      Command.make("schema", SchemaCommand.options, (given) => choose(given, SchemaCommand.run(given))).pipe(
        described("Prints the DDL for an administrator, without a connection", "schema > es-ops.sql")
      ),
      Command.make("doctor", DoctorCommand.options, (given) => choose(given, DoctorCommand.run(given))).pipe(
        described("Looks for what keeps seeds from being applied, and says what to do", "doctor")
      )
    ])
  )
}

const reportUsage = (
  argv: ReadonlyArray<string>,
  words: ReadonlyArray<CommandWord>,
  error: ValidationError.ValidationError
) => {
  const text = withoutColour(HelpDoc.toAnsiText(error.error)).trim()
  const usage = new UsageError({ reason: betterReason(argv, words, text) ?? text })
  return reportUsageError(argv, usage)
}

/** What the library takes for something else: a word that is no command, an option for the value of another one, options of its own. */
const misunderstood = (words: ReadonlyArray<string>, commands: ReadonlyArray<CommandWord>): string | undefined => {
  const [first = ""] = words
  const command = commands.find(({ name }) => name === first)
  if (command === undefined)
    return first === "--version" ? undefined : `"${first}" is no command; there are: ${names.join(", ")}`
  const isOption = (word = "") => command.options.some(({ name }) => word.split("=")[0] === `--${name}`)
  const foreign = words.find((word) => /^--(wizard|log-level|completions|version)(=|$)/.test(word))
  if (foreign !== undefined) return `${command.name} has no option ${foreign}`
  const bare = command.options.find(({ name, value }) =>
    words.some(
      (word, at) => word === `--${name}` && Option.isSome(value) && (at + 1 === words.length || isOption(words[at + 1]))
    )
  )
  return bare === undefined ? undefined : givenOnce(bare)
}

const givenOnce = ({ name, value }: OptionWord): string =>
  `--${name} must be given once${Option.match(value, { onNone: () => "", onSome: (of) => ` and with a value: --${name} ${of.name}` })}`

const reportUsageError = (argv: ReadonlyArray<string>, usage: UsageError) => {
  const json = argv.some((word) => /^--json(=|$)/.test(word))
  return json && argv[2] === "seed:apply" ? ApplyCommand.reportUnrun(usage) : Report.failed(json, usage)
}

/** What the library's message leaves out: which option has a value that is none of its words, or none at all. */
const betterReason = (
  argv: ReadonlyArray<string>,
  words: ReadonlyArray<CommandWord>,
  text: string
): string | undefined => {
  const options = words.find(({ name }) => argv.includes(name))?.options ?? []
  const [, unknown] = /^Received unknown argument: '--(.+)'$/.exec(text) ?? []
  const known = options.find(({ name }) => name === unknown)
  if (known !== undefined) return givenOnce(known)
  if (!text.startsWith("Expected one of the following cases")) return undefined
  const misfit = options.find(({ name, value }) =>
    argv.some((word, at) => {
      const [option, given = argv[at + 1]] = word.split("=")
      return (
        option === `--${name}` && Option.exists(value, (of) => of.kind === "words" && !of.words.includes(given ?? ""))
      )
    })
  )
  return misfit === undefined ? undefined : `--${misfit.name}: ${text}`
}

const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Terminal> =>
  Effect.flatMap(Terminal, ({ out }) =>
    Console.consoleWith((console) =>
      Console.withConsole(effect, {
        ...console,
        error: () => Effect.void,
        log: (...lines) => out(withoutColour(lines.join(" ")).trim())
      })
    )
  )
