/**
 * Everything that can be wrong with pending seeds, found before the first write: all of them are loaded, and every problem is listed.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { SettingError } from "../../operation/OperationConfig.js"
import type { Seed } from "../Seed.js"
import { SeedProblem } from "../SeedProblem.js"
import type { SeedEntry } from "../source/SeedEntry.js"
import * as SourceHash from "../source/SourceHash.js"
import * as SeedSyntax from "../source/SeedSyntax.js"
import type { Flag } from "./SkipFlag.js"
import * as SkipFlag from "./SkipFlag.js"

/** A seed with what running it needs to know. */
export interface LoadedSeed {
  readonly entry: SeedEntry
  readonly seed: Seed
  /** The hash of its source, where it has one: parsed when it is first asked for. */
  readonly sourceHash: Effect.Effect<Option.Option<string>>
  readonly flag: { readonly name: string; readonly value: Flag }
  /** Whether its flag skips it. */
  readonly isSkipped: boolean
}

/** What loading gave: the seeds that load, everything that is wrong, and what a person should know. */
export interface Checked {
  readonly seeds: ReadonlyArray<LoadedSeed>
  readonly problems: ReadonlyArray<SeedProblem>
  readonly warnings: ReadonlyArray<string>
}

/** Loads the entries and finds what is wrong with them. */
export const check = (entries: ReadonlyArray<SeedEntry>): Effect.Effect<Checked, SettingError, WriteDispatcher> =>
  Effect.gen(function* () {
    const { names } = yield* WriteDispatcher
    // Flags are read while modules are loaded, which is work of another thread.
    const reading = yield* Effect.fork(Effect.forEach(entries, ({ id }) => flagOf(id)))
    // One after another, as top-level code runs in the order of the seeds.
    let underWay: SeedEntry | undefined
    const slow = yield* Effect.fork(Effect.interruptible(mentioning(() => underWay)))
    const loaded = yield* Effect.forEach(entries, (entry) => {
      underWay = entry
      return look(entry, Option.fromNullable(names))
    }).pipe(Effect.ensuring(Fiber.interrupt(slow)))
    const flags = yield* Fiber.join(reading)
    const seeds = Arr.zip(loaded, flags).flatMap(([{ loads }, flag]) =>
      Option.match(loads, {
        onNone: () => [],
        onSome: ({ entry, seed, sourceHash }): ReadonlyArray<LoadedSeed> => [
          { entry, seed, sourceHash, flag, isSkipped: seed.skippable && flag.value === "set" }
        ]
      })
    )
    return {
      seeds,
      problems: [...loaded.flatMap(({ problems }) => problems), ...ambiguousFlags(seeds)],
      warnings: seeds.flatMap(flagWarnings)
    }
  }).pipe(Effect.withSpan("SeedCheck.check", { attributes: { seeds: entries.length } }))

/** Says which seed is still being loaded: top-level code may wait for something, and then nothing happens. */
const mentioning = (underWay: () => SeedEntry | undefined): Effect.Effect<never> => {
  let last: SeedEntry | undefined
  const mention = Effect.suspend(() => {
    const entry = underWay()
    const isSame = entry !== undefined && entry === last
    last = entry
    return isSame ? Effect.logInfo(`"${entry.id}" is still being loaded: ${entry.path}`) : Effect.void
  })
  return Effect.forever(Effect.zipRight(mention, Effect.sleep("10 seconds")))
}

const flagOf = (id: string): Effect.Effect<LoadedSeed["flag"], SettingError> => {
  const name = SkipFlag.nameOf(id)
  return Effect.map(SkipFlag.read(name), (value) => ({ name, value }))
}

/** A seed, or why there is none. */
interface Found {
  readonly loads: Option.Option<Omit<LoadedSeed, "flag" | "isSkipped">>
  readonly problems: ReadonlyArray<SeedProblem>
}

