/**
 * Steps of tests, and what they leave on record: on whatever lock, transactor and log there are.
 */
import { Cause, DateTime, Effect, Exit, Option, Schema } from "effect"
import { Operation, OperationLock, OperationLog, Transactor } from "effect-es-ops"
import type { Attempt, OperationError } from "effect-es-ops"
import { randomUUID } from "node:crypto"

/** A failure of a body. */
export class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}

export const newId = () => Operation.OperationId.make(`step-${randomUUID()}`)

export const marker = (id: Operation.OperationId): Operation.NewMarker => ({
  id,
  operationType: Operation.seedMigration,
  durationMs: 7,
  appliedBy: "cli",
  notes: Option.some("it's a note")
})

export const attempt = (id: Operation.OperationId, outcome: Attempt.AttemptOutcome): Attempt.NewAttempt => ({
  operationId: id,
  operationType: Operation.seedMigration,
  outcome,
  startedAt: DateTime.unsafeMake("2026-01-02T03:04:05.678Z"),
  endedAt: Option.some(DateTime.unsafeMake("2026-01-02T03:04:06.789Z")),
  durationMs: Option.some(1111),
  waitedMs: Option.some(22),
  appliedBy: "cli",
  host: "a-host",
  pid: 4711,
  version: Option.some("1.2.3"),
  sourceHash: Option.some("abc"),
  reason: Option.none(),
  error: Option.none()
})

type ClaimError = OperationError.LockHeld | OperationError.AlreadyApplied | OperationError.DatabaseError

/** A step as the runner makes it: claim, body, mark; a failure leaves an attempt. */
export const step = <A, E, R>(id: Operation.OperationId, body: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lock = yield* OperationLock.OperationLock
    const transactor = yield* Transactor.Transactor
    const record = { marker: marker(id), attempt: attempt(id, "applied") }
    const work = (restore: Transactor.Restore): Effect.Effect<Transactor.StepEnding<A, E | ClaimError>, never, R> =>
      Effect.gen(function* () {
        const claimed = yield* Effect.exit(restore(lock.claim(id)))
        if (Exit.isFailure(claimed)) return Transactor.undo(claimed.cause)
        const exit = yield* Effect.exit(restore(body))
        if (Exit.isSuccess(exit)) return Transactor.keep(exit.value, Option.some(record))
        const outcome = Cause.isInterruptedOnly(exit.cause) ? "interrupted" : "failed"
        return Transactor.undo(exit.cause, Option.some(attempt(id, outcome)))
      })
    const result = yield* Effect.uninterruptibleMask((restore) => transactor.step(work(restore), id, restore))
    if (result._tag === "Unanswered") return yield* result.lost
    return result._tag === "Committed" ? result.value : yield* Effect.failCause(result.cause)
  })

export const outcomesOf = (id: Operation.OperationId) =>
  Effect.gen(function* () {
    const log = yield* OperationLog.OperationLog
    return (yield* log.attempts({ id })).map(({ outcome }) => outcome)
  })

export const isMarked = (id: Operation.OperationId) =>
  Effect.map(
    Effect.flatMap(OperationLog.OperationLog, (log) => log.applied),
    (applied) => applied.has(id)
  )
