/**
 * The pages of help: all commands on one, and one a command with its options and an example. Pure.
 */
import * as Option from "effect/Option"
import type { CommandDescription, OptionDescription } from "../CommandDescription.js"
import * as Layout from "./Layout.js"

/** The page of the command of this name, or of all where there is none of it. `width` is the terminal's, in columns. */
export const page = (
  version: string,
  commands: ReadonlyArray<CommandDescription>,
  name: string,
  width: number
): string => {
  const command = commands.find((candidate) => candidate.name === name)
  return (command === undefined ? overview(version, commands, width) : details(command, width)).join("\n")
}

const overview = (
  version: string,
  commands: ReadonlyArray<CommandDescription>,
  width: number
): ReadonlyArray<string> => [
  `es-ops ${version}: operations for event-sourced applications on PostgreSQL`,
  "",
  "Usage: es-ops <command> [options]",
  "",
  ...terms(
    commands.map((command) => [typed(command), command.about]),
    width
  ),
  "",
  ...Layout.wrapped("The database is the one that DATABASE_URL names, or say --embedded for a local one.", width),
  "es-ops <command> --help shows the options of a command.",
  "es-ops --completions bash|zsh|fish prints completions for a shell.",
  "",
  "For example: es-ops seed:new fill-display-names"
]

const details = (command: CommandDescription, width: number): ReadonlyArray<string> => [
  command.about,
  "",
  `Usage: es-ops ${typed(command)} [options]`,
  "",
  ...terms(
    [
      ...command.arguments.map((argument): readonly [string, string] => [argument.name, argument.about]),
      ...command.options.map((option): readonly [string, string] => [flag(option), option.about])
    ],
    width
  ),
  "",
  `For example: es-ops ${command.example}`
]

const typed = ({ arguments: args, name }: CommandDescription): string =>
  [name, ...args.map((arg) => arg.name)].join(" ")

const flag = ({ name, value }: OptionDescription): string =>
  [`--${name}`, ...Option.toArray(Option.map(value, (of) => of.name))].join(" ")

/** Terms with what they mean beside them, in lines that fit. */
const terms = (list: ReadonlyArray<readonly [string, string]>, width: number): ReadonlyArray<string> => {
  const left = Math.max(...list.map(([term]) => term.length)) + 4
  return list.flatMap(([term, about]) => {
    const [first = "", ...rest] = Layout.wrapped(about, Math.max(30, width - left))
    return [`  ${term}`.padEnd(left) + first, ...rest.map((line) => "".padEnd(left) + line)]
  })
}
