/**
 * A projection: folds events into a read table, in the transaction that appends them.
 */
import type * as Effect from "effect/Effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Option from "effect/Option"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event } from "./Event.js"
import type { AnyEventType, Of } from "./EventType.js"
import type { EventFeed } from "./EventFeed.js"
import type { AnyEvent, Definition, FoldError } from "./FoldDefinition.js"
import * as FoldDefinition from "./FoldDefinition.js"
import * as InlineFold from "./InlineFold.js"
import type { ReadTables } from "./ReadTables.js"
import type { Key, RowTable, Table } from "./Table.js"
import type { Rejection } from "./WriteHandler.js"

/** A projection by its name, with the events that it folds and how. `E` is what it can fail with, `R` what it requires. */
export interface Projection<out E = never, out R = never> {
  readonly name: string
  /** The event types that it folds; others do not reach it. */
  readonly events: ReadonlyArray<string>
  /**
   * Folds events, in the order of their append. A projection that finds a rule of the read table broken (a key that is taken) refuses
   * the write with a `Rejection`.
   */
  readonly apply: (events: NonEmptyReadonlyArray<Event>) => Effect.Effect<void, Rejection | E, R>
  /** The tables that it writes, by which it can be rebuilt. Default: none are known. */
  readonly tables?: ReadonlyArray<Table> | undefined
  /** The version of its definition: raised, its tables are outdated until they are rebuilt. Default: 1. */
  readonly version?: number | undefined
  /** Whether the events of archived streams count in a rebuild. Default: they are dropped, and their rows with them. */
  readonly archived?: "drop" | "keep" | undefined
  /** Its pure functions, where it is a fold or gives rows. */
  readonly definition?: Definition | undefined
  /** The text of its functions: a run that was begun with others is no use any more. Default: that of `apply`. */
  readonly source?: string | undefined
  /** The event types that it knows more of than the name. */
  readonly types?: ReadonlyArray<AnyEventType> | undefined
}

/**
 * Makes an inline projection: it runs in the transaction that appends the events, and its failure undoes them. It can be rebuilt if it names
 * the `tables` that it writes.
 *
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { Effect } from "effect"
 * import { Projection } from "effect-es-ops"
 *
 * export const orders = Projection.make({
 *   name: "read_orders",
 *   events: ["order.placed"],
 *   apply: (events) =>
 *     Effect.gen(function* () {
 *       const sql = yield* SqlClient.SqlClient
 *       const rows = events.map(({ aggregateId, payload }) => ({ id: aggregateId, sku: String(payload["sku"]) }))
 *       yield* sql`INSERT INTO read_orders ${sql.insert(rows)}`
 *     })
 * })
 * ```
 */
export const make = <E = never, R = never>(
  options: Pick<Projection<E, R>, "name" | "events" | "apply" | "tables" | "version" | "archived">
): Projection<E, R> => options

/** What a projection says besides its functions. */
interface Options<A, I, K extends string> {
  readonly name: string
  readonly table: RowTable<A, I, K>
  /** The version of the definition. Default: 1. */
  readonly version?: number | undefined
  /** Whether the events of archived streams count in a rebuild. Default: they are dropped. */
  readonly archived?: "drop" | "keep" | undefined
}

/**
 * Makes a projection that folds events into one row a key, by pure functions: for each event type, the row so far and the event give the row
 * that follows, or none where it is to be removed. The key is the aggregate's id, unless `key` says otherwise; where one id may be in two
 * tenants, it has to have the tenant in it. With a key of its own, the events of different aggregates must give the same row in any order.
 * A unique key that is taken refuses the write with `conflict`.
 *
 * @example
 * ```ts
 * import { Option, Schema } from "effect"
 * import { EventType, Feature, Projection } from "effect-es-ops"
 *
 * const placed = EventType.make({ type: "order.placed", payload: Schema.Struct({ sku: Schema.String }) })
 * const cancelled = EventType.make({ type: "order.cancelled", payload: Schema.Struct({}) })
 *
 * const table = Feature.table({
 *   name: "read_orders",
 *   columns: [
 *     { name: "id", type: "uuid" },
 *     { name: "sku", type: "text" }
 *   ],
 *   primaryKey: ["id"],
 *   row: Schema.Struct({ id: Schema.String, sku: Schema.String })
 * })
 *
 * export const orders = Projection.fold({
 *   name: "orders",
 *   table,
 *   on: [
 *     [placed, (_, event) => Option.some({ id: event.aggregateId, sku: event.payload.sku })],
 *     [cancelled, () => Option.none()]
 *   ]
 * })
 * ```
 */
