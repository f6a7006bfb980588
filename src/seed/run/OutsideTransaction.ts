/**
 * A seed outside any transaction: its attempt is there before its body, and is ended with the marker, or without. Nothing is undone.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type { AttemptOutcome, NewAttempt } from "../../operation/Attempt.js"
import { describe } from "../../operation/Attempt.js"
import type { AlreadyApplied } from "../../operation/OperationError.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { OperationLog } from "../../operation/OperationLog.js"
import * as UnhandledRejections from "../UnhandledRejections.js"
import type * as SeedAttempt from "./SeedAttempt.js"
import { BodyFailed } from "./SeedBody.js"
import * as StepFailure from "./StepFailure.js"

/** Runs `body` inside `Transactor.session`, after `OperationLock.claim`; `attempt` is the record of how it goes. */
export const run = <R>(
  body: Effect.Effect<SeedAttempt.Done, BodyFailed, R>,
  log: OperationLog["Type"],
  attempt: Recording
): Effect.Effect<SeedAttempt.Done, BodyFailed | AlreadyApplied | DatabaseError, R> =>
  Effect.gen(function* () {
    const attemptId = yield* Effect.flatMap(attempt("running"), log.begin)
    const unfinished = (cause: Cause.Cause<BodyFailed>) => endWithout(cause, attemptId, log, attempt)
    const done = yield* body.pipe(
      // A failure in the middle of which the connection went is the server's, whatever the body made of it.
      Effect.catchTag("BodyFailed", (failed) =>
        Effect.flatMap(unfinished(Cause.fail(failed)), (lost): Effect.Effect<never, BodyFailed | DatabaseError> =>
          Option.match(lost, {
            onNone: () => Effect.fail(failed),
            onSome: (error) => Effect.fail(StepFailure.lostWithin(failed, error))
          })
        )
      ),
      Effect.onInterrupt(() => unfinished(Cause.interrupt(FiberId.none)))
    )
    yield* log.finish(attemptId, done.attempt, Option.some(done.marker)).pipe(
      Effect.catchTag("TransactionLeftOpen", (cause) => Effect.fail(new BodyFailed({ cause }))),
      Effect.tapErrorTag("BodyFailed", (failed) => unfinished(Cause.fail(failed)))
    )
    return done
  })

/** The record of an attempt that goes so. */
type Recording = (outcome: AttemptOutcome, more?: Partial<SeedAttempt.Ended>) => Effect.Effect<NewAttempt>

/** Ends an attempt without a marker, if that can be done within a second; answers with the loss of the connection, if it is gone. */
const endWithout = (
  cause: Cause.Cause<BodyFailed>,
  attemptId: number,
  log: OperationLog["Type"],
  attempt: Recording
): Effect.Effect<Option.Option<DatabaseError>> => {
  const error = Option.orElse(
    Option.map(Cause.failureOption(cause), (failed) => failed.cause),
    UnhandledRejections.blamedFor
  )
  return Effect.flatMap(attempt(Cause.isInterrupted(cause) ? "interrupted" : "failed", { error }), (ended) =>
    log.finish(attemptId, ended, Option.none())
  ).pipe(
    Effect.interruptible,
    Effect.disconnect,
    Effect.timeout("1 second"),
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
