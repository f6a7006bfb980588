/**
 * The record of one attempt at a seed, with what this replica knows of itself.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { AttemptOutcome, NewAttempt } from "../../operation/Attempt.js"
import { describe } from "../../operation/ErrorDescription.js"
import type { AppliedBy, OperationId } from "../../operation/Operation.js"
import { seedMigration } from "../../operation/Operation.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { Replica } from "../../operation/Replica.js"

/** What is to be said of an attempt that ends now. Times are milliseconds since the epoch. */
export interface Ended {
  readonly id: OperationId
  readonly outcome: AttemptOutcome
  readonly appliedBy: AppliedBy
  readonly sourceHash: Option.Option<string>
  /** When the lock was first tried. Default: now. */
  readonly beganAt?: number | undefined
  /** When it was got. Default: now. */
  readonly claimedAt?: number | undefined
  /** Whole milliseconds of the body. Default: since `claimedAt`. */
  readonly durationMs?: number | undefined
  readonly reason?: string | undefined
  /** What the seed threw or failed with. */
  readonly error?: Option.Option<unknown> | undefined
}

/** Who makes it: what a replica says of itself. */
export interface Author {
  readonly host: string
  readonly pid: number
  readonly version: Option.Option<string>
}

/** The attempt as it is recorded. */
export const make = (ended: Ended): Effect.Effect<NewAttempt, never, OperationConfig | Replica> =>
  Effect.flatMap(author, (by) => Effect.map(Clock.currentTimeMillis, (now) => at(ended, by, now)))

/** This replica. */
export const author: Effect.Effect<Author, never, OperationConfig | Replica> = Effect.zipWith(
  Replica,
  OperationConfig,
  ({ host, pid }, { version }) => ({ host, pid, version })
)

/** The attempt that ends at `now`, in milliseconds since the epoch. */
export const at = (ended: Ended, { host, pid, version }: Author, now: number): NewAttempt => {
  const { beganAt = now, claimedAt = now } = ended
  const isRunning = ended.outcome === "running"
  return {
    operationId: ended.id,
    operationType: seedMigration,
    outcome: ended.outcome,
    startedAt: DateTime.unsafeMake(claimedAt),
    endedAt: isRunning ? Option.none() : Option.some(DateTime.unsafeMake(now)),
    durationMs: isRunning ? Option.none() : Option.some(ended.durationMs ?? Math.round(now - claimedAt)),
    waitedMs: Option.some(Math.round(claimedAt - beganAt)),
    appliedBy: ended.appliedBy,
    host,
    pid,
    version,
    sourceHash: ended.sourceHash,
    reason: Option.fromNullable(ended.reason),
    error: Option.map(ended.error ?? Option.none(), describe)
  }
}
