/**
 * The lock on the events, which is tried for 30 ms at a time: who writes waits for no longer, and between two tries goes on.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as LockWait from "../operation/LockWait.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import { DatabaseError, LockTimeout } from "../operation/OperationError.js"
import { EventsBusy, StreamMoves } from "./StreamMoves.js"

/** Tries a transaction under the lock again while others are in its way, for as long as `lockTimeout`. */
export const retried = <A, E, R>(
  transaction: Effect.Effect<A, E | EventsBusy, R>
): Effect.Effect<A, E | LockTimeout | DatabaseError, R | StreamMoves | OperationConfig> =>
  whileBusy(transaction, timeout)

/** The same for any transaction; `timeout` gives the failure of one that took too long, by when it was tried first. */
export const whileBusy = <A, E, R, R2>(
  transaction: Effect.Effect<A, E | EventsBusy, R>,
  timeout: (startedAt: number) => Effect.Effect<LockTimeout, DatabaseError, R2>
): Effect.Effect<A, E | LockTimeout | DatabaseError, R | R2 | OperationConfig> =>
  Effect.gen(function* () {
    const { lockTimeout } = yield* OperationConfig
    const startedAt = yield* Clock.currentTimeMillis
    const tried = Effect.mapError(transaction, (error): Busy | Other<E> =>
      isBusy(error) ? { _tag: "Busy" } : { _tag: "Other", error }
    )
    const schedule = LockWait.within(pauses, lockTimeout)
    return yield* Effect.catchAll(
      Effect.retry(tried, { schedule, while: ({ _tag }) => _tag === "Busy" }),
      (failed): Effect.Effect<never, E | LockTimeout | DatabaseError, R2> =>
        failed._tag === "Busy" ? Effect.flatMap(timeout(startedAt), Effect.fail) : Effect.fail(failed.error)
    )
  })

interface Busy {
  readonly _tag: "Busy"
}

interface Other<out E> {
  readonly _tag: "Other"
  readonly error: E
}

/** lock_not_available and deadlock_detected too, of a statement on another table. */
const isBusy = <E>(error: E | EventsBusy): error is EventsBusy =>
  error instanceof EventsBusy ||
  (error instanceof DatabaseError && Option.exists(error.code, (code) => code === "55P03" || code === "40P01"))

/** Between two tries: who was in the way gets through. */
const pauses = Schedule.jittered(Schedule.union(Schedule.exponential("20 millis", 1.5), Schedule.spaced("500 millis")))

const timeout = (startedAt: number): Effect.Effect<LockTimeout, DatabaseError, StreamMoves> =>
  Effect.gen(function* () {
    const holder = yield* (yield* StreamMoves).holder
    const waitedMs = (yield* Clock.currentTimeMillis) - startedAt
    return new LockTimeout({ id: null, holder, waitedMs, table: "kumiko_events" })
  })
