/**
 * What the text of an option has to be, and what it says.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { UsageError } from "../UsageError.js"
import { invalidOption } from "./Setting.js"

/** What a text has to be. */
export interface OptionForm<A> {
  /** Behind "is no". */
  readonly name: string
  readonly read: (text: string) => A | undefined
}

/** The value of an option, or the error that says what it has to be. */
export const parsed = <A>(
  given: Option.Option<string>,
  option: string,
  form: OptionForm<A>
): Effect.Effect<A | undefined, UsageError> =>
  Option.match(given, {
    onNone: () => Effect.succeed(undefined),
    onSome: (text) => {
      const value = form.read(text)
      return value === undefined
        ? invalidOption(option)(`${JSON.stringify(text)} is no ${form.name}`)
        : Effect.succeed(value)
    }
  })

export const date: OptionForm<Date> = {
  name: "date such as 2026-11-01 or 2026-11-01T12:00:00Z",
  read: (text) => {
    const at = new Date(text)
    return /^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(at.getTime()) ? at : undefined
  }
}

export const eventId: OptionForm<bigint> = {
  name: "id of an event, such as 1200",
  read: (text) => (/^\d{1,18}$/.test(text) ? BigInt(text) : undefined)
}

export const isUuid = Schema.is(Schema.UUID)

/** In lower case, as PostgreSQL gives it back. */
export const uuid: OptionForm<string> = {
  name: "UUID",
  read: (text) => (isUuid(text) ? text.toLowerCase() : undefined)
}

export const positive: OptionForm<number> = {
  name: "number above 0",
  read: (text) => {
    const value = Number(text)
    return text.trim() !== "" && value > 0 && Number.isFinite(value) ? value : undefined
  }
}

export const wholePositive: OptionForm<number> = {
  name: "whole number from 1 to 9999",
  read: (text) => (/^[1-9]\d{0,3}$/.test(text) ? Number(text) : undefined)
}

/** What stands between commas. */
export const list = (text: string): ReadonlyArray<string> => text.split(",").map((part) => part.trim())
