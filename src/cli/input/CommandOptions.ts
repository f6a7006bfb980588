/**
 * The options that several commands have, and their values as they were given.
 */
import * as Options from "@effect/cli/Options"
import type * as Option from "effect/Option"

/** The words of the options that take one of a few. */
export const choices = {
  late: ["run", "fail"],
  renamed: ["run", "fail"],
  "log-format": ["text", "json"],
  mode: ["auto", "merge", "gradual", "swap"],
  ghosts: ["refuse", "keep", "delete"],
  "on-poison": ["fail", "quarantine"]
} as const

/** The options of every command. */
export const commonOptions = {
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
  ...commonOptions
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
  renamed: Options.choice("renamed", choices.renamed).pipe(
    Options.withDescription("What to do with a seed that was renamed, by its source (ES_OPS_RENAMED). Default: run"),
    Options.optional
  ),
  ...sourceOptions
}

/** The values of `commonOptions`. */
export interface CommonGiven {
  readonly config: Option.Option<string>
  readonly json: boolean
  readonly logFormat: "text" | "json"
}

/** The values of `sourceOptions`. */
export interface SourceGiven extends CommonGiven {
  readonly seeds: Option.Option<string>
}

/** The values of `databaseOptions`. */
export interface DatabaseGiven extends SourceGiven {
  readonly databaseUrl: Option.Option<string>
  readonly embedded: boolean
  readonly embeddedDir: Option.Option<string>
  readonly lockTimeout: Option.Option<string>
  readonly late: Option.Option<"run" | "fail">
  readonly renamed: Option.Option<"run" | "fail">
}
