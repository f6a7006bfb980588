/**
 * Where a command finds its settings: options first, then the environment, then the config file.
 */
import * as Options from "@effect/cli/Options"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { resolve } from "node:path"
import * as OperationConfig from "../operation/OperationConfig.js"
import { ConfigError } from "../operation/OperationConfig.js"
import type { FileSettings } from "./ConfigFile.js"
import * as ConfigFile from "./ConfigFile.js"
import { UsageError } from "./Failure.js"

/** The options of every command that works on a database. */
export const options = {
  seeds: Options.text("seeds").pipe(
    Options.withPseudoName("dir"),
    Options.withDescription("The seeds folder (ES_OPS_SEEDS). Default: ./seeds"),
    Options.optional
  ),
  databaseUrl: Options.text("database-url").pipe(
    Options.withPseudoName("url"),
    Options.withDescription("postgres://… Prefer DATABASE_URL: arguments show in the list of processes"),
    Options.optional
  ),
  embedded: Options.boolean("embedded").pipe(
    Options.withDescription("An embedded database in .es-ops/, for development: no server, no fsync")
  ),
  embeddedDir: Options.text("embedded-dir").pipe(
    Options.withPseudoName("folder"),
    Options.withDescription("The folder of the embedded database (ES_OPS_EMBEDDED)"),
    Options.optional
  ),
  lockTimeout: Options.text("lock-timeout").pipe(
    Options.withPseudoName("duration"),
    Options.withDescription(
      "How long to wait for the lock: 30s, 500ms, 5m (ES_OPS_LOCK_TIMEOUT). 0s: one attempt. Default: 5m"
    ),
    Options.optional
  ),
  late: Options.choice("late", ["run", "fail"]).pipe(
    Options.withDescription("What to do with a seed that sorts before an applied one (ES_OPS_LATE). Default: run"),
    Options.optional
  ),
  config: Options.text("config").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("The command's file. Default: es-ops.config.ts or .js in the working directory"),
    Options.optional
  ),
  json: Options.boolean("json").pipe(Options.withDescription("One JSON document on stdout, and nothing else")),
  logFormat: Options.choice("log-format", ["text", "json"]).pipe(
    Options.withDescription("How logs are written to stderr"),
    Options.withDefault("text" as const)
  )
}

/** The options as they were given. */
export interface Given {
  readonly seeds: Option.Option<string>
  readonly databaseUrl: Option.Option<string>
  readonly embedded: boolean
  readonly embeddedDir: Option.Option<string>
  readonly lockTimeout: Option.Option<string>
  readonly late: Option.Option<"run" | "fail">
  readonly config: Option.Option<string>
  readonly json: boolean
  readonly logFormat: "text" | "json"
}

/** The database that a command works on; no command ever works on another. */
export type Database =
  | { readonly _tag: "Server"; readonly url: string; readonly shown: string; readonly note: Option.Option<string> }
  | { readonly _tag: "Embedded"; readonly folder: string; readonly shown: string; readonly note: Option.Option<string> }

export interface Resolved {
  /** What the command's file says, where neither options nor the environment do. */
  readonly file: FileSettings
  readonly seeds: FileSettings["seeds"] & {}
  readonly database: Database
  readonly lockTimeout: Duration.Duration
  readonly late: "run" | "fail"
  readonly appliedBy: "cli" | "ci-pipeline"
}

type Invalid = (reason: string) => UsageError | ConfigError

const byOption =
  (name: string): Invalid =>
  (reason) =>
    new UsageError({ reason: `--${name}: ${reason}` })

const byVariable =
  (key: string): Invalid =>
  (reason) =>
    new ConfigError({ key, reason })

/** An option, or else the variable, with the error that fits where it came from. */
const optionOr = (given: Option.Option<string>, option: string, variable: string) =>
  Option.isSome(given)
    ? Effect.succeed(Option.some({ value: given.value, invalid: byOption(option) }))
    : Effect.map(
        fromEnv(variable),
        Option.map((value) => ({ value, invalid: byVariable(variable) }))
      )

