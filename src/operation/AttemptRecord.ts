/**
 * The record of an attempt that ends otherwise than it was about to, and the mark of one that was begun outside any transaction.
 */
import * as Option from "effect/Option"
import type { Attempt, NewAttempt } from "./Attempt.js"
import { describe } from "./ErrorDescription.js"

/** The reason that an attempt outside any transaction carries: what was interrupted then is half done, and not run again by itself. */
export const outsideTransaction = 'transaction: "none"'

/** Whether an attempt was begun outside any transaction and did not end. */
export const isHalfDone = ({ outcome, reason }: Pick<Attempt, "outcome" | "reason">): boolean =>
  outcome === "running" || (outcome === "interrupted" && Option.contains(reason, outsideTransaction))

/** The record of an attempt that was about to succeed, when the transaction that would have kept it was refused. */
export const refused = (attempt: NewAttempt, reason: unknown): NewAttempt => ({
  ...attempt,
  outcome: "failed",
  error: Option.some(describe(reason))
})

/** The record of an attempt that was interrupted before it was kept. */
export const interrupted = (attempt: NewAttempt): NewAttempt =>
  attempt.outcome === "interrupted" ? attempt : { ...attempt, outcome: "interrupted", error: Option.none() }
