/**
 * The options by which commands are told of streams.
 */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { UsageError } from "../UsageError.js"
import { isUuid } from "./OptionForm.js"

/** The stream of one aggregate. */
export const id = Options.text("id").pipe(
  Options.withPseudoName("uuid"),
  Options.withDescription("The id of the aggregate"),
  Options.optional
)

/** Many streams, by a file with these columns. */
export const plan = (columns: string) =>
  Options.text("plan").pipe(
    Options.withPseudoName("file"),
    Options.withDescription(`Many streams instead, a line each, as CSV or JSON lines: ${columns}`),
    Options.optional
  )

/** The value of an option that has to be a UUID, and is needed where there is no plan. */
export const uuid = (name: string, given: Option.Option<string>): Effect.Effect<string, UsageError> =>
  Option.match(given, {
    onNone: () => new UsageError({ reason: `--${name} is missing: name one stream, or give a --plan` }),
    onSome: (value) =>
      isUuid(value)
        ? Effect.succeed(value)
        : new UsageError({ reason: `--${name} is no UUID: ${JSON.stringify(value)}` })
  })
