/**
 * The words of a command line, as far as they are looked at before and after the command library: what is asked of no command in particular,
 * and what is wrong where the library does not see it or does not say it. Pure.
 */
import * as Option from "effect/Option"
import type { CommandDescription, OptionDescription } from "../CommandDescription.js"
import * as Spelling from "./Spelling.js"

/** The shell that completions are asked for, if they are. */
export const completionsShell = ([first = "", second = ""]: ReadonlyArray<string>): Option.Option<string> => {
  const [option, value = second] = first.split("=")
  return option === "--completions" ? Option.some(value) : Option.none()
}

/** What help is asked for: the name of a command, or an empty text for all of them. */
export const helpTopic = (
  words: ReadonlyArray<string>,
  commands: ReadonlyArray<CommandDescription>
): Option.Option<string> => {
  const [first = "--help"] = words
  if (isHelp(first)) return Option.some("")
  return commands.some(({ name }) => name === first) && words.some(isHelp) ? Option.some(first) : Option.none()
}

/** Whether a word asks for help. */
export const isHelp = (word: string): boolean => word === "--help" || word === "-h"

/** Whether a document is asked for, also where the rest cannot be understood. */
export const asksForJson = (words: ReadonlyArray<string>): boolean => words.some((word) => /^--json(=|$)/.test(word))

/**
 * The reason why a command line is wrong, where the library takes it for something else: a word that is no command, an option as the value of
 * another one, options of the library's own.
 */
export const mistake = (
  words: ReadonlyArray<string>,
  commands: ReadonlyArray<CommandDescription>
): Option.Option<string> => {
  const [first = ""] = words
  const command = commands.find(({ name }) => name === first)
  if (command === undefined) {
    const names = commands.map(({ name }) => name)
    return first === "--version"
      ? Option.none()
      : Option.some(`"${first}" is no command${suggestion(first, names)}; there are: ${names.join(", ")}`)
  }
  const foreign = words.find((word) => /^--(wizard|log-level|completions|version)(=|$)/.test(word))
  if (foreign !== undefined) return Option.some(`${command.name} has no option ${foreign}`)
  return Option.map(withoutValue(words, command), givenOnce)
}

/** The option that takes a value and has none: it is the last word, or another option follows it. */
const withoutValue = (
  words: ReadonlyArray<string>,
  { options }: CommandDescription
): Option.Option<OptionDescription> => {
  const isOption = (word = "") => options.some(({ name }) => word.split("=")[0] === `--${name}`)
  const isBare = (at: number) => at + 1 === words.length || isOption(words[at + 1])
  return Option.fromNullable(
    options.find(
      ({ name, value }) => Option.isSome(value) && words.some((word, at) => word === `--${name}` && isBare(at))
    )
  )
}

const givenOnce = ({ name, value }: OptionDescription): string =>
  `--${name} must be given once${Option.match(value, { onNone: () => "", onSome: (of) => ` and with a value: --${name} ${of.name}` })}`

/** The reason why the library refuses a command line: its own `text`, and the option that this leaves out. */
export const refusal = (
  words: ReadonlyArray<string>,
  commands: ReadonlyArray<CommandDescription>,
  text: string
): string => {
  const options = commands.find(({ name }) => words.includes(name))?.options ?? []
  const [, unknown] = /^Received unknown argument: '--(.+)'$/.exec(text) ?? []
  const known = options.find(({ name }) => name === unknown)
  if (known !== undefined) return givenOnce(known)
  const names = options.map(({ name }) => `--${name}`)
  if (unknown !== undefined) return `${text}${suggestion(`--${unknown}`, names)}`
  if (!text.startsWith("Expected one of the following cases")) return text
  const misfit = options.find((option) => hasOtherWord(words, option))
  return misfit === undefined ? text : `--${misfit.name}: ${text}`
}

const suggestion = (given: string, words: ReadonlyArray<string>): string =>
  Option.match(Spelling.meant(given, words), { onNone: () => "", onSome: (word) => ` (did you mean ${word}?)` })

/** Whether the value that an option was given is none of the words that it takes. */
const hasOtherWord = (words: ReadonlyArray<string>, { name, value }: OptionDescription): boolean =>
  words.some((word, at) => {
    const [option, given = words[at + 1]] = word.split("=")
    return (
      option === `--${name}` && Option.exists(value, (of) => of.kind === "words" && !of.words.includes(given ?? ""))
    )
  })
