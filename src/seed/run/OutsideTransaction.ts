/**
 * A seed outside any transaction: its attempt is there before its body, and is ended with the marker, or without. Nothing is undone.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { AttemptOutcome, NewAttempt } from "../../operation/Attempt.js"
import * as BoundedWait from "../../operation/BoundedWait.js"
import { describe } from "../../operation/ErrorDescription.js"
import type { AlreadyApplied } from "../../operation/OperationError.js"
import { DatabaseError, EncodingChanged, LockControl } from "../../operation/OperationError.js"
import { OperationLog } from "../../operation/OperationLog.js"
import type { Restore, StepRecord } from "../../operation/Transactor.js"
import * as UnhandledRejections from "../UnhandledRejections.js"
import type * as SeedAttempt from "./SeedAttempt.js"
import { BodyFailed } from "./SeedBody.js"

/** The record of an attempt that goes so. */
type Recording<R> = (outcome: AttemptOutcome, more?: Partial<SeedAttempt.Ended>) => Effect.Effect<NewAttempt, never, R>

/** How long the end of an attempt may take to be recorded. */
const recordPatience = "1 second"

/** How long the end of one that is applied may take once the run is interrupted. */
const commitPatience = "500 millis"

/** How long a look at what became of it may take, which begins when the end is cancelled: over another connection, which may have to be opened. */
const lookPatience = "2 seconds"

/** What is called around the record of a body that is through, which an interruption does not cut short. */
export interface Commit<A, B> {
  /** Before the server is asked to keep it. */
  readonly committing: Effect.Effect<void>
  /** When it is known not to be kept. */
  readonly undone: Effect.Effect<void>
  /** When it is known to be kept. */
  readonly committed: (done: A) => Effect.Effect<B>
}

/** Runs `body` inside `Transactor.session`, after `OperationLock.claim`. */
export const run = <A extends StepRecord, B, R, R2>(
  body: Effect.Effect<A, BodyFailed, R>,
  attempt: Recording<R2>,
  { committed, committing, undone }: Commit<A, B>
): Effect.Effect<B, BodyFailed | AlreadyApplied | DatabaseError, R | R2 | OperationLog> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const log = yield* OperationLog
      const attemptId = yield* begun(log, attempt, restore)
      const unfinished = (cause: Cause.Cause<BodyFailed>) => endWithout(cause, attemptId, attempt)
      const done = yield* restore(body).pipe(
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
        // An interruption may come with a defect, of what the body has around it for that.
        Effect.tapErrorCause((cause) =>
          Cause.isFailure(cause)
            ? Effect.void
            : unfinished(Cause.isInterrupted(cause) ? Cause.interrupt(FiberId.none) : Cause.die(Cause.squash(cause)))
        )
      )
      return yield* committing.pipe(
        Effect.zipRight(finished(log, attemptId, done, restore)),
        Effect.tap((isKept) =>
          isKept ? Effect.void : Effect.all([unfinished(Cause.interrupt(FiberId.none)), undone, Effect.interrupt])
        ),
        Effect.catchTags({
          LockControl: (cause) => new BodyFailed({ cause }),
          EncodingChanged: (cause) => new BodyFailed({ cause }),
          TransactionLeftOpen: (cause) => new BodyFailed({ cause })
        }),
        Effect.tapErrorTag("BodyFailed", (failed) => unfinished(Cause.fail(failed))),
        Effect.zipRight(Effect.suspend(() => committed(done)))
      )
    })
  )

/** The attempt that is there before its body. Where it is interrupted while it is being recorded, it is ended, if it got there in time. */
const begun = <R>(
  log: OperationLog["Type"],
  attempt: Recording<R>,
  restore: Restore
): Effect.Effect<number, DatabaseError, R | OperationLog> =>
  Effect.gen(function* () {
    const running = yield* attempt("running")
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(log.begin(running)))
    const waited = yield* Effect.exit(restore(Fiber.await(fiber)))
    if (Exit.isSuccess(waited)) return yield* waited.value
    const late = yield* Effect.option(BoundedWait.within(Fiber.await(fiber), commitPatience))
    if (Option.isNone(late)) yield* Fiber.interruptFork(fiber)
    else if (Exit.isSuccess(late.value)) yield* endWithout(Cause.interrupt(FiberId.none), late.value.value, attempt)
    return yield* Effect.interrupt
  })

/**
 * The end of an attempt with its marker. An interruption cancels it when it does not end in time; but as the server may have committed all the
 * same, its record is looked at then: whether it is kept.
 */
const finished = (
  log: OperationLog["Type"],
  attemptId: number,
  { attempt, marker }: StepRecord,
  restore: Restore
): Effect.Effect<boolean, Effect.Effect.Error<ReturnType<OperationLog["Type"]["finish"]>>> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(log.finish(attemptId, attempt, Option.some(marker))))
    const waited = yield* Effect.exit(restore(Fiber.await(fiber)))
    if (Exit.isSuccess(waited)) return yield* Effect.as(waited.value, true)
    const late = yield* Effect.option(BoundedWait.within(Fiber.await(fiber), commitPatience))
    if (Option.isSome(late)) return yield* Effect.as(late.value, true)
    yield* Fiber.interruptFork(fiber)
    const look = Effect.map(log.attempts({ id: attempt.operationId }), (all) => all.find(({ id }) => id === attemptId))
    const found = yield* Effect.option(BoundedWait.within(look, lookPatience))
    if (Option.isSome(found)) return found.value?.outcome === "applied"
    yield* Effect.logWarning(unknownWarning(attempt.operationId))
    return yield* Effect.interrupt
  })

const unknownWarning = (id: string): string =>
  `"${id}" was being recorded as applied when the run was interrupted, and the server has not answered: whether it is there is not known here; seed:status tells`

/** What a statement was refused for is the failure itself, and not that a statement failed. */
const refusalIn = (cause: unknown): unknown =>
  Predicate.hasProperty(cause, "cause") &&
  (cause.cause instanceof LockControl || cause.cause instanceof EncodingChanged)
    ? cause.cause
    : cause

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