/** A variable; an empty one counts as absent. */
const fromEnv = (name: string): Effect.Effect<Option.Option<string>, ConfigError> =>
  Config.string(name).pipe(
    Config.option,
    Effect.mapError((error) => new ConfigError({ key: name, reason: String(error) })),
    Effect.map(Option.filter((value) => value !== ""))
  )

/** Settles every setting, or says which one cannot be used. */
export const resolveAll = (given: Given): Effect.Effect<Resolved, UsageError | ConfigError> =>
  Effect.gen(function* () {
    const file = yield* ConfigFile.load(given.config)
    const seeds = yield* optionOr(given.seeds, "seeds", "ES_OPS_SEEDS")
    const lockTimeout = yield* optionOr(given.lockTimeout, "lock-timeout", "ES_OPS_LOCK_TIMEOUT")
    const late = yield* optionOr(given.late, "late", "ES_OPS_LATE")
    const appliedBy = yield* fromEnv("ES_OPS_APPLIED_BY")
    return {
      file,
      seeds: Option.match(seeds, { onNone: () => file.seeds ?? "./seeds", onSome: ({ value }) => value }),
      lockTimeout: yield* Option.match(lockTimeout, {
        onNone: () => Effect.map(OperationConfig.make(file), ({ lockTimeout: settled }) => settled),
        onSome: ({ invalid, value }) => duration(value, invalid)
      }),
      late: yield* Option.match(late, {
        onNone: () => Effect.succeed(file.late ?? "run"),
        onSome: ({ invalid, value }) => oneOf(value, ["run", "fail"], invalid)
      }),
      appliedBy: yield* Option.match(appliedBy, {
        onNone: () => Effect.succeed(file.appliedBy ?? "cli"),
        onSome: (value) => oneOf(value, ["cli", "ci-pipeline"], byVariable("ES_OPS_APPLIED_BY"))
      }),
      database: yield* database(given, file)
    }
  })

const oneOf = <const A extends string>(value: string, allowed: ReadonlyArray<A>, invalid: Invalid) => {
  const found = allowed.find((candidate) => candidate === value)
  return found === undefined
    ? Effect.fail(invalid(`"${value}" is not one of: ${allowed.join(", ")}`))
    : Effect.succeed(found)
}

const units = { ms: "millis", s: "seconds", m: "minutes", h: "hours" } as const

const duration = (text: string, invalid: Invalid): Effect.Effect<Duration.Duration, UsageError | ConfigError> => {
  const [, amount = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/.exec(text.trim()) ?? []
  const known = Object.entries(units).find(([short]) => short === unit)?.[1]
  const decoded =
    known === undefined ? Duration.decodeUnknown(text.trim()) : Duration.decodeUnknown(`${amount} ${known}`)
  return Option.match(decoded, {
    onNone: () => Effect.fail(invalid(`"${text}" is not a duration such as 30s, 500ms, 5m or "30 seconds"`)),
    onSome: Effect.succeed
  })
}

const database = (given: Given, file: FileSettings): Effect.Effect<Database, UsageError | ConfigError> =>
  Effect.gen(function* () {
    const urlVariable = yield* fromEnv("DATABASE_URL")
    const folderVariable = yield* fromEnv("ES_OPS_EMBEDDED")
    const embedded = given.embedded || Option.isSome(given.embeddedDir)
    const url = given.databaseUrl
    if (Option.contains(url, "")) {
      return yield* new UsageError({ reason: "--database-url is empty: it names no database" })
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
  if (!URL.canParse(text)) {
    const reason =
      "it is not a URL that can be read: is the port a number up to 65535, and are / # ? @ in the password percent-encoded?"
    return Effect.fail(invalid(reason))
  }
  const url = new URL(text)
  return Effect.succeed<Database>({ _tag: "Server", url: text, shown: hidden(url), note })
}

/** The URL with its password hidden, wherever it stands. */
const hidden = (url: URL): string => {
  const shown = new URL(url)
  if (shown.password !== "") shown.password = "***"
  if (shown.searchParams.has("password")) shown.searchParams.set("password", "***")
  return shown.href
}
