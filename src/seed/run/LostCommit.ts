/**
 * A connection lost at COMMIT: what became of the seed is read under the lock, on another connection.
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Schedule from "effect/Schedule"
import * as AttemptRecord from "../../operation/AttemptRecord.js"
import * as LockWait from "../../operation/LockWait.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { CommitLost } from "../../operation/OperationError.js"
import { CommitUnknown, DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import * as Transactors from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import { SeedOutcome } from "../SeedReport.js"
import type { Done } from "./SeedStep.js"

/** How often another connection is tried. */
const again = Schedule.spaced("250 millis")

/** The outcome, if it is there; the failure, recorded, if it is not; and `CommitUnknown` if nobody can tell within `lockTimeout`. */
export const settle = (
  done: Done,
  lost: CommitLost
): Effect.Effect<
  SeedOutcome,
  CommitUnknown | DatabaseError,
  Transactor | OperationLock | OperationLog | OperationConfig
> =>
  Effect.gen(function* () {
    const { id } = done.marker
    const { lockTimeout } = yield* OperationConfig
    const lock = yield* OperationLock
    const log = yield* OperationLog
    const failed = Effect.suspend(() => log.record(AttemptRecord.refused(done.attempt, lost)))
    const look = Transactors.run(yield* Transactor, Effect.zipRight(lock.claim(id), failed), id)
    return yield* look.pipe(
      Effect.catchTag("LockHeld", (held) => LockWait.afterHeld(id, held, look, () => Effect.void)),
      Effect.retry({
        schedule: Schedule.upTo(again, lockTimeout),
        while: (error) => error._tag === "DatabaseError" && error.connectionLost
      }),
      Effect.zipRight(Effect.suspend(() => Effect.fail(notCommitted(lost)))),
      Effect.catchAll((error): Effect.Effect<SeedOutcome, CommitUnknown | DatabaseError, OperationLog> => {
        if (error._tag === "AlreadyApplied") return appliedBy(done)
        return Effect.fail(
          error._tag === "DatabaseError" && error.cause === lost
            ? error
            : new CommitUnknown({ id, reason: `${lost.reason}; ${error.message}` })
        )
      })
    )
  })

/** Applied, by this very step or, since it was not committed, by another replica: its attempt tells, or its marker where there are none. */
const appliedBy = ({ attempt, marker, outcome }: Done) =>
  Effect.gen(function* () {
    const { id } = marker
    const log = yield* OperationLog
    const attempts = yield* log.attempts({ id })
    const found = (yield* log.markers).find((other) => other.id === id)
    const ours =
      attempts.length === 0
        ? found?.durationMs === marker.durationMs && found.appliedBy === marker.appliedBy
        : attempts.some(
            (other) =>
              other.outcome === "applied" &&
              other.host === attempt.host &&
              other.pid === attempt.pid &&
              Equal.equals(other.startedAt, attempt.startedAt)
          )
    return ours ? outcome : SeedOutcome.Raced({ id })
  })

const notCommitted = (lost: CommitLost): DatabaseError =>
  DatabaseError.because("committing", `${lost.message}; the server did not commit, nothing was kept`, {
    connectionLost: true,
    cause: lost
  })
