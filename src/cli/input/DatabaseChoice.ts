/**
 * Which database a command works on: the one that it was told, and no other.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { resolve } from "node:path"
import type { SettingError } from "../../operation/OperationConfig.js"
import type { FileSettings } from "./ConfigFile.js"
import { UsageError } from "../output/Failure.js"
import type { Invalid } from "./Setting.js"
import { byOption, byVariable, fromEnv } from "./Setting.js"

export type Database =
  | { readonly _tag: "Server"; readonly url: string; readonly shown: string; readonly note: Option.Option<string> }
  | { readonly _tag: "Embedded"; readonly folder: string; readonly shown: string; readonly note: Option.Option<string> }

/** The options that name one. */
interface Given {
  readonly databaseUrl: Option.Option<string>
  readonly embedded: boolean
  readonly embeddedDir: Option.Option<string>
}

/** The option's, or else the environment's, or else the file's; two of one kind are refused, and so is none. */
export const choose = (given: Given, file: FileSettings): Effect.Effect<Database, UsageError | SettingError> =>
  Effect.gen(function* () {
    const urlVariable = yield* fromEnv("DATABASE_URL")
    const folderVariable = yield* fromEnv("ES_OPS_EMBEDDED")
    const embedded = given.embedded || Option.isSome(given.embeddedDir)
    const url = given.databaseUrl
    if (Option.contains(url, "")) {
      return yield* new UsageError({ reason: "--database-url is empty: it names no database" })
    }
    if (Option.contains(given.embeddedDir, "")) {
      return yield* new UsageError({ reason: "--embedded-dir is empty: it names no folder" })
    }
    if (embedded && Option.isSome(url)) {
      return yield* new UsageError({ reason: "--database-url and --embedded name two databases: give one of them" })
    }
    if (embedded) {
      const folder = Option.orElse(given.embeddedDir, () => folderVariable)
      return embeddedIn(
        Option.getOrElse(folder, () => ".es-ops"),
        ignored("DATABASE_URL", urlVariable)
      )
    }
    if (Option.isSome(url))
      return yield* server(url.value, byOption("database-url"), ignored("ES_OPS_EMBEDDED", folderVariable))
    if (Option.isSome(urlVariable) && Option.isSome(folderVariable)) {
      const reason =
        "DATABASE_URL and ES_OPS_EMBEDDED name two databases: unset one of them, or say --embedded or --database-url"
      return yield* new UsageError({ reason })
    }
    if (Option.isSome(urlVariable)) return yield* server(urlVariable.value, byVariable("DATABASE_URL"), Option.none())
    if (Option.isSome(folderVariable)) return embeddedIn(folderVariable.value, Option.none())
    if (file.databaseUrl !== undefined && file.databaseUrl !== "") {
      return yield* server(file.databaseUrl, byVariable("databaseUrl"), Option.none())
    }
    const reason = "no database is named: set DATABASE_URL to postgres://…, or say --embedded for a local one"
    return yield* new UsageError({ reason })
  })

const ignored = (name: string, value: Option.Option<string>): Option.Option<string> =>
  Option.map(value, () => `${name} is set, but ignored: the option wins`)

const embeddedIn = (folder: string, note: Option.Option<string>): Database => ({
  _tag: "Embedded",
  folder: resolve(folder),
  shown: `embedded:${resolve(folder)}`,
  note
})

/** Parsed before the driver sees it: the driver would take any text for the name of a database. */
const server = (text: string, invalid: Invalid, note: Option.Option<string>) => {
  if (!/^postgres(ql)?:\/\//.test(text)) {
    return Effect.fail(invalid("it is not a URL that begins with postgres:// or postgresql://"))
  }
  const url = URL.canParse(text) ? new URL(text) : undefined
  // An @ behind the host: the host was a part of the password, and what is shown of the URL would have the rest of it.
  if (url === undefined || /@/.test(url.pathname + url.hash) || /^\?[^=]*@/.test(url.search)) {
    const reason =
      "it is not a URL that can be read: is the port a number up to 65535, and are / # ? @ in the password percent-encoded?"
    return Effect.fail(invalid(reason))
  }
  return Effect.succeed<Database>({ _tag: "Server", url: text, shown: hidden(url), note })
}

/** The URL with its password hidden, wherever it stands. */
const hidden = (url: URL): string => {
  const shown = new URL(url)
  if (shown.password !== "") shown.password = "***"
  if (shown.searchParams.has("password")) shown.searchParams.set("password", "***")
  return shown.href
}
