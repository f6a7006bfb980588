/**
 * What a module may export as a seed: the seed of its default export, or what is wrong with it.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import type { Seed } from "./Seed.js"
import { fromPromise, isSeed } from "./Seed.js"

/** A module's default export as a seed, or what is wrong with it. */
export const fromModule = (module: unknown): Either.Either<Seed, string> => {
  if (!Predicate.hasProperty(module, "default")) return Either.left("it has no default export")
  // A TypeScript file of a project that is not "type": "module" is compiled to CommonJS, whose exports are the default of an import.
  const { default: exported } = module
  return fromExport(!isSeed(exported) && Predicate.hasProperty(exported, "default") ? exported.default : exported)
}

/** A default export as a seed, or what is wrong with it. */
export const fromExport = (value: unknown): Either.Either<Seed, string> => {
  if (!isSeed(value)) return fromPlain(value)
  const { declared, description, idempotent, skippable, transaction } = value
  if (!Predicate.isString(description)) return Either.left(`its description is ${kindOf(description)}, not a string`)
  if (description.includes("\u0000"))
    return Either.left("its description has a NUL character, which PostgreSQL does not store")
  if (!Predicate.isBoolean(skippable)) return Either.left(`its skippable is ${kindOf(skippable)}, not a boolean`)
  if (transaction !== "one" && transaction !== "none" && transaction !== "batches") {
    return Either.left(`its transaction is ${JSON.stringify(transaction) ?? "undefined"}: leave it out, or say "none"`)
  }
  if (!Predicate.isBoolean(idempotent)) return Either.left(`its idempotent is ${kindOf(idempotent)}, not a boolean`)
  if (declared instanceof AsyncFunction) {
    return Either.left("its run is an async function: return an Effect, such as Effect.promise(async () => …)")
  }
  if (isGenerator(declared)) return Either.left(`its run is ${unrun}`)
  if (!Effect.isEffect(declared) && !Predicate.isFunction(declared)) {
    return Either.left(`its run is ${kindOf(declared)}, not an Effect or a function that returns one`)
  }
  return Either.right(value)
}

/** A plain object with an async function, as files of the reference system export it. */
const fromPlain = (value: unknown): Either.Either<Seed, string> => {
  if (!Predicate.isRecord(value) || !("description" in value || "run" in value)) {
    return Either.left(
      `its default export is ${kindOf(value)}, not a seed made by Seed.make or an object with description and run`
    )
  }
  const { description, run, skippable, transaction } = value
  if (transaction !== undefined) {
    return Either.left(
      "transaction is for seeds made by Seed.make: an async function has no SqlClient to use outside one"
    )
  }
  if (!Predicate.isString(description)) return Either.left(`its description is ${kindOf(description)}, not a string`)
  if (Effect.isEffect(run)) return Either.left("its run is an Effect: make the seed with Seed.make")
  if (isGenerator(run)) return Either.left(`its run is ${unrun}`)
  if (!Predicate.isFunction(run)) return Either.left(`its run is ${kindOf(run)}, not a function`)
  if (skippable !== undefined && !Predicate.isBoolean(skippable)) {
    return Either.left(`its skippable is ${kindOf(skippable)}, not a boolean`)
  }
  // The object is what `run` may refer to as `this`.
  return fromExport(fromPromise({ description, skippable, run: run.bind(value) }))
}

const kindOf = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "an array"
      : value === undefined
        ? "undefined"
        : `of type ${typeof value}`

const isGenerator = (value: unknown): boolean =>
  Predicate.isFunction(value) && /^\[object (?:Async)?GeneratorFunction\]$/.test(Object.prototype.toString.call(value))

const unrun =
  "a generator function, which nobody would run: say Effect.gen(function* () { … }) in a seed made by Seed.make"

const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor
