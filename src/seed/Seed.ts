/**
 * A seed migration: a description, and an effect that is applied to a database once.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import type { PromiseContext } from "./PromiseSeed.js"
import * as PromiseSeed from "./PromiseSeed.js"
import { SeedContext } from "./SeedContext.js"

/** What makes a value a seed, whichever copy of this package made it. */
export const TypeId: unique symbol = Symbol.for("effect-es-ops/Seed")
export type TypeId = typeof TypeId

/** A seed: what `Seed.make` makes, and a seed file exports as its default. */
export interface Seed<out E = unknown, out R = never> {
  readonly [TypeId]: TypeId
  /** For people, kept as the marker's notes. May be empty. */
  readonly description: string
  /** Whether `KUMIKO_SKIP_ES_OPS_<ID>=1` may skip it. */
  readonly skippable: boolean
  /** `one`: all of it in one transaction. `none`: outside any, for what PostgreSQL refuses in one; nothing of it is undone. */
  readonly transaction: "one" | "none"
  /** Whether a seed outside any transaction may be run again after it was interrupted half-way. */
  readonly idempotent: boolean
  /** `parent` is the span of whoever runs it. */
  readonly run: (context: SeedContext["Type"], parent?: Tracer.AnySpan) => Effect.Effect<unknown, E, R>
  /** `run` as it was declared, so that its shape can be checked without running it. */
  readonly declared: unknown
}

/** What seeds require. */
export type Services<S> = S extends Seed<infer _E, infer R> ? R : never

/**
 * Makes a seed. `run` is an Effect, or a function from the context to an Effect; it may require `SeedContext`, `SqlClient` (whose statements
 * join the seed's transaction), and services of the application. If it fails or dies, nothing of it remains.
 *
 * With `transaction: "none"` it runs outside any transaction, under the lock, on one connection that its `SqlClient` goes over: for
 * `CREATE INDEX CONCURRENTLY` and the like. Nothing of it is undone then. When its process dies half-way, it is not run again unless it is
 * `idempotent`, or somebody says so (`seed:apply --retry <id>`).
 */
export const make = <E = never, R = never>(options: {
  readonly description: string
  readonly skippable?: boolean | undefined
  readonly transaction?: "none" | undefined
  readonly idempotent?: boolean | undefined
  readonly run: Effect.Effect<unknown, E, R> | ((context: SeedContext["Type"]) => Effect.Effect<unknown, E, R>)
}): Seed<E, Exclude<R, SeedContext>> => {
  const { run } = options
  const body = (context: SeedContext["Type"]) => Effect.suspend(() => (Effect.isEffect(run) ? run : run(context)))
  return {
    [TypeId]: TypeId,
    description: options.description,
    skippable: options.skippable ?? false,
    transaction: options.transaction ?? "one",
    idempotent: options.idempotent ?? false,
    declared: run,
    // With it goes what it is before the context is given to it as a service, for whoever gives it others as well.
    run: Object.assign((context: SeedContext["Type"]) => Effect.provideService(body(context), SeedContext, context), {
      body
    })
  }
}

/** A seed as a plain object: `run` is an async function. */
export interface Plain {
  readonly description: string
  readonly skippable?: boolean | undefined
  readonly run: (context: PromiseContext) => unknown
}

/**
 * Makes a seed of an async function; its promises are settled before the marker is written. A file may as well export the options
 * themselves, as a plain object.
 */
export const fromPromise = (options: Plain): Seed<unknown> => {
  const { run } = options
  return {
    [TypeId]: TypeId,
    description: options.description,
    skippable: options.skippable ?? false,
    transaction: "one",
    idempotent: false,
    declared: (context: PromiseContext) => run(context),
    run: (context) => PromiseSeed.run(run, context)
  }
}

/** Whether a value is a seed, of this copy of the package or another. What it requires is known to its author only. */
export const isSeed = (value: unknown): value is Seed => Predicate.hasProperty(value, TypeId)

/**
 * The seed with services for what it requires; what it still lacks is a failure when it is run. The step's own services win. Context and span
 * go the same way: each as a context of its own takes 25 µs.
 */
export const provide = <E, R>(seed: Seed<E, R>, services: Context.Context<R>): Seed<E> => {
  const { run } = seed
  const body = hasBody(run) ? run.body : run
  return {
    ...seed,
    run: (context, parent) =>
      Effect.mapInputContext(body(context), (step: Context.Context<never>) => {
        const all = Context.add(Context.merge(services, step), SeedContext, context)
        return parent === undefined ? all : Context.add(all, Tracer.ParentSpan, parent)
      })
  }
}

const hasBody = <E, R>(run: Seed<E, R>["run"]): run is WithBody<E, R> =>
  Predicate.hasProperty(run, "body") && Predicate.isFunction(run.body)

interface WithBody<out E, out R> {
  (context: SeedContext["Type"], parent?: Tracer.AnySpan): Effect.Effect<unknown, E, R>
  readonly body: (context: SeedContext["Type"]) => Effect.Effect<unknown, E, R | SeedContext>
}

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
  if (transaction !== "one" && transaction !== "none") {
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

/** A plain object with an async function, as the system that we are drop-in for has them. */
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
