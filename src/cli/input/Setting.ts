/**
 * One setting: from an option or from a variable of the environment, with the error that fits where it came from.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as OperationConfig from "../../operation/OperationConfig.js"
import { SettingError } from "../../operation/OperationConfig.js"
import { UsageError } from "../output/Failure.js"

/** The error of a value that cannot be used, by where it came from. */
export type Invalid = (reason: string) => UsageError | SettingError

/** A value with its error. */
export interface Setting {
  readonly value: string
  readonly invalid: Invalid
}

export const byOption =
  (name: string): Invalid =>
  (reason) =>
    new UsageError({ reason: `--${name}: ${reason}` })

export const byVariable =
  (key: string): Invalid =>
  (reason) =>
    new SettingError({ key, reason })

/** A variable; an empty one counts as absent. */
export const fromEnv = (name: string): Effect.Effect<Option.Option<string>, SettingError> =>
  Config.string(name).pipe(
    Config.option,
    Effect.mapError((error) => new SettingError({ key: name, reason: String(error) })),
    Effect.map(Option.filter((value) => value !== ""))
  )

/** An option, or else the variable. */
export const optionOr = (
  given: Option.Option<string>,
  option: string,
  variable: string
): Effect.Effect<Option.Option<Setting>, SettingError> =>
  Option.isSome(given)
    ? Effect.succeed(Option.some({ value: given.value, invalid: byOption(option) }))
    : Effect.map(
        fromEnv(variable),
        Option.map((value) => ({ value, invalid: byVariable(variable) }))
      )

/** One of a few words. */
export const oneOf = <const A extends string>(
  { invalid, value }: Setting,
  allowed: ReadonlyArray<A>
): Effect.Effect<A, UsageError | SettingError> => {
  const found = allowed.find((candidate) => candidate === value)
  return found === undefined
    ? Effect.fail(invalid(`"${value}" is not one of: ${allowed.join(", ")}`))
    : Effect.succeed(found)
}

/** `30s`, `500ms`, `5m`, or Effect's `"30 seconds"`. */
export const duration = ({ invalid, value }: Setting): Effect.Effect<Duration.Duration, UsageError | SettingError> =>
  Option.match(OperationConfig.parseDuration(value), {
    onNone: () => Effect.fail(invalid(`"${value}" is not a duration such as 30s, 500ms, 5m or "30 seconds"`)),
    onSome: Effect.succeed
  })
