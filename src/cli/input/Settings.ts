/**
 * Where a command finds its settings: options first, then the environment, then the config file.
 */
import * as Options from "@effect/cli/Options"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as OperationConfig from "../../operation/OperationConfig.js"
import type { SettingError } from "../../operation/OperationConfig.js"
import type { FileSettings } from "./ConfigFile.js"
import * as ConfigFile from "./ConfigFile.js"
import type { Database } from "./DatabaseChoice.js"
import * as DatabaseChoice from "./DatabaseChoice.js"
import { UsageError } from "../output/Failure.js"
import * as Setting from "./Setting.js"

/** The words that some options take. */
export const choices = { late: ["run", "fail"], "log-format": ["text", "json"] } as const

/** The options of every command. */
export const options = {
  config: Options.text("config").pipe(
    Options.withPseudoName("file"),
    Options.withDescription("The command's file. Default: es-ops.config.ts or .js in the working directory"),
    Options.optional
  ),
  json: Options.boolean("json").pipe(Options.withDescription("One JSON document on stdout, and nothing else")),
  logFormat: Options.choice("log-format", choices["log-format"]).pipe(
    Options.withDescription("How logs are written to stderr. Default: text"),
    Options.withDefault("text" as const)
  )
}

/** The options of every command that works on the seeds. */
export const sourceOptions = {
  seeds: Options.text("seeds").pipe(
    Options.withPseudoName("dir"),
    Options.withDescription("The seeds folder (ES_OPS_SEEDS). Default: ./seeds"),
    Options.optional
  ),
  ...options
}

/** The options of every command that works on a database. */
export const databaseOptions = {
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
  late: Options.choice("late", choices.late).pipe(
    Options.withDescription("What to do with a seed that sorts before an applied one (ES_OPS_LATE). Default: run"),
    Options.optional
  ),
  ...sourceOptions
}

/** The options of every command, as they were given. */
export interface Given {
  readonly config: Option.Option<string>
  readonly json: boolean
  readonly logFormat: "text" | "json"
}

/** Those about the seeds. */
export interface SourceGiven extends Given {
  readonly seeds: Option.Option<string>
}

/** Those about the database. */
export interface DatabaseGiven extends SourceGiven {
  readonly databaseUrl: Option.Option<string>
  readonly embedded: boolean
  readonly embeddedDir: Option.Option<string>
  readonly lockTimeout: Option.Option<string>
  readonly late: Option.Option<"run" | "fail">
}

/** What is known without a database. */
export interface Source {
  /** What the command's file says, where neither options nor the environment do. */
  readonly file: FileSettings
  readonly seeds: FileSettings["seeds"] & {}
}

export interface Resolved extends Source {
  readonly database: Database
  readonly lockTimeout: Duration.Duration
  readonly late: "run" | "fail"
  readonly appliedBy: "cli" | "ci-pipeline"
}

/** Settles where the seeds are, or says which setting cannot be used. */
export const resolveSource = (given: SourceGiven): Effect.Effect<Source, UsageError | SettingError> =>
  Effect.gen(function* () {
    const file = yield* ConfigFile.load(given.config)
    const seeds = yield* Setting.optionOr(given.seeds, "seeds", "ES_OPS_SEEDS")
    if (Option.contains(given.seeds, ""))
      return yield* new UsageError({ reason: "--seeds is empty: it names no folder" })
    return { file, seeds: Option.match(seeds, { onNone: () => file.seeds ?? "./seeds", onSome: ({ value }) => value }) }
  })

/** Settles every setting, or says which one cannot be used. */
export const resolveAll = (given: DatabaseGiven): Effect.Effect<Resolved, UsageError | SettingError> =>
  Effect.gen(function* () {
    const source = yield* resolveSource(given)
    const { file } = source
    const lockTimeout = yield* Setting.optionOr(given.lockTimeout, "lock-timeout", "ES_OPS_LOCK_TIMEOUT")
    const late = yield* Setting.optionOr(given.late, "late", "ES_OPS_LATE")
    const appliedBy = yield* Setting.fromEnv("ES_OPS_APPLIED_BY")
    return {
      ...source,
      lockTimeout: yield* Option.match(lockTimeout, {
        onNone: () => Effect.map(OperationConfig.make(file), ({ lockTimeout: settled }) => settled),
        onSome: Setting.duration
      }),
      late: yield* Option.match(late, {
        onNone: () => Effect.succeed(file.late ?? "run"),
        onSome: (setting) => Setting.oneOf(setting, choices.late)
      }),
      appliedBy: yield* Option.match(appliedBy, {
        onNone: () => Effect.succeed(file.appliedBy ?? "cli"),
        onSome: (value) =>
          Setting.oneOf({ value, invalid: Setting.byVariable("ES_OPS_APPLIED_BY") }, ["cli", "ci-pipeline"])
      }),
      database: yield* DatabaseChoice.choose(given, file)
    }
  })
