/**
 * A seed migration: a description, and an effect that is applied to a database once.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { PromiseContext } from "./PromiseSeed.js"
import * as PromiseBody from "./PromiseBody.js"
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
  /**
   * The work, with the context of the step that runs it. With the context of another runner, such as the reference system's, which awaits what this
   * gives and then writes its marker, an Effect throws, and an async function is run.
   */
  readonly run: (context: SeedContext["Type"]) => Effect.Effect<unknown, E, R>
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
 *
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { Effect } from "effect"
 * import { Seed } from "effect-es-ops"
 *
 * export default Seed.make({
 *   description: "every order has a currency",
 *   skippable: true,
 *   run: Effect.gen(function* () {
 *     const sql = yield* SqlClient.SqlClient
 *     yield* sql`UPDATE orders SET currency = 'EUR' WHERE currency IS NULL`
 *   })
 * })
 * ```
 */
export const make = <E = never, R = never>(options: {
  readonly description: string
  readonly skippable?: boolean | undefined
  readonly transaction?: "none" | undefined
  readonly idempotent?: boolean | undefined
  readonly run: Effect.Effect<unknown, E, R> | ((context: SeedContext["Type"]) => Effect.Effect<unknown, E, R>)
}): Seed<E, Exclude<R, SeedContext>> => {
  const { run } = options
  return {
    [TypeId]: TypeId,
    description: options.description,
    skippable: options.skippable ?? false,
    transaction: options.transaction ?? "one",
    idempotent: options.idempotent ?? false,
    declared: run,
    run: (context) =>
      isOfStep(context)
        ? Effect.provideService(
            Effect.suspend(() => (Effect.isEffect(run) ? run : run(context))),
            SeedContext,
            context
          )
        : refuseOtherRunner(options.description)
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
 * themselves, as a plain object. Replicas of the reference system run it as well.
 *
 * @example
 * ```ts
 * import { Seed } from "effect-es-ops"
 *
 * export default Seed.fromPromise({
 *   description: "the first tenant",
 *   run: async (context) => {
 *     await context.systemWriteAs("tenant:write:create", { key: "acme", name: "Acme" })
 *   }
 * })
 * ```
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
    run: onEither(run)
  }
}

/** The function's work for a step, and for another runner, which settles the promises of its own context. */
const onEither = (declared: Plain["run"]): Seed<unknown>["run"] => {
  function run(context: SeedContext["Type"]): Effect.Effect<unknown, unknown>
  function run(context: SeedContext["Type"] | PromiseContext): unknown {
    return isOfStep(context) ? PromiseBody.run(declared, context) : PromiseBody.runElsewhere(declared, context)
  }
  return run
}

/** Whether a context is a step's: those of other runners have functions only, and this one an Effect among them. */
const isOfStep = (context: SeedContext["Type"] | PromiseContext): context is SeedContext["Type"] =>
  Predicate.hasProperty(context, "findTenants") && Effect.isEffect(context.findTenants)

/** Whether a value is a seed, of this copy of the package or another. What it requires is known to its author only. */
export const isSeed = (value: unknown): value is Seed => Predicate.hasProperty(value, TypeId)

/** Stops a runner that would take what it cannot run for done. */
const refuseOtherRunner = (description: string): never => {
  throw new Error(
    `the seed ${JSON.stringify(description)} is an Effect, made by Seed.make of effect-es-ops, which this runner cannot run; nothing of it was done. ` +
      "Apply it with effect-es-ops (es-ops seed:apply) before this program starts, or make it with Seed.fromPromise, which both can run."
  )
}
