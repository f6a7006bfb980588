/**
 * An operation is work that is done once to a database. Every kind has an id, a type, and a marker that says who applied it and when.
 */
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RecordedTime } from "./RecordedTime.js"

/** The name of one operation, unique in a database. A seed's id is its file name without extension. */
export const OperationId = Schema.NonEmptyString.pipe(Schema.brand("effect-es-ops/OperationId"))
export type OperationId = typeof OperationId.Type

/** The `operation_type` of a seed migration, in the marker table and in the attempts. */
export const seedMigration = "seed-migration"

/** The kinds of programs that apply operations: an application at its start, a person at the command line, or a pipeline. */
export const AppliedBy = Schema.Literal("boot", "cli", "ci-pipeline")
export type AppliedBy = typeof AppliedBy.Type

/**
 * A row of the marker table: the operation was applied to this database.
 * `appliedBy` is text, because markers written by other programs count as well.
 */
export interface Marker {
  readonly id: OperationId
  readonly operationType: string
  readonly appliedAt: RecordedTime
  /** The duration of the body, in whole milliseconds. */
  readonly durationMs: number
  readonly appliedBy: string
  readonly notes: Option.Option<string>
}

/** A marker to be written; the database says when. */
export type NewMarker = Omit<Marker, "appliedAt">
