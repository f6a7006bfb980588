/**
 * The command `es-ops`: from the words of a command line to an exit code.
 */
import type * as CliApp from "@effect/cli/CliApp"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Arr from "effect/Array"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { UsageError } from "../UsageError.js"
import { version } from "../Version.js"
import * as CommandLine from "../input/CommandLine.js"
import * as CommandReader from "../input/CommandReader.js"
import { withoutColour } from "../output/Colour.js"
import * as Completions from "../output/Completions.js"
import * as FailureReport from "../output/FailureReport.js"
import * as Help from "../output/Help.js"
import * as Logging from "../output/Logging.js"
import { CurrentCommand } from "../output/NextStep.js"
import { Terminal } from "../output/Terminal.js"
import * as CommandTree from "./CommandTree.js"
import type { Action } from "./Declaration.js"
import * as LoadOnDemand from "./LoadOnDemand.js"

/** What the command needs of its process. */
export type Requirements = Terminal | CliApp.CliApp.Environment

const commandOf = (argv: ReadonlyArray<string>): Option.Option<CommandTree.Name> =>
  Arr.findFirst(CommandTree.names, (name) => name === argv[2])

/** Loads the command of `argv` (executable and script first), which can be interrupted once it runs. */
export const load = (argv: ReadonlyArray<string>): Promise<void> => CommandTree.load(commandOf(argv))

/** Runs the command of `argv`; gives the exit code. */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<number, never, Requirements> => {
  const command = commandOf(argv)
  return Effect.provideService(runWords(argv, command), CurrentCommand, command)
}

const runWords = (
  argv: ReadonlyArray<string>,
  command: Option.Option<CommandTree.Name>
): Effect.Effect<number, never, Requirements> =>
  Effect.gen(function* () {
    const words = argv.slice(2)
    const chosen = yield* Ref.make(Option.none<Action>())
    const tree = yield* CommandTree.make(
      (given, action) => Ref.set(chosen, Option.some(Logging.configured(given, action))),
      command
    )
    const commands = CommandReader.read(tree, CommandTree.names)
    const { out, width } = yield* Terminal

    const shell = CommandLine.completionsShell(words)
    if (Option.isSome(shell)) {
      return yield* Option.match(Completions.script(commands, shell.value), {
        onNone: () => refuse(words, "--completions: say bash, zsh or fish"),
        onSome: (script) => Effect.as(out(script), 0)
      })
    }
    const topic = CommandLine.helpTopic(words, commands)
    if (Option.isSome(topic)) return yield* Effect.as(out(Help.page(version, commands, topic.value, width)), 0)
    const mistake = CommandLine.mistake(words, commands)
    if (Option.isSome(mistake)) return yield* refuse(words, mistake.value)

    const refusal = yield* understand(tree, argv)
    if (Option.isSome(refusal)) return yield* refuse(words, CommandLine.refusal(words, commands, refusal.value))
    return yield* Option.getOrElse(yield* Ref.get(chosen), () => Effect.succeed(0))
  })

/** Has the library read the command line, which chooses an action; gives the text of its refusal, if it refuses. */
const understand = (tree: Effect.Effect.Success<ReturnType<typeof CommandTree.make>>, argv: ReadonlyArray<string>) =>
  Command.run(tree, { name: "es-ops", version })(argv.filter((word) => !CommandLine.isHelp(word))).pipe(
    Effect.provide(CliConfig.layer({ showBuiltIns: false })),
    withoutErrors,
    Effect.as(Option.none<string>()),
    Effect.catchAll(({ error }) => Effect.succeedSome(withoutColour(HelpDoc.toAnsiText(error)).trim()))
  )

/** The library prints usage errors by itself, on stdout; here they come with an exit code and a document. */
const withoutErrors = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Terminal> =>
  Effect.flatMap(Terminal, ({ out }) =>
    Console.consoleWith((console) =>
      Console.withConsole(effect, {
        ...console,
        error: () => Effect.void,
        log: (...lines) => out(withoutColour(lines.join(" ")).trim())
      })
    )
  )

/** Reports a command line that cannot be used. */
const refuse = (words: ReadonlyArray<string>, reason: string): Effect.Effect<number, never, Terminal> => {
  const usage = new UsageError({ reason })
  const json = CommandLine.asksForJson(words)
  if (!json || words[0] !== "seed:apply") return FailureReport.write(json, usage)
  return Effect.flatMap(Effect.promise(LoadOnDemand.load), ({ reportNotStarted }) => reportNotStarted(usage))
}
