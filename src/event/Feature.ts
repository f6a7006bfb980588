/**
 * A feature: a name, the write handlers and projections of one part of an application, and the tables that it owns.
 */
import type { AnyAggregate } from "./Aggregate.js"
import type { Backfill } from "./Backfill.js"
import type { Projection } from "./Projection.js"
import type { Subscriber } from "./Subscriber.js"
import type { Table } from "./Table.js"
import type { AnyWriteHandler } from "./WriteHandler.js"

export { table } from "./Table.js"
export type { Column, Key, RowTable, StoredRow, Table } from "./Table.js"

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
  /** What past events can be given to again. */
  readonly subscribers: ReadonlyArray<Subscriber<unknown, R>>
  /** The aggregates whose snapshots are kept. */
  readonly aggregates: ReadonlyArray<AnyAggregate>
  /** How rows from before event sourcing become events. */
  readonly backfills: ReadonlyArray<Backfill<unknown, R>>
}

/** The services that the handlers and projections of features require. */
export type Context<F> = F extends Feature<infer R> ? R : never

/** The services that a handler, projection, subscriber or backfill requires. */
export type Requires<P> =
  P extends AnyWriteHandler<infer _E, infer R>
    ? R
    : P extends Projection<infer _E, infer R>
      ? R
      : P extends Subscriber<infer _E, infer R>
        ? R
        : P extends Backfill<infer _E, infer R>
          ? R
          : never

/** The parts of a feature: handlers, projections, subscribers, aggregates, backfills and tables, each of its own type. */
export interface Parts<H, P, S, B = never> {
  readonly name: string
  readonly handlers: ReadonlyArray<H>
  readonly projections?: ReadonlyArray<P> | undefined
  readonly subscribers?: ReadonlyArray<S> | undefined
  readonly aggregates?: ReadonlyArray<AnyAggregate> | undefined
  readonly backfills?: ReadonlyArray<B> | undefined
  readonly tables?: ReadonlyArray<Table> | undefined
}

/**
 * Makes a feature; it requires what its handlers and projections require. Settings name it in `features`. The tables of `Projection.fold` and
 * `Projection.rows` are the feature's, whether `tables` names them or not.
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
export function make<
  H extends AnyWriteHandler = never,
  P extends Projection<unknown, unknown> = never,
  S extends Subscriber = never,
  B extends Backfill = never
>(parts: Parts<H, P, S, B>): Feature<Requires<H | P | S | B>>
export function make(parts: Parts<AnyWriteHandler, Projection<unknown, unknown>, Subscriber, Backfill>): Feature {
  const { projections = [], tables = [] } = parts
  // The table of a fold, or of rows, is this projection's alone: who names the projection has named the table.
  const folded = projections.flatMap(({ definition }) => (definition === undefined ? [] : [definition.table]))
  return {
    ...parts,
    projections,
    subscribers: parts.subscribers ?? [],
    aggregates: parts.aggregates ?? [],
    backfills: parts.backfills ?? [],
    tables: [...tables, ...folded.filter((table) => !tables.some(({ name }) => name === table.name))]
  }
}

/** Features of several types as features of their union, which each of them is. */
export function united<F extends Feature>(features: ReadonlyArray<F>): ReadonlyArray<Feature<Context<F>>>
export function united(features: ReadonlyArray<Feature>): ReadonlyArray<Feature> {
  return features
}
