/**
 * A connection lost at COMMIT: what became of the seed is read under the lock, on another connection.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { NewAttempt } from "../../operation/Attempt.js"
import * as LockWait from "../../operation/LockWait.js"
import type { AppliedBy, OperationId } from "../../operation/Operation.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { CommitLost } from "../../operation/OperationError.js"
import { CommitUnknown, DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import { Replica } from "../../operation/Replica.js"
import { Transactor, untraced } from "../../operation/Transactor.js"
import type { Ran } from "./SeedBody.js"
import { SeedOutcome } from "../SeedReport.js"

/** The step whose COMMIT was not answered. */
export interface Unanswered {
  readonly id: OperationId
  readonly appliedBy: AppliedBy
  readonly atomic: boolean
  /** When it got the lock, in milliseconds since the epoch: by that its own attempt is told from another's. */
  readonly claimedAt: number
  readonly done: Ran
  /** The attempt to record if the server did not commit. */
  readonly failed: Effect.Effect<NewAttempt>
  readonly lost: CommitLost
}

/** How often another connection is tried. */
const again = Schedule.spaced("250 millis")

/** The outcome, if it is there; the failure, recorded, if it is not; and `CommitUnknown` if nobody can tell within `lockTimeout`. */
export const settle = (
  step: Unanswered
): Effect.Effect<
  SeedOutcome,
  CommitUnknown | DatabaseError,
  Transactor | OperationLock | OperationLog | OperationConfig | Replica
> =>
  Effect.gen(function* () {
    const { failed, id, lost } = step
    const { lockTimeout } = yield* OperationConfig
    const lock = yield* OperationLock
    const log = yield* OperationLog
    const transactor = yield* Transactor
    const look = transactor.run(Effect.zipRight(lock.claim(id), Effect.flatMap(failed, log.record)), untraced(id))
    return yield* LockWait.whileHeld(id, look, () => Effect.void).pipe(
      Effect.retry({
        schedule: Schedule.upTo(again, lockTimeout),
        while: (error) => error._tag === "DatabaseError" && error.connectionLost
      }),
      Effect.zipRight(Effect.fail(notCommitted(lost))),
      Effect.catchAll((error): Effect.Effect<SeedOutcome, CommitUnknown | DatabaseError, OperationLog | Replica> => {
        if (error._tag === "AlreadyApplied") return appliedBy(step)
        return Effect.fail(
          error._tag === "DatabaseError" && error.cause === lost
            ? error
            : new CommitUnknown({ id, reason: `${lost.reason}; ${error.message}` })
        )
      })
    )
  })

/** Applied, by this very step or, since it was not committed, by another replica: its attempt tells, or its marker where there are none. */
const appliedBy = ({ appliedBy, atomic, claimedAt, done, id }: Unanswered) =>
  Effect.gen(function* () {
    const { host, pid } = yield* Replica
    const log = yield* OperationLog
    const attempts = yield* log.attempts({ id })
    const marker = (yield* log.markers).find((found) => found.id === id)
    const ours =
      attempts.length === 0
        ? marker?.durationMs === done.durationMs && marker.appliedBy === appliedBy
        : attempts.some(
            (other) =>
              other.outcome === "applied" &&
              other.host === host &&
              other.pid === pid &&
              DateTime.toEpochMillis(other.startedAt) === claimedAt
          )
    return ours ? SeedOutcome.Applied({ id, ...done, preview: Option.none(), atomic }) : SeedOutcome.Raced({ id })
  })

const notCommitted = (lost: CommitLost): DatabaseError =>
  new DatabaseError({
    action: "committing",
    id: Option.none(),
    code: Option.none(),
    reason: `${lost.message}; the server did not commit, nothing was kept`,
    connectionLost: true,
    cause: lost
  })
