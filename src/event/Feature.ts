/**
 * A feature: a name, the write handlers and projections of one part of an application, and the tables that it owns.
 */
import type { Projection } from "./Projection.js"
import type { AnyWriteHandler } from "./WriteHandler.js"

/** A column of a table that a feature owns. */
export interface Column {
  readonly name: string
  readonly type: "uuid" | "text" | "integer" | "bigint" | "boolean" | "jsonb" | "timestamptz"
  /** Default: no. */
  readonly nullable?: boolean | undefined
  /** Default: none. `now` is the start of the transaction. */
  readonly default?: "now" | undefined
}

/** A table that a feature owns: created under the operations lock, by the first apply that has something to do, if it is missing. */
export interface Table {
  readonly name: string
  readonly columns: ReadonlyArray<Column>
  /** Names of columns. */
  readonly primaryKey: ReadonlyArray<string>
  /** Names of columns for each unique constraint. Default: none. */
  readonly unique?: ReadonlyArray<ReadonlyArray<string>> | undefined
  /** Names of columns for each index. Default: none. */
  readonly indexes?: ReadonlyArray<ReadonlyArray<string>> | undefined
}

/** A feature, as settings name it. `R` is what its handlers and projections require. */
export interface Feature<out R = unknown> {
  /** By convention the first part of its handlers' names. */
  readonly name: string
  /** The handlers that writes reach. */
  readonly handlers: ReadonlyArray<AnyWriteHandler<unknown, R>>
  /** The projections that run in the transaction of a write, in this order. */
  readonly projections: ReadonlyArray<Projection<unknown, R>>
  /** The tables that are created if they are missing. */
  readonly tables: ReadonlyArray<Table>
}

/** The services that the handlers and projections of features require. */
export type Context<F> = F extends Feature<infer R> ? R : never

/** The services that a handler or projection requires. */
export type Requires<P> =
  P extends AnyWriteHandler<infer _E, infer R> ? R : P extends Projection<infer _E, infer R> ? R : never

/** The parts of a feature: handlers, projections and tables, each of its own type. */
export interface Parts<H, P> {
  readonly name: string
  readonly handlers: ReadonlyArray<H>
  readonly projections?: ReadonlyArray<P> | undefined
  readonly tables?: ReadonlyArray<Table> | undefined
}

/**
 * Makes a feature; it requires what its handlers and projections require. Settings name it in `features`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { EsOps, Feature, Identity, WriteHandler } from "effect-es-ops"
 *
 * const open = WriteHandler.make({
 *   name: "shop:write:open",
 *   payload: Schema.Struct({ name: Schema.NonEmptyString }),
 *   access: ["system"],
 *   handle: ({ name }, { newId }) => ({
 *     events: [{ aggregateId: newId, aggregateType: "shop", version: 1, type: "shop.opened", payload: { name } }],
 *     data: { id: newId, name }
 *   })
 * })
 *
 * export const shop = Feature.make({ name: "shop", handlers: [open] })
 *
 * export const OpsLive = EsOps.layer({ seeds: "./seeds", features: [Identity.feature, shop] })
 * ```
 */
export function make<H extends AnyWriteHandler = never, P extends Projection<unknown, unknown> = never>(
  parts: Parts<H, P>
): Feature<Requires<H | P>>
export function make(parts: Parts<AnyWriteHandler, Projection<unknown, unknown>>): Feature {
  return { ...parts, projections: parts.projections ?? [], tables: parts.tables ?? [] }
}
