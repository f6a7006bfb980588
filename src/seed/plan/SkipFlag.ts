/**
 * The environment's flags that skip one seed, or all of them.
 */
import * as Config from "effect/Config"
import type * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import { SettingError } from "../../operation/OperationConfig.js"

/** The flag that skips all seeds. */
export const all = "KUMIKO_SKIP_ES_OPS"

/** The flag that skips one seed: its id in upper case, every run of other characters as `_`. */
export const nameOf = (id: string): string => `${all}_${id.toUpperCase().replaceAll(/[^A-Z0-9]+/g, "_")}`

/** What the environment says: only the literal `1` counts, any other text is a mistake worth a warning. */
export type Flag = "set" | "unset" | "mistaken"

/** Reads a flag through `Config`. */
export const read = (name: string): Effect.Effect<Flag, SettingError> =>
  Config.string(name).pipe(
    Config.option,
    Effect.mapError((error) => new SettingError({ key: name, reason: String(error) })),
    Effect.map(Option.match({ onNone: () => "unset", onSome: meaning }))
  )

const meaning = (value: string): Flag => (value === "1" ? "set" : value === "" ? "unset" : "mistaken")

/** What to say about a flag that does not skip. */
export const mistaken = (name: string): string => `${name} is set, but to something other than 1: it skips nothing`

/** Whether a flag skips everything; a warning says so. */
export const skipsAll: Effect.Effect<boolean, SettingError> = Effect.gen(function* () {
  const flag = yield* read(all)
  if (flag === "mistaken") yield* Effect.logWarning(mistaken(all))
  if (flag === "set") yield* Effect.logWarning(`${all}=1: no seed is applied`)
  return flag === "set"
})

/** What is set and is the flag of none of these seeds: most often a slip, and the seed that was meant is not skipped. */
export const strangers = (ids: Iterable<string>): Effect.Effect<ReadonlyArray<string>> =>
  Effect.suspend(() => {
    const known = new Set(Array.from(ids, nameOf))
    return Effect.flatMap(listed, (names) =>
      Effect.filter(
        names.filter((name) => !known.has(name)),
        (name) =>
          Effect.orElseSucceed(
            Effect.map(read(name), (flag) => flag !== "unset"),
            () => false
          )
      )
    )
  })

/** What to say about one of them. */
export const strange = (name: string): string => `${name} is set, but no seed has this flag: it skips nothing`

/** The names of flags of single seeds, as far as they can be listed: a provider takes names apart at `_`, as Effect's own does, or not at all. */
const listed: Effect.Effect<ReadonlyArray<string>> = Effect.configProviderWith(({ flattened }) =>
  Effect.zipWith(
    Effect.orElseSucceed(flattened.enumerateChildren([]), () => []),
    Effect.orElseSucceed(below(flattened, all.split("_")), () => []),
    (whole, parts) => [...[...whole].filter((name) => name.startsWith(`${all}_`)), ...parts]
  )
)

/** Parts of a name; more than a file name has. */
const longest = 256

const below = (
  provider: ConfigProvider.ConfigProvider.Flat,
  path: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, unknown> =>
  Effect.flatMap(
    path.length > longest ? Effect.succeed(HashSet.empty()) : provider.enumerateChildren(path),
    (children) =>
      Effect.map(
        Effect.forEach(children, (child) => {
          const next = [...path, child]
          return Effect.map(below(provider, next), (more) => [next.join("_"), ...more])
        }),
        (names) => names.flat()
      )
  )
