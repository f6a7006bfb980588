/**
 * A seed migration: a description, and an effect that is applied to a database once.
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { QueryError, Row } from "../operation/QueryError.js"
import type { PromiseContext } from "./PromiseSeed.js"
import * as PromiseBody from "./PromiseBody.js"
import * as SeedBatch from "./SeedBatch.js"
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
  /**
   * `one`: all of it in one transaction. `none`: outside any, for what PostgreSQL refuses in one; nothing of it is undone. `batches`: a transaction for
   * each batch of its rows.
   */
  readonly transaction: "one" | "none" | "batches"
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

/** What is said of every batched seed. */
interface BatchedDescription {
  readonly description: string
  readonly skippable?: boolean | undefined
  /** How many rows a batch has. Default: 500. */
  readonly size?: number | undefined
}

/**
 * Makes a seed that is too large for one transaction. Each batch of at most `size` rows is a transaction of its own, with the cursor that the next
 * goes on behind; the marker comes with the last. Killed anywhere, it goes on behind the last batch that was committed, each row exactly once;
 * where a batch fails, those before it stay. `process` is the body of one batch: it may do what `run` of `Seed.make` may.
 *
 * `source` is a query with a unique key column, or a function that gives the next rows behind a key, in the order of the key, and none at the end.
 * Their `key` is text or a number; without that function it is the property `key` of a row. `count` says how many rows there are, for progress.
 * Rows that come up behind the cursor meanwhile are not seen.
 *
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { Effect } from "effect"
 * import { Seed } from "effect-es-ops"
 *
 * export default Seed.batched({
 *   description: "every order has a currency",
 *   source: { sql: "SELECT id FROM orders WHERE currency IS NULL", key: "id" },
 *   process: (rows) =>
 *     Effect.gen(function* () {
 *       const sql = yield* SqlClient.SqlClient
 *       const ids = rows.map((row) => String(row["id"]))
 *       yield* sql`UPDATE orders SET currency = 'EUR' WHERE ${sql.in("id", ids)}`
 *     })
 * })
 * ```
 */
export function batched<E = never, R = never>(
  options: BatchedDescription & {
    readonly source: SeedBatch.SqlSource
    readonly process: (rows: ReadonlyArray<Row>, context: SeedContext["Type"]) => Effect.Effect<unknown, E, R>
  }
): Seed<E | SeedBatch.BatchSourceError | QueryError, Exclude<R, SeedContext>>
export function batched<A, E = never, R = never, E2 = never, R2 = never, E3 = never, R3 = never>(
  options: BatchedDescription & {
    readonly source: (after: Option.Option<string>, size: number) => Effect.Effect<ReadonlyArray<A>, E, R>
    readonly key?: ((row: A) => SeedBatch.Key) | undefined
    readonly count?: Effect.Effect<number, E3, R3> | undefined
    readonly process: (rows: ReadonlyArray<A>, context: SeedContext["Type"]) => Effect.Effect<unknown, E2, R2>
  }
): Seed<E | E2 | E3 | SeedBatch.BatchSourceError, Exclude<R | R2 | R3, SeedContext>>
export function batched<A, E, R>(
  options: BatchedDescription & {
    readonly source:
      | SeedBatch.SqlSource
      | ((after: Option.Option<string>, size: number) => Effect.Effect<ReadonlyArray<A | Row>, E, R>)
    readonly key?: ((row: A | Row) => SeedBatch.Key) | undefined
    readonly count?: Effect.Effect<number, E, R> | undefined
    readonly process: (rows: ReadonlyArray<A | Row>, context: SeedContext["Type"]) => Effect.Effect<unknown, E, R>
  }
): Seed<E | SeedBatch.BatchSourceError | QueryError, Exclude<R, SeedContext>> {
  const { count, description, key, process, size, skippable = false, source } = options
  const batch = (context: SeedContext["Type"]): Effect.Effect<void, E | SeedBatch.BatchSourceError | QueryError, R> =>
    SeedBatch.isSql(source)
      ? SeedBatch.run<A | Row, E | QueryError, R>(
          { ...SeedBatch.ofSql(source, context), key: SeedBatch.sqlKey, process, size },
          context
        )
      : SeedBatch.run({ source, count, key, process, size }, context)
  return {
    [TypeId]: TypeId,
    description,
    skippable,
    transaction: "batches",
    idempotent: false,
    declared: process,
    run: (context) =>
      isOfStep(context)
        ? Effect.provideService(
            Effect.suspend(() => batch(context)),
            SeedContext,
            context
          )
        : refuseOtherRunner(description, "batched")
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
const refuseOtherRunner = (description: string, made: "make" | "batched" = "make"): never => {
  throw new Error(
    `the seed ${JSON.stringify(description)} is an Effect, made by Seed.${made} of effect-es-ops, which this runner cannot run; nothing of it was done. ` +
      "Apply it with effect-es-ops (es-ops seed:apply) before this program starts, or make it with Seed.fromPromise, which both can run."
  )
}
