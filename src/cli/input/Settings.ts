/**
 * The settings of a command: from its options first, then from the environment, then from the config file.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SettingError } from "../../operation/OperationConfig.js"
import * as OperationConfig from "../../operation/OperationConfig.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven, SourceGiven } from "./CommandOptions.js"
import { choices } from "./CommandOptions.js"
import type { FileSettings } from "./ConfigFile.js"
import * as ConfigFile from "./ConfigFile.js"
import type { Database } from "./DatabaseChoice.js"
import * as DatabaseChoice from "./DatabaseChoice.js"
import * as Setting from "./Setting.js"

/** The settings that are known without a database. */
export interface Source {
  /** The config file's, which count where neither an option nor the environment says something. */
  readonly file: FileSettings
  readonly seeds: FileSettings["seeds"] & {}
  /** Whether somebody named them: the default folder may be missing. */
  readonly isNamed: boolean
}

/** The settings of a command on a database. */
export interface Resolved extends Source {
  readonly database: Database
  readonly lockTimeout: Duration.Duration
  readonly late: "run" | "fail"
  readonly renamed: "run" | "fail"
  readonly appliedBy: "cli" | "ci-pipeline"
}

/** Finds the config file and the seeds; fails with the setting that cannot be used. */
export const resolveSource = (given: SourceGiven): Effect.Effect<Source, UsageError | SettingError> =>
  Effect.gen(function* () {
    const file = yield* ConfigFile.load(given.config)
    const seeds = yield* Setting.optionOrVariable(given.seeds, "seeds", "ES_OPS_SEEDS")
    if (Option.contains(given.seeds, ""))
      return yield* new UsageError({ reason: "--seeds is empty: it names no folder" })
    const named = Option.match(seeds, { onNone: () => file.seeds, onSome: ({ value }) => value })
    return { file, seeds: named ?? "./seeds", isNamed: named !== undefined }
  })

/** The option's, the variable's, or the file's. */
export const lockTimeoutOf = (
  given: Option.Option<string>,
  file: FileSettings
): Effect.Effect<Duration.Duration, UsageError | SettingError> =>
  Effect.flatMap(
    Setting.optionOrVariable(given, "lock-timeout", "ES_OPS_LOCK_TIMEOUT"),
    Option.match({
      onNone: () => Effect.map(OperationConfig.make(file), ({ lockTimeout }) => lockTimeout),
      onSome: Setting.duration
    })
  )

/** Finds every setting; fails with the one that cannot be used. */
export const resolveAll = (given: DatabaseGiven): Effect.Effect<Resolved, UsageError | SettingError> =>
  Effect.gen(function* () {
    const source = yield* resolveSource(given)
    const { file } = source
    const late = yield* Setting.optionOrVariable(given.late, "late", "ES_OPS_LATE")
    const renamed = yield* Setting.optionOrVariable(given.renamed, "renamed", "ES_OPS_RENAMED")
    const appliedBy = yield* Setting.variable("ES_OPS_APPLIED_BY")
    return {
      ...source,
      lockTimeout: yield* lockTimeoutOf(given.lockTimeout, file),
      late: yield* Option.match(late, {
        onNone: () => Effect.succeed(file.late ?? "run"),
        onSome: (setting) => Setting.oneOf(setting, choices.late)
      }),
      renamed: yield* Option.match(renamed, {
        onNone: () => Effect.succeed(file.renamed ?? "run"),
        onSome: (setting) => Setting.oneOf(setting, choices.renamed)
      }),
      appliedBy: yield* Option.match(appliedBy, {
        onNone: () => Effect.succeed(file.appliedBy ?? "cli"),
        onSome: (value) =>
          Setting.oneOf({ value, invalid: Setting.invalidKey("ES_OPS_APPLIED_BY") }, ["cli", "ci-pipeline"])
      }),
      database: yield* DatabaseChoice.choose(given, file)
    }
  })
