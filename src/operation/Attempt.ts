/**
 * An attempt is one try at one operation, as `es_ops_attempts` keeps it: when, by which process, with what outcome, and why it failed.
 */
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { OperationId } from "./Operation.js"
import type { RecordedTime } from "./RecordedTime.js"

/** The outcome of a try. `running` is the one that has not ended yet. */
export const AttemptOutcome = Schema.Literal(
  "running",
  "applied",
  "failed",
  "skipped",
  "interrupted",
  "marked",
  "unmarked"
)
export type AttemptOutcome = typeof AttemptOutcome.Type

/** An error as it is kept: no stack, and no row values (PostgreSQL's `detail` and `where` are left out). */
export class AttemptError extends Schema.Class<AttemptError>("effect-es-ops/AttemptError")({
  _tag: Schema.String,
  code: Schema.NullOr(Schema.String),
  message: Schema.String
}) {}

/** A row of the attempts table. */
export interface Attempt {
  /** Order of recording in this database. */
  readonly id: number
  readonly operationId: OperationId
  readonly operationType: string
  /** 1 for the first try at this operation, 2 for the second, … */
  readonly attempt: number
  readonly outcome: AttemptOutcome
  readonly startedAt: RecordedTime
  readonly endedAt: Option.Option<RecordedTime>
  /** Whole milliseconds of the body. */
  readonly durationMs: Option.Option<number>
  /** Whole milliseconds of waiting for the lock. */
  readonly waitedMs: Option.Option<number>
  readonly appliedBy: string
  readonly host: string
  readonly pid: number
  /** The application's version, where it is known. */
  readonly version: Option.Option<string>
  readonly sourceHash: Option.Option<string>
  readonly reason: Option.Option<string>
  readonly error: Option.Option<AttemptError>
}

/** An attempt to be recorded; the log gives it its id and its number. */
export type NewAttempt = Omit<Attempt, "id" | "attempt">
