/**
 * One setting from an option or from a variable of the environment, with the error that names where it came from.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { parseDuration } from "../../operation/DurationText.js"
import { SettingError } from "../../operation/OperationConfig.js"
import { UsageError } from "../UsageError.js"

/** Makes the error of a value that cannot be used. */
export type InvalidValue = (reason: string) => UsageError | SettingError

/** A value as text, with the error to fail with where it cannot be used. */
export interface Setting {
  readonly value: string
  readonly invalid: InvalidValue
}

/** The error of an option, whose name is given without dashes. */
export const invalidOption =
  (name: string) =>
  (reason: string): UsageError =>
    new UsageError({ reason: `--${name}: ${reason}` })

/** The error of a variable, or of a key of the config file. */
export const invalidKey =
  (key: string): InvalidValue =>
  (reason) =>
    new SettingError({ key, reason })

/** Reads a variable of the environment; an empty one counts as absent. */
export const variable = (name: string): Effect.Effect<Option.Option<string>, SettingError> =>
  Config.string(name).pipe(
    Config.option,
    Effect.mapError((error) => new SettingError({ key: name, reason: String(error) })),
    Effect.map(Option.filter((value) => value !== ""))
  )

/** Takes the option where it was given, else the variable `name`. */
export const optionOrVariable = (
  given: Option.Option<string>,
  option: string,
  name: string
): Effect.Effect<Option.Option<Setting>, SettingError> =>
  Option.isSome(given)
    ? Effect.succeed(Option.some({ value: given.value, invalid: invalidOption(option) }))
    : Effect.map(
        variable(name),
        Option.map((value) => ({ value, invalid: invalidKey(name) }))
      )

/** Reads one of a few words. */
export const oneOf = <const A extends string>(
  { invalid, value }: Setting,
  allowed: ReadonlyArray<A>
): Effect.Effect<A, UsageError | SettingError> => {
  const found = allowed.find((candidate) => candidate === value)
  return found === undefined
    ? Effect.fail(invalid(`"${value}" is not one of: ${allowed.join(", ")}`))
    : Effect.succeed(found)
}

/** Reads a duration: `30s`, `500ms`, `5m`, or Effect's `"30 seconds"`. */
export const duration = ({ invalid, value }: Setting): Effect.Effect<Duration.Duration, UsageError | SettingError> =>
  Option.match(parseDuration(value), {
    onNone: () => Effect.fail(invalid(`"${value}" is not a duration such as 30s, 500ms, 5m or "30 seconds"`)),
    onSome: Effect.succeed
  })
