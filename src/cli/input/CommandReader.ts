/**
 * The descriptions of the commands, read from the help documents of the command library, so that each fact is written once: where the command
 * is declared.
 */
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
import type { HelpDoc } from "@effect/cli/HelpDoc"
import type { Span } from "@effect/cli/HelpDoc/Span"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import type { CommandDescription, OptionValue } from "../CommandDescription.js"

/** The text that a command is declared with: what it does, and how it is typed. */
export const descriptionText = (about: string, example: string): string => `${about}${separator}${example}`

/** Without the library's own options, which no single command has. */
const config: CliConfig.CliConfig = { ...CliConfig.defaultConfig, showBuiltIns: false }

const separator = "\nExample: "

/** Reads the subcommands of `command`, in the order of `names`. */
export const read = <Name extends string, R, E, A>(
  command: Command.Command<Name, R, E, A>,
  names: ReadonlyArray<string>
): ReadonlyArray<CommandDescription> => {
  const descriptors = Command.getSubcommands(command)
  return names.flatMap((name) =>
    Option.toArray(
      Option.map(HashMap.get(descriptors, name), (descriptor) =>
        commandOf(name, sectionsOf(CommandDescriptor.getHelp(descriptor, config)))
      )
    )
  )
}

type Definition = readonly [term: string, texts: ReadonlyArray<string>]

/** One section of a help document: what stands under a header. */
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

const commandOf = (name: string, sections: ReadonlyArray<Section>): CommandDescription => {
  const under = (title: string) => sections.find((section) => section.title === title)
  const [about = "", example = ""] = (under("DESCRIPTION")?.texts.join(" ") ?? "").split(separator)
  return {
    name,
    about,
    example,
    arguments: (under("ARGUMENTS")?.definitions ?? []).map(([term, texts]) => ({
      name: isLeftOut(term, texts) ? `[${term}]` : term,
      about: isLeftOut(term, texts) ? aboutOf([...texts, isOptional]) : aboutOf(texts)
    })),
    options: (under("OPTIONS")?.definitions ?? []).map(([term, texts]) => {
      const [option = "", ...rest] = term.split(" ")
      return { name: option.replace(/^--/, ""), about: aboutOf(texts), value: valueOf(rest.join(" ")) }
    })
  }
}

/** The library's sentence about what may be left out. */
const isOptional = "This setting is optional."

/** A list may be empty, which the library does not say. */
const isLeftOut = (term: string, texts: ReadonlyArray<string>): boolean =>
  texts.includes(isOptional) || term.endsWith("...")

/** The first paragraph names the library's type, the last one says whether it may be left out. */
const aboutOf = ([, about = "", ...rest]: ReadonlyArray<string>): string => {
  if (about === isOptional) return ""
  return rest.includes(isOptional) ? about : `${about} (required)`
}

const kinds: { readonly [name: string]: "folder" | "file" } = { dir: "folder", folder: "folder", file: "file" }

const valueOf = (text: string): Option.Option<OptionValue> => {
  if (text === "") return Option.none()
  const words = text.split(" | ")
  return Option.some(
    words.length > 1
      ? { name: words.join("|"), kind: "words", words }
      : { name: `<${text}>`, kind: kinds[text] ?? "text", words: [] }
  )
}
