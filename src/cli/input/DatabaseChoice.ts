/**
 * The database that a command works on: the one that is named, and no other.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { resolve } from "node:path"
import type { SettingError } from "../../operation/OperationConfig.js"
import { UsageError } from "../UsageError.js"
import type { FileSettings } from "./ConfigFile.js"
import * as ServerUrl from "../../operation/ServerUrl.js"
import * as Setting from "./Setting.js"

/** `shown` is its name for people, without a password; `note` says which variable is set, but not used. */
export type Database =
  | { readonly _tag: "Server"; readonly url: string; readonly shown: string; readonly note: Option.Option<string> }
  | { readonly _tag: "Embedded"; readonly folder: string; readonly shown: string; readonly note: Option.Option<string> }

/** The options that name one. */
interface Given {
  readonly databaseUrl: Option.Option<string>
  readonly embedded: boolean
  readonly embeddedDir: Option.Option<string>
}

/** The variables of the environment that name one. */
interface Variables {
  readonly url: Option.Option<string>
  readonly folder: Option.Option<string>
}

/** What one place names: a database, none, or what cannot be used. */
type Named = Either.Either<Option.Option<Database>, UsageError | SettingError>

/** The option's, or else the environment's, or else the file's; two of one kind are refused, and so is none. */
export const choose = (given: Given, file: FileSettings): Effect.Effect<Database, UsageError | SettingError> =>
  Effect.gen(function* () {
    const variables = {
      url: yield* Setting.variable("DATABASE_URL"),
      folder: yield* Setting.variable("ES_OPS_EMBEDDED")
    }
    const byOption = yield* namedByOption(given, variables)
    if (Option.isSome(byOption)) return byOption.value
    const byVariable = yield* namedByVariable(variables)
    if (Option.isSome(byVariable)) return byVariable.value
    if (file.databaseUrl !== undefined && file.databaseUrl !== "") {
      return yield* server(file.databaseUrl, Setting.invalidKey("databaseUrl"), Option.none())
    }
    const reason = "no database is named: set DATABASE_URL to postgres://…, or say --embedded for a local one"
    return yield* new UsageError({ reason })
  })

const namedByOption = ({ databaseUrl, embedded, embeddedDir }: Given, variables: Variables): Named => {
  const refused = (reason: string) => Either.left(new UsageError({ reason }))
  const isEmbedded = embedded || Option.isSome(embeddedDir)
  if (Option.contains(databaseUrl, "")) return refused("--database-url is empty: it names no database")
  if (Option.contains(embeddedDir, "")) return refused("--embedded-dir is empty: it names no folder")
  if (isEmbedded && Option.isSome(databaseUrl)) {
    return refused("--database-url and --embedded name two databases: give one of them")
  }
  if (isEmbedded) {
    const folder = Option.getOrElse(
      Option.orElse(embeddedDir, () => variables.folder),
      () => ".es-ops"
    )
    return Either.right(Option.some(embeddedIn(folder, ignored("DATABASE_URL", variables.url))))
  }
  if (Option.isNone(databaseUrl)) return Either.right(Option.none())
  const note = ignored("ES_OPS_EMBEDDED", variables.folder)
  return Either.map(server(databaseUrl.value, Setting.invalidOption("database-url"), note), Option.some)
}

const namedByVariable = ({ folder, url }: Variables): Named => {
  if (Option.isSome(url) && Option.isSome(folder)) {
    const reason =
      "DATABASE_URL and ES_OPS_EMBEDDED name two databases: unset one of them, or say --embedded or --database-url"
    return Either.left(new UsageError({ reason }))
  }
  return Option.isSome(url)
    ? Either.map(server(url.value, Setting.invalidKey("DATABASE_URL"), Option.none()), Option.some)
    : Either.right(Option.map(folder, (path) => embeddedIn(path, Option.none())))
}

/** The note about a variable that is set, but not used. */
const ignored = (name: string, value: Option.Option<string>): Option.Option<string> =>
  Option.map(value, () => `${name} is set, but ignored: the option wins`)

const embeddedIn = (folder: string, note: Option.Option<string>): Database => ({
  _tag: "Embedded",
  folder: resolve(folder),
  shown: `embedded:${resolve(folder)}`,
  note
})

const server = (
  text: string,
  invalid: Setting.InvalidValue,
  note: Option.Option<string>
): Either.Either<Database, UsageError | SettingError> =>
  Either.mapBoth(ServerUrl.read(text), {
    onLeft: invalid,
    onRight: ({ shown, url }): Database => ({ _tag: "Server", url, shown, note })
  })
