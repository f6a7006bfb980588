/**
 * The transactor runs one step of an operation as one transaction: all of it is kept, or nothing but the record of the attempt.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { NewAttempt } from "./Attempt.js"
import type { NewMarker } from "./Operation.js"
import type {
  AlreadyApplied,
  CommitRefused,
  DatabaseError,
  SwallowedSqlError,
  TransactionControl
} from "./OperationError.js"
import { CommitLost } from "./OperationError.js"
import type { QueryError, Row } from "./QueryError.js"

/** What is written together with the COMMIT of a step that succeeded. */
export interface StepRecord {
  readonly marker: NewMarker
  readonly attempt: NewAttempt
}

/** The ending of a step's work, and what is to be written with it. */
export type StepEnding<A, E> =
  | {
      /** Everything is kept: `record` goes with the COMMIT. */
      readonly _tag: "Keep"
      readonly value: A
      readonly record: Option.Option<StepRecord>
    }
  | {
      /** Everything since the claim is undone, then `attempt` is committed, which releases the lock. */
      readonly _tag: "Undo"
      readonly cause: Cause.Cause<E>
      /** None for a failure that is no attempt, such as a lock that another holds. */
      readonly attempt: Option.Option<NewAttempt>
    }

/** The failures of the transaction itself: its body ended it, the server did not keep it, or its marker is there already. */
export type RefusedCommit = TransactionControl | SwallowedSqlError | CommitRefused | AlreadyApplied | DatabaseError

/** The result of a step. */
export type StepResult<A, E> =
  | { readonly _tag: "Committed"; readonly value: A }
  | { readonly _tag: "RolledBack"; readonly cause: Cause.Cause<E | RefusedCommit> }
  /** COMMIT was sent and not answered: the server may have committed. */
  | { readonly _tag: "Unanswered"; readonly value: A; readonly lost: CommitLost }

/** The failures of a transaction that is run by itself. */
export type TransactionError = RefusedCommit | CommitLost

/** Ends work that is kept. */
export const keep = <A>(value: A, record: Option.Option<StepRecord> = Option.none()): StepEnding<A, never> => ({
  _tag: "Keep",
  value,
  record
})

/** Ends work that is undone. */
export const undo = <E>(
  cause: Cause.Cause<E>,
  attempt: Option.Option<NewAttempt> = Option.none()
): StepEnding<never, E> => ({ _tag: "Undo", cause, attempt })

/** Makes an effect as interruptible as it was outside of an uninterruptible region. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** The port of transactions. */
export class Transactor extends Context.Tag("effect-es-ops/Transactor")<
  Transactor,
  {
    /**
     * Runs `step` in one transaction, without interrupting it, and ends the transaction as its ending says. `restore`, that of an
     * `uninterruptibleMask`, makes the waits around it interruptible; the step uses it for its claim and its body. An ending that cannot be kept
     * is recorded as a failed attempt.
     */
    readonly step: <A, E, R>(
      step: Effect.Effect<StepEnding<A, E>, never, R>,
      name: string,
      restore: Restore
    ) => Effect.Effect<StepResult<A, E>, never, R>
    /**
     * Runs `body` outside any transaction, on one connection that it has for itself: nothing of it is undone. Its `SqlClient` uses that
     * connection.
     */
    readonly session: <A, E, R>(body: Effect.Effect<A, E, R>, name: string) => Effect.Effect<A, E | DatabaseError, R>
    /**
     * Runs `part` alone among the statements of its step, in a savepoint that is undone when it fails. Outside a step it is a transaction
     * of its own.
     */
    readonly savepoint: <A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DatabaseError, R>
    /**
     * Checks what the COMMIT of the current step would check, its deferred constraints, and defers them again. Inside a step, after the
     * claim.
     */
    readonly checkDeferred: Effect.Effect<void, CommitRefused | DatabaseError>
    /** The current step's transaction, as the server numbers it; none where there is no server. */
    readonly transactionId: Effect.Effect<Option.Option<string>, DatabaseError>
    /** One reading statement, in a savepoint that is always undone; it sees what its step has written. */
    readonly query: (text: string, params: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, QueryError>
  }
>() {}

/** Runs `body` in one transaction: committed when it succeeds, together with `record`, and rolled back without a trace when it does not. */
export const run = <A, E, R>(
  transactor: Pick<Transactor["Type"], "step">,
  body: Effect.Effect<A, E, R>,
  name: string,
  record: Option.Option<StepRecord> = Option.none()
): Effect.Effect<A, E | TransactionError, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      transactor.step(
        Effect.map(
          Effect.exit(restore(body)),
          Exit.match({ onFailure: (cause): StepEnding<A, E> => undo(cause), onSuccess: (value) => keep(value, record) })
        ),
        name,
        restore
      ),
      (result): Effect.Effect<A, E | TransactionError> => {
        switch (result._tag) {
          case "Committed":
            return Effect.succeed(result.value)
          case "RolledBack":
            return Effect.failCause(result.cause)
          case "Unanswered":
            return Effect.fail(result.lost)
        }
      }
    )
  )
