/**
 * A seed outside any transaction: its attempt is there before its body, and is ended with the marker, or without. Nothing is undone.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { AttemptOutcome, NewAttempt } from "../../operation/Attempt.js"
import * as BoundedWait from "../../operation/BoundedWait.js"
import { describe } from "../../operation/ErrorDescription.js"
import type { AlreadyApplied } from "../../operation/OperationError.js"
import { DatabaseError, LockControl } from "../../operation/OperationError.js"
import { OperationLog } from "../../operation/OperationLog.js"
import type { StepRecord } from "../../operation/Transactor.js"
import * as UnhandledRejections from "../UnhandledRejections.js"
import type * as SeedAttempt from "./SeedAttempt.js"
import { BodyFailed } from "./SeedBody.js"

/** The record of an attempt that goes so. */
type Recording<R> = (outcome: AttemptOutcome, more?: Partial<SeedAttempt.Ended>) => Effect.Effect<NewAttempt, never, R>

/** How long the end of an attempt may take to be recorded. */
const recordPatience = "1 second"

/** Runs `body` inside `Transactor.session`, after `OperationLock.claim`. */
export const run = <A extends StepRecord, R, R2>(
  body: Effect.Effect<A, BodyFailed, R>,
  attempt: Recording<R2>
): Effect.Effect<A, BodyFailed | AlreadyApplied | DatabaseError, R | R2 | OperationLog> =>
  Effect.gen(function* () {
    const log = yield* OperationLog
    const attemptId = yield* Effect.flatMap(attempt("running"), log.begin)
    const unfinished = (cause: Cause.Cause<BodyFailed>) => endWithout(cause, attemptId, attempt)
    const done = yield* body.pipe(
      Effect.mapError(({ cause }) => new BodyFailed({ cause: refusalIn(cause) })),
      // A failure in the middle of which the connection went is the server's, whatever the body made of it.
      Effect.catchTag("BodyFailed", (failed) =>
        Effect.flatMap(unfinished(Cause.fail(failed)), (lost): Effect.Effect<never, BodyFailed | DatabaseError> =>
          Option.match(lost, {
            onNone: () => Effect.fail(failed),
            onSome: (error) => Effect.fail(lostWithin(failed, error))
          })
        )
      ),
      Effect.onInterrupt(() => unfinished(Cause.interrupt(FiberId.none)))
    )
    yield* log.finish(attemptId, done.attempt, Option.some(done.marker)).pipe(
      Effect.catchTags({
        LockControl: (cause) => new BodyFailed({ cause }),
        TransactionLeftOpen: (cause) => new BodyFailed({ cause })
      }),
      Effect.tapErrorTag("BodyFailed", (failed) => unfinished(Cause.fail(failed)))
    )
    return done
  })

/** What a statement was refused for is the failure itself, and not that a statement failed. */
const refusalIn = (cause: unknown): unknown =>
  Predicate.hasProperty(cause, "cause") && cause.cause instanceof LockControl ? cause.cause : cause

/** The failure of a body whose connection is gone, as `error` tells. */
const lostWithin = ({ cause }: BodyFailed, error: DatabaseError): DatabaseError =>
  new DatabaseError({
    ...error,
    action: "running the seed",
    reason: `the connection was lost, and it ended with: ${describe(cause).message}`,
    cause
  })

/** Ends an attempt without a marker, if that can be done in time; answers with the loss of the connection, if it is gone. */
const endWithout = <R>(
  cause: Cause.Cause<BodyFailed>,
  attemptId: number,
  attempt: Recording<R>
): Effect.Effect<Option.Option<DatabaseError>, never, R | OperationLog> => {
  const error = Option.orElse(
    Option.map(Cause.failureOption(cause), (failed) => failed.cause),
    UnhandledRejections.blamedFor
  )
  const ended = Effect.gen(function* () {
    const log = yield* OperationLog
    const record = yield* attempt(Cause.isInterrupted(cause) ? "interrupted" : "failed", { error })
    yield* log.finish(attemptId, record, Option.none())
  })
  return BoundedWait.within(ended, recordPatience).pipe(
    Effect.as(Option.none<DatabaseError>()),
    Effect.catchAllCause((failed) => {
      const reason = Cause.squash(failed)
      return Effect.as(
        Effect.logWarning(`The end of the attempt was not recorded: ${describe(reason).message}`),
        reason instanceof DatabaseError && reason.connectionLost ? Option.some(reason) : Option.none()
      )
    })
  )
}
