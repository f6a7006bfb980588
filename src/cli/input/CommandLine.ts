/**
 * The words of the command line, as data: what help and completions are written from. They are read from the command library's own
 * description of each command, so that nothing is said twice.
 */
import * as CliConfig from "@effect/cli/CliConfig"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import type { HelpDoc } from "@effect/cli/HelpDoc"
import type { Span } from "@effect/cli/HelpDoc/Span"
import * as Command from "@effect/cli/Command"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"

/** What the value of an option is: words to choose from, something on the disk, or any text; `name` stands for it in help. */
export interface Value {
  readonly name: string
  readonly kind: "words" | "folder" | "file" | "text"
  readonly words: ReadonlyArray<string>
}

export interface OptionWord {
  /** Without its dashes. */
  readonly name: string
  readonly about: string
  /** None for a switch. */
  readonly value: Option.Option<Value>
}

export interface CommandWord {
  readonly name: string
  readonly about: string
  readonly example: string
  /** Positional, by their names in angle brackets: `<id>`, or `[<id>]` where it may be left out. */
  readonly arguments: ReadonlyArray<{ readonly name: string; readonly about: string }>
  readonly options: ReadonlyArray<OptionWord>
}

/** A description as a command has it: what it does, and how it is typed. */
export const describe = (about: string, example: string): string => `${about}${separator}${example}`

/** The library's own options are no concern of a single command. */
const config: CliConfig.CliConfig = { ...CliConfig.defaultConfig, showBuiltIns: false }

const separator = "\nExample: "

/** The subcommands of `command`, in the order of `names`. */
export const read = <Name extends string, R, E, A>(
  command: Command.Command<Name, R, E, A>,
  names: ReadonlyArray<string>
): ReadonlyArray<CommandWord> => {
  const descriptors = Command.getSubcommands(command)
  return names.flatMap((name) =>
    Option.toArray(
      Option.map(HashMap.get(descriptors, name), (descriptor) =>
        wordOf(name, sectionsOf(CommandDescriptor.getHelp(descriptor, config)))
      )
    )
  )
}

type Definition = readonly [term: string, texts: ReadonlyArray<string>]

/** What a help document says, under each of its headers. */
interface Section {
  readonly title: string
  readonly texts: Array<string>
  readonly definitions: Array<Definition>
}

const sectionsOf = (doc: HelpDoc): ReadonlyArray<Section> => {
  const sections: Array<Section> = [{ title: "", texts: [], definitions: [] }]
  for (const part of flat(doc)) {
    const last = sections.at(-1)
    if (part._tag === "Header") sections.push({ title: textOf(part.value), texts: [], definitions: [] })
    else if (part._tag === "Paragraph") last?.texts.push(textOf(part.value))
    else if (part._tag === "DescriptionList") {
      for (const [term, about] of part.definitions) {
        last?.definitions.push([
          textOf(term),
          flat(about).flatMap((p) => (p._tag === "Paragraph" ? [textOf(p.value)] : []))
        ])
      }
    }
  }
  return sections
}

const flat = (doc: HelpDoc): ReadonlyArray<HelpDoc> =>
  doc._tag === "Sequence" ? [...flat(doc.left), ...flat(doc.right)] : [doc]

const textOf = (span: Span): string => {
  switch (span._tag) {
    case "Sequence":
      return textOf(span.left) + textOf(span.right)
    case "Text":
    case "URI":
      return span.value
    default:
      return textOf(span.value)
  }
}

const wordOf = (name: string, sections: ReadonlyArray<Section>): CommandWord => {
  const under = (title: string) => sections.find((section) => section.title === title)
  const [about = "", example = ""] = (under("DESCRIPTION")?.texts.join(" ") ?? "").split(separator)
  return {
    name,
    about,
    example,
    arguments: (under("ARGUMENTS")?.definitions ?? []).map(([term, texts]) => ({
      name: texts.includes(isOptional) ? `[${term}]` : term,
      about: aboutOf(texts)
    })),
    options: (under("OPTIONS")?.definitions ?? []).map(([term, texts]) => {
      const [option = "", ...rest] = term.split(" ")
      return { name: option.replace(/^--/, ""), about: aboutOf(texts), value: valueOf(rest.join(" ")) }
    })
  }
}

const isOptional = "This setting is optional."

/** The first paragraph names the library's type, the last one says whether it may be left out. */
const aboutOf = ([, about = "", ...rest]: ReadonlyArray<string>): string => {
  if (about === isOptional) return ""
  return rest.includes(isOptional) ? about : `${about} (required)`
}

const kinds: { readonly [name: string]: "folder" | "file" } = { dir: "folder", folder: "folder", file: "file" }

const valueOf = (text: string): Option.Option<Value> => {
  if (text === "") return Option.none()
  const words = text.split(" | ")
  return Option.some(
    words.length > 1
      ? { name: words.join("|"), kind: "words", words }
      : { name: `<${text}>`, kind: kinds[text] ?? "text", words: [] }
  )
}