const look = (entry: SeedEntry, handlers: Option.Option<ReadonlyArray<string>>): Effect.Effect<Found> =>
  Effect.matchEffect(entry.source, {
    onFailure: (problem) => Effect.succeed({ loads: Option.none(), problems: [problem] }),
    onSuccess: (text) => {
      const isKnown = (source: string) =>
        Option.match(handlers, { onNone: () => true, onSome: (names) => SeedSyntax.namesOnly(source, names) })
      if (Option.getOrElse(Option.map(text, isKnown), () => true)) return load(entry, text, Option.none(), handlers)
      return Effect.flatMap(syntaxOf(entry, text), (syntax) => {
        const problems = syntax.errors.map((error) => syntaxError(entry, error))
        return problems.length > 0
          ? Effect.succeed({ loads: Option.none(), problems })
          : load(entry, text, Option.some(syntax), handlers)
      })
    }
  })

const syntaxOf = (entry: SeedEntry, text: Option.Option<string>): Effect.Effect<SeedSyntax.Syntax> =>
  Option.match(text, {
    onNone: () => Effect.succeed({ errors: [], handlers: [] }),
    onSome: (source) => SeedSyntax.read(entry.path, source)
  })

/** A seed that does not load is parsed for that, if it was not before: the parser says where an error is, which the loader does not. */
const load = (
  entry: SeedEntry,
  text: Option.Option<string>,
  parsed: Option.Option<SeedSyntax.Syntax>,
  handlers: Option.Option<ReadonlyArray<string>>
): Effect.Effect<Found> => {
  const unknown = Option.match(parsed, {
    onNone: () => [],
    onSome: (syntax) => unknownHandlers(entry, syntax, handlers)
  })
  return Effect.matchEffect(entry.load, {
    onFailure: (problem) =>
      Effect.map(Option.isSome(parsed) ? Effect.succeed(parsed.value) : syntaxOf(entry, text), ({ errors }) => ({
        loads: Option.none(),
        problems: errors.length > 0 ? errors.map((error) => syntaxError(entry, error)) : [problem, ...unknown]
      })),
    onSuccess: (seed) =>
      Effect.succeed({
        loads: Option.some({ entry, seed, sourceHash: hashOf(entry, text) }),
        problems: unknown
      })
  })
}

const hashOf = (entry: SeedEntry, text: Option.Option<string>): LoadedSeed["sourceHash"] =>
  Option.match(text, {
    onNone: () => Effect.succeedNone,
    onSome: (source) => Effect.suspend(() => Effect.asSome(SourceHash.of(entry.path, source)))
  })

const syntaxError = ({ id, path }: SeedEntry, error: string): SeedProblem =>
  new SeedProblem({ _tag: "SeedImportError", id, path, message: `${path} cannot be loaded: ${error}` })

const unknownHandlers = (
  { id, path }: SeedEntry,
  syntax: SeedSyntax.Syntax,
  names: Option.Option<ReadonlyArray<string>>
): ReadonlyArray<SeedProblem> =>
  Option.match(names, {
    onNone: () => [],
    onSome: (known) =>
      syntax.handlers
        .filter(({ name }) => !known.includes(name))
        .map(({ line, name }) => {
          const list = known.length === 0 ? "none is registered" : `registered are: ${known.join(", ")}`
          const message = `${path}, line ${line}: no write handler is named "${name}"; ${list}`
          return new SeedProblem({ _tag: "UnknownHandler", id, path, message })
        })
  })

const ambiguousFlags = (seeds: ReadonlyArray<LoadedSeed>): ReadonlyArray<SeedProblem> => {
  const byFlag = Arr.groupBy(
    seeds.filter(({ seed }) => seed.skippable),
    ({ flag }) => flag.name
  )
  return Object.entries(byFlag).flatMap(([flag, [first, ...others]]) =>
    others.length === 0
      ? []
      : [
          new SeedProblem({
            _tag: "AmbiguousSkipFlag",
            id: first.entry.id,
            path: first.entry.path,
            message: `${[first, ...others].map(({ entry }) => entry.path).join(" and ")} share the skip flag ${flag}: rename all but one`
          })
        ]
  )
}

const flagWarnings = ({ entry, flag, seed }: LoadedSeed): ReadonlyArray<string> => {
  if (flag.value === "mistaken") return [SkipFlag.mistaken(flag.name)]
  return flag.value === "set" && !seed.skippable
    ? [`${flag.name} is set, but the seed "${entry.id}" is not skippable: it is applied`]
    : []
}