export function fold<A, I, K extends string, const T extends ReadonlyArray<AnyEventType>>(
  options: Options<A, I, K> & {
    readonly key?: ((event: Of<T[number]>) => { readonly [Name in K]: Key[string] }) | undefined
    readonly on: {
      readonly [N in keyof T]: readonly [T[N], (row: Option.Option<A>, event: Of<T[N]>) => Option.Option<A>]
    }
  }
): Projection<FoldError | DatabaseError, ReadTables | EventFeed>
export function fold<A, I, K extends string>(
  options: Options<A, I, K> & {
    readonly key?: ((event: AnyEvent) => Key) | undefined
    readonly on: ReadonlyArray<readonly [AnyEventType, (row: Option.Option<A>, event: AnyEvent) => Option.Option<A>]>
  }
): Projection<FoldError | DatabaseError, ReadTables | EventFeed> {
  const { key, on, ...rest } = options
  const definition = FoldDefinition.fold(options.table, key, on)
  return { ...declared(rest, on, key), definition, apply: InlineFold.fold(definition, options.archived === "keep") }
}

/**
 * Makes a projection of which each event gives rows by itself, by pure functions; they are put in the place of rows with the same primary key.
 * The events of different aggregates must give the same table in any order. A unique key that is taken refuses the write with `conflict`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { EventType, Feature, Projection } from "effect-es-ops"
 *
 * const paid = EventType.make({ type: "invoice.paid", payload: Schema.Struct({ cents: Schema.Int }) })
 *
 * const table = Feature.table({
 *   name: "read_payments",
 *   columns: [
 *     { name: "event_id", type: "bigint" },
 *     { name: "cents", type: "integer" }
 *   ],
 *   primaryKey: ["event_id"],
 *   row: Schema.Struct({ event_id: Schema.BigInt, cents: Schema.Int })
 * })
 *
 * export const payments = Projection.rows({
 *   name: "payments",
 *   table,
 *   on: [[paid, ({ id, payload }) => [{ event_id: id, cents: payload.cents }]]]
 * })
 * ```
 */
export function rows<A, I, K extends string, const T extends ReadonlyArray<AnyEventType>>(
  options: Options<A, I, K> & {
    readonly on: { readonly [N in keyof T]: readonly [T[N], (event: Of<T[N]>) => ReadonlyArray<A>] }
  }
): Projection<FoldError | DatabaseError, ReadTables>
export function rows<A, I, K extends string>(
  options: Options<A, I, K> & {
    readonly on: ReadonlyArray<readonly [AnyEventType, (event: AnyEvent) => ReadonlyArray<A>]>
  }
): Projection<FoldError | DatabaseError, ReadTables> {
  const { on, ...rest } = options
  const definition = FoldDefinition.rows(options.table, on)
  return { ...declared(rest, on), definition, apply: InlineFold.rows(definition) }
}

const declared = <A, I, K extends string>(
  { archived, name, table, version }: Options<A, I, K>,
  on: ReadonlyArray<readonly [AnyEventType, unknown]>,
  key?: unknown
) => {
  const types = on.map(([type]) => type)
  const source = [key, ...on.map(([, use]) => use)].map(String).join("\n")
  return { name, version, archived, tables: [table], events: types.map(({ type }) => type), types, source }
}
