/**
 * The settings of operations: names of the tables, the lock's key, how long to wait, what to do with a late seed.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { parseDuration } from "./DurationText.js"

/** A name that may stand in SQL: letters, digits and underscores, 63 at most, not a digit first. */
export const SqlName = Schema.String.pipe(Schema.pattern(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/))

/** A setting has a value that cannot be used. */
export class SettingError extends Schema.TaggedError<SettingError>()("SettingError", {
  /** The variable or key. */
  key: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.key}: ${this.reason}`
  }
}

/** The settings as an application gives them, all optional. */
export interface OperationSettings {
  /** How long to wait for the operations lock; 0 is one attempt. Default: 5 minutes. */
  readonly lockTimeout?: Duration.DurationInput | undefined
  /** How long one seed may take. Default: no bound. */
  readonly seedTimeout?: Duration.DurationInput | undefined
  /** What to do with a seed that sorts before an applied one. Default: run it, with a warning. */
  readonly late?: "run" | "fail" | undefined
  /** What to do with a seed that has the source of an applied one without a file. Default: run it, with a warning. */
  readonly renamed?: "run" | "fail" | undefined
  /** The marker table. Default: `kumiko_es_operations`. */
  readonly table?: string | undefined
  /** The table of attempts. Default: `es_ops_attempts`. */
  readonly attemptsTable?: string | undefined
  /** The schema of both. Default: whatever the search path finds. */
  readonly schema?: string | undefined
  /** The key of the advisory lock, a 64-bit integer. Default: 1702063984. */
  readonly lockKey?: number | bigint | undefined
  /** The application's version, kept with each attempt. */
  readonly version?: string | undefined
  /** Let an application's own dispatcher write through another connection, and so not atomically. Default: no. */
  readonly allowNonAtomicWriter?: boolean | undefined
}

/** The settings with every default in place. */
export class OperationConfig extends Context.Tag("effect-es-ops/OperationConfig")<
  OperationConfig,
  {
    readonly lockTimeout: Duration.Duration
    readonly seedTimeout: Option.Option<Duration.Duration>
    readonly late: "run" | "fail"
    readonly renamed: "run" | "fail"
    readonly table: string
    readonly attemptsTable: string
    readonly schema: Option.Option<string>
    readonly lockKey: bigint
    readonly version: Option.Option<string>
    readonly allowNonAtomicWriter: boolean
  }
>() {}

/** The lock key of the system we are drop-in for, 0x65736f70. */
export const defaultLockKey = 1702063984n

const name = (key: string, value: string): Effect.Effect<string, SettingError> =>
  Schema.is(SqlName)(value)
    ? Effect.succeed(value)
    : new SettingError({
        key,
        reason: `"${value}" is not a name of letters, digits and underscores, 63 at most, that does not begin with a digit`
      })

const duration = (key: string, value: Duration.DurationInput): Effect.Effect<Duration.Duration, SettingError> =>
  Option.match(parseDuration(value), {
    onNone: () => new SettingError({ key, reason: `"${String(value)}" is not a duration such as 30s or "30 seconds"` }),
    onSome: Effect.succeed
  })

const policy = (key: string, value: "run" | "fail" = "run"): Effect.Effect<"run" | "fail", SettingError> =>
  value === "run" || value === "fail"
    ? Effect.succeed(value)
    : new SettingError({ key, reason: `"${String(value)}" is neither "run" nor "fail"` })

/** Puts the defaults in place; a value that cannot be used is a `SettingError` that names its key. */
export const make = Effect.fnUntraced(function* (settings: OperationSettings) {
  const lockKey = settings.lockKey ?? defaultLockKey
  if (
    (typeof lockKey === "number" && !Number.isSafeInteger(lockKey)) ||
    BigInt.asIntN(64, BigInt(lockKey)) !== BigInt(lockKey)
  ) {
    return yield* new SettingError({ key: "lockKey", reason: `${lockKey} is not a 64-bit integer` })
  }
  const [table, attemptsTable] = [settings.table ?? "kumiko_es_operations", settings.attemptsTable ?? "es_ops_attempts"]
  if (table === attemptsTable) {
    return yield* new SettingError({ key: "attemptsTable", reason: `"${attemptsTable}" is the table of the markers` })
  }
  return OperationConfig.of({
    lockTimeout: yield* duration("lockTimeout", settings.lockTimeout ?? "5 minutes"),
    seedTimeout:
      settings.seedTimeout === undefined
        ? Option.none()
        : Option.some(yield* duration("seedTimeout", settings.seedTimeout)),
    late: yield* policy("late", settings.late),
    renamed: yield* policy("renamed", settings.renamed),
    table: yield* name("table", table),
    attemptsTable: yield* name("attemptsTable", attemptsTable),
    schema: settings.schema === undefined ? Option.none() : Option.some(yield* name("schema", settings.schema)),
    lockKey: BigInt(lockKey),
    version: Option.fromNullable(settings.version),
    allowNonAtomicWriter: settings.allowNonAtomicWriter ?? false
  })
})

/** Provides the settings with every default in place. */
export const layer = (settings: OperationSettings): Layer.Layer<OperationConfig, SettingError> =>
  Layer.effect(OperationConfig, make(settings))
