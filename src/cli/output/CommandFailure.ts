/**
 * The failure of a command, as far as its exit code, its lines and its document need it: every error of the library has this shape.
 */
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { describe } from "../../operation/ErrorDescription.js"
import * as TableWait from "../../operation/TableWait.js"
import type { SeedProblem } from "../../seed/SeedProblem.js"
import { UsageError } from "../UsageError.js"

export interface CommandFailure {
  readonly _tag: string
  readonly message: string
  /** The seed, as text or as an option of text. */
  readonly id?: unknown
  readonly cause?: unknown
  /** The code that the server or the system gave, as an option of text. */
  readonly code?: unknown
  readonly problems?: ReadonlyArray<SeedProblem>
}

/** The seed that a failure names. */
export const seedOf = ({ id }: CommandFailure): Option.Option<string> => {
  if (Predicate.isString(id)) return Option.some(id)
  return Option.isOption(id) ? Option.filter(id, Predicate.isString) : Option.none()
}

/** The tags of failures that come from the words of the command line. */
const usage = new Set([
  "UnknownSeed",
  "NotApplied",
  "RenameRefused",
  "SeedNotCreated",
  "UnknownAggregate",
  "UnknownSubscriber",
  "UnknownBackfill",
  "ReplayBoundsInvalid",
  "UnknownProjection"
])

/** A statement that failed as it waited too long for a table failed for that. */
const asTimeout = (failure: CommandFailure): CommandFailure =>
  failure._tag === "DatabaseError" ? Option.getOrElse(TableWait.timeoutIn(failure), () => failure) : failure

/** The failure in a cause. A defect keeps its own tag, and its message says that nobody expected it. */
export const fromCause = <E extends CommandFailure>(cause: Cause.Cause<E>): CommandFailure =>
  Option.match(Cause.failureOption(cause), {
    onSome: (failure): CommandFailure =>
      usage.has(failure._tag) ? new UsageError({ reason: failure.message }) : asTimeout(failure),
    onNone: () => {
      const { _tag, message } = describe(Cause.squash(cause))
      return { _tag, message: `unexpected: ${message}` }
    }
  })
