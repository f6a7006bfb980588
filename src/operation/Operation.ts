/**
 * What every kind of operation shares: its id, its type, who applied it, and the marker that says it was applied.
 */
import type * as DateTime from "effect/DateTime"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** The name of one operation, unique in a database. A seed's id is its file name without extension. */
export const OperationId = Schema.NonEmptyString.pipe(Schema.brand("effect-es-ops/OperationId"))
export type OperationId = typeof OperationId.Type

/** The `operation_type` of a seed migration, in the marker table and in the attempts. */
export const seedMigration = "seed-migration"

/** Who applies operations: an application at its start, a person at the command line, or a pipeline. */
export const AppliedBy = Schema.Literal("boot", "cli", "ci-pipeline")
export type AppliedBy = typeof AppliedBy.Type

/**
 * A row of the marker table: the operation was applied to this database.
 * `appliedBy` is text, because markers written by other programs count as well.
 */
export interface Marker {
  readonly id: OperationId
  readonly operationType: string
  readonly appliedAt: DateTime.Utc
  /** Whole milliseconds that the body took. */
  readonly durationMs: number
  readonly appliedBy: string
  readonly notes: Option.Option<string>
}

/** A marker to be written; the database says when. */
export type NewMarker = Omit<Marker, "appliedAt">

/** Byte order of ids as PostgreSQL's "C" collation has it, which UTF-16 order differs from above U+FFFF. */
export const order = (a: string, b: string): -1 | 0 | 1 => {
  if (a === b) return 0
  const shared = Math.min(a.length, b.length)
  let at = 0
  while (at < shared && a.charCodeAt(at) === b.charCodeAt(at)) at++
  if (at === shared) return a.length < b.length ? -1 : 1
  return rank(a.charCodeAt(at)) < rank(b.charCodeAt(at)) ? -1 : 1
}

/** Whether ids rise in that order. As strings compare where none has anything above U+D7FF, which takes a quarter of going through them. */
export const areRising = (ids: ReadonlyArray<string>): boolean =>
  ids.every((id, at) => !fromSurrogates.test(id) && (at === 0 || (ids[at - 1] ?? "") < id)) ||
  ids.every((id, at) => at === 0 || order(ids[at - 1] ?? "", id) < 0)

const fromSurrogates = /[\ud800-\uffff]/

/** Surrogates, which stand for what is above U+FFFF, come after U+E000 to U+FFFF. */
const rank = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)
