/**
 * One try at one operation, as it is kept in `es_ops_attempts`: when, by whom, with what outcome, and why it failed.
 */
import type * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { AttemptError } from "./ErrorDescription.js"
import { describe } from "./ErrorDescription.js"
import type { OperationId } from "./Operation.js"

/** How a try ended. `running` is the one that has not ended yet. */
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

/** A row of the attempts table. */
export interface Attempt {
  /** Order of recording in this database. */
  readonly id: number
  readonly operationId: OperationId
  readonly operationType: string
  /** 1 for the first try at this operation, 2 for the second, … */
  readonly attempt: number
  readonly outcome: AttemptOutcome
  readonly startedAt: DateTime.Utc
  readonly endedAt: Option.Option<DateTime.Utc>
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

/** The reason that an attempt outside any transaction carries: what was interrupted then is half done, and not run again by itself. */
export const outsideTransaction = 'transaction: "none"'

/** Whether an attempt was begun outside any transaction and did not end. */
export const isHalfDone = ({ outcome, reason }: Pick<Attempt, "outcome" | "reason">): boolean =>
  outcome === "running" || (outcome === "interrupted" && Option.contains(reason, outsideTransaction))

/** An attempt to be recorded; the log gives it its id and its number. */
export type NewAttempt = Omit<Attempt, "id" | "attempt">

/** The record of an attempt that was about to succeed, when the transaction that would have kept it was refused. */
export const refused = (attempt: NewAttempt, reason: unknown): NewAttempt => ({
  ...attempt,
  outcome: "failed",
  error: Option.some(describe(reason))
})

/** The record of an attempt that was interrupted before it was kept. */
export const interrupted = (attempt: NewAttempt): NewAttempt =>
  attempt.outcome === "interrupted" ? attempt : { ...attempt, outcome: "interrupted", error: Option.none() }

export { AttemptError, describe } from "./ErrorDescription.js"
