/**
 * A projection: folds events into a read table, in the transaction that appends them.
 */
import type * as Effect from "effect/Effect"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { Event } from "./Event.js"
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
}

/**
 * Makes an inline projection: it runs in the transaction that appends the events, and its failure undoes them.
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
export const make = <E = never, R = never>(options: Projection<E, R>): Projection<E, R> => options
