/**
 * The environment's flags that skip one seed, or all of them.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ConfigError } from "../operation/OperationConfig.js"

/** The flag that skips all seeds. */
export const all = "KUMIKO_SKIP_ES_OPS"

/** The flag that skips one seed: its id in upper case, every run of other characters as `_`. */
export const nameOf = (id: string): string => `${all}_${id.toUpperCase().replaceAll(/[^A-Z0-9]+/g, "_")}`

/** What the environment says: only the literal `1` counts, any other text is a mistake worth a warning. */
export type Flag = "set" | "unset" | "mistaken"

/** Reads a flag through `Config`. */
export const read = (name: string): Effect.Effect<Flag, ConfigError> =>
  Config.string(name).pipe(
    Config.option,
    Effect.mapError((error) => new ConfigError({ key: name, reason: String(error) })),
    Effect.map(Option.match({ onNone: () => "unset", onSome: meaning }))
  )

const meaning = (value: string): Flag => (value === "1" ? "set" : value === "" ? "unset" : "mistaken")

/** What to say about a flag that does not skip. */
export const mistaken = (name: string): string => `${name} is set, but to something other than 1: it skips nothing`
