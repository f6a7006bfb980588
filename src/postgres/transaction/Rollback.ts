/**
 * The end of a step that failed: back to its savepoint, the trace of the attempt, and only then the lock is free.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { Duplex } from "node:stream"
import { describe } from "../../operation/Attempt.js"
import { CommitLost, DatabaseError } from "../../operation/OperationError.js"
import type { StepError, StepOptions } from "../../operation/Transactor.js"
import { isConnectionLost } from "../client/PgError.js"
import type { Step } from "./PgStep.js"

/** How long a step that was interrupted may take to be undone and recorded; then its connection is closed, and the server rolls back. */
const undoTimeout = "1 second"

/** How long the record of an attempt may take on another connection when the step's own is gone. */
const traceTimeout = "2 seconds"

/** What is left to do when the connection is given back. */
export interface Ended<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly later: Effect.Effect<void>
}

/** Undoes a step that failed, leaves its trace, ends the transaction; the step's own failure is the answer. */
const undoNow = <E>(
  raw: Connection,
  step: Step,
  cause: Cause.Cause<E | StepError>,
  options: StepOptions<never, E | StepError>
): Effect.Effect<Ended<never, E | StepError>> =>
  Effect.gen(function* () {
    const failure = reasonFor(step, cause)
    const exit = Exit.failCause(failure)
    if (isCommitLost(failure)) return yield* Effect.as(disconnect(raw), { exit, later: Effect.void })
    const trace = options.trace(failure)
    const later = laterOf(step, cause, trace)
    if (step.isUnsent()) return { exit, later }
    const keeps = step.isOpen() && Option.isSome(trace)
    const back = yield* Effect.either(keeps ? step.undo : step.rollback)
    if (Either.isLeft(back) && isConnectionLost(back.left)) {
      return yield* Effect.as(disconnect(raw), { exit: lostDuring(failure), later })
    }
    // The savepoint is gone when the body ended the transaction, or the server did at COMMIT: the trace stands alone then.
    const within = keeps && Either.isRight(back)
    const end = (text: string) => Effect.catchAll(raw.executeRaw(text, []), () => disconnect(raw))
    if (Either.isLeft(back)) yield* end("ROLLBACK")
    if (!within && mayBeCommitted(step, cause)) return { exit, later: Effect.void }
    yield* Option.match(trace, {
      onNone: () => Effect.void,
      onSome: (write) => Effect.catchAll(step.provideRaw(write), logUntraced)
    })
    if (within) yield* end("COMMIT")
    return { exit, later: Effect.void }
  })

/** A step that was left in the middle of its COMMIT has an attempt of its own if that went through: no other is to say that it did not. */
const mayBeCommitted = (step: Step, cause: Cause.Cause<unknown>): boolean =>
  step.isCommitting() && Cause.isInterrupted(cause)

const laterOf = (
  step: Step,
  cause: Cause.Cause<unknown>,
  trace: Option.Option<Effect.Effect<void, DatabaseError>>
): Effect.Effect<void> =>
  mayBeCommitted(step, cause) ? Effect.void : Option.match(trace, { onNone: () => Effect.void, onSome: traceLater })

/** A step that was interrupted is undone in time, or its connection is closed: a statement may be running that nobody can wait for. */
export const undo = <E>(
  raw: Connection,
  step: Step,
  cause: Cause.Cause<E | StepError>,
  options: StepOptions<never, E | StepError>
): Effect.Effect<Ended<never, E | StepError>> =>
  Cause.isInterrupted(cause)
    ? undoNow(raw, step, cause, options).pipe(
        Effect.interruptible,
        Effect.disconnect,
        Effect.interruptible,
        Effect.timeoutTo({
          duration: undoTimeout,
          onSuccess: (ended) => Effect.succeed(ended),
          onTimeout: () =>
            Effect.as(disconnect(raw), {
              exit: Exit.failCause(cause),
              later: laterOf(step, cause, options.trace(cause))
            })
        }),
        Effect.flatten
      )
    : undoNow(raw, step, cause, options)

/**
 * Closes the driver's socket and waits until it is: the pool drops the connection then, and the server ends its transaction. A connection
 * whose end nobody has seen must not be used again: its transaction may be open, and the lock held.
 */
export const disconnect = (connection: Connection): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const socket = ["pg", "connection", "stream"].reduce<unknown>(
      (from, key) => (Predicate.hasProperty(from, key) ? from[key] : undefined),
      connection
    )
    if (socket instanceof Duplex && !socket.closed) {
      socket.once("close", () => resume(Effect.void))
      socket.destroy()
    } else resume(Effect.void)
  })

/** A body that tried to end the transaction fails for that reason, whatever it made of the refusal. */
const reasonFor = <E>(step: Step, cause: Cause.Cause<E | StepError>): Cause.Cause<E | StepError> =>
  Cause.isInterrupted(cause) ? cause : Option.match(step.meddling(), { onNone: () => cause, onSome: Cause.fail })

const isCommitLost = <E>(cause: Cause.Cause<E>): boolean =>
  Option.exists(Cause.failureOption(cause), (error) => error instanceof CommitLost)

const lostDuring = <E>(cause: Cause.Cause<E | StepError>): Exit.Exit<never, E | StepError> => {
  if (Cause.isInterrupted(cause)) return Exit.failCause(cause)
  const reason = Cause.squash(cause)
  return Exit.fail(
    reason instanceof DatabaseError && reason.connectionLost
      ? reason
      : new DatabaseError({
          action: "running a step",
          id: Option.none(),
          code: Option.fromNullable(describe(reason).code),
          reason: describe(reason).message,
          connectionLost: true,
          cause: reason
        })
  )
}

const traceLater = (write: Effect.Effect<void, DatabaseError>): Effect.Effect<void> =>
  write.pipe(
    Effect.interruptible,
    Effect.disconnect,
    Effect.interruptible,
    Effect.timeout(traceTimeout),
    Effect.catchAll(logUntraced)
  )

const logUntraced = (error: { readonly message: string }): Effect.Effect<void> =>
  Effect.logWarning(`The attempt was not recorded: ${error.message}`)
