/**
 * The connection that a body gets: no statement of it ends the transaction, none comes after its end, and what failed is noted.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as BoundedWait from "../../operation/BoundedWait.js"
import { TransactionControl } from "../../operation/OperationError.js"
import type { AroundStatement } from "../client/ConnectionDecorator.js"
import { decorate, withWholeStreams } from "../client/ConnectionDecorator.js"
import * as DriverAccess from "../client/DriverAccess.js"
import { sqlError, sqlState } from "../client/PgError.js"
import { closesCursors, transactionControl } from "../client/SqlText.js"
import type { StatementBatch } from "./StatementBatch.js"

/** Goes around an effect, such as the turn of a statement. */
export type Around = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** The statements of one body. */
export interface Body {
  /** A connection for them; `turn` goes around each, and none is sent once it `hasEnded`. */
  readonly connection: (turn: Around, hasEnded: () => boolean) => Connection
  /** Fails where no part of the body may begin any more. */
  readonly admit: Effect.Effect<void, SqlError>
  /** The body's attempt on the transaction, if there was one. */
  readonly violation: () => Option.Option<TransactionControl>
  /** Notes such an attempt; gives the first one. */
  readonly violated: (statement: string) => TransactionControl
  /** The body's last failure that the server answers for: what aborted the transaction, if it is aborted. */
  readonly lastFailure: () => Option.Option<SqlError>
  /** Waits until no abandoned statement can be in the way any more, but not for long: false if one still may be. */
  readonly settled: Effect.Effect<boolean>
  /** Whether the transaction takes the next statement, as far as is known. */
  readonly isSound: () => boolean
  /** No statement of the body from here on, and of what it left running. */
  readonly close: () => void
  readonly isClosed: () => boolean
}

/** A text of several statements with a COMMIT or ROLLBACK among them. */
export const inLongerText = "a COMMIT or ROLLBACK inside a longer text"

/**
 * How long the cancellation of a statement is waited for: until then it may hit the next one (PostgreSQL manual, 54.2.8). In a pool of one
 * there is no connection to cancel it by.
 */
const cancellationPatience = "250 millis"

/** How long a statement behind an abandoned one may take. */
const patience = "1 second"

/** The body of a step whose statements go over `batch`. */
export const make = (wire: Connection, batch: StatementBatch): Body => {
  let closed = false
  /** The fibers of abandoned statements: the server may still be in one, until its cancellation has ended. */
  const abandoned = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  let violation = Option.none<TransactionControl>()
  let lastFailure = Option.none<SqlError>()
  const own = batch.connection((fiber) => {
    abandoned.add(fiber)
    fiber.addObserver(() => abandoned.delete(fiber))
    lastFailure = Option.some(sqlError(new Error("a statement was interrupted")))
  })

  const violated = (statement: string): TransactionControl => {
    const first = Option.getOrElse(violation, () => new TransactionControl({ statement }))
    violation = Option.some(first)
    return first
  }

  const admit = Effect.suspend(() =>
    closed
      ? refused(new StepHasEnded())
      : Option.match(violation, { onNone: () => Effect.void, onSome: (first) => refused(first) })
  )

  const status = () => DriverAccess.transactionStatus(wire)

  const noteFailure = (error: SqlError): Effect.Effect<unknown> => {
    const state = sqlState(error)
    // Without a SQLSTATE the server did not answer: it never saw the statement, or the connection is gone.
    if (Option.isNone(state) || !batch.isBegun()) return Effect.void
    if (state.value !== "25P02") lastFailure = Option.some(error)
    if (Option.isSome(status())) return Effect.void
    // After an error a transaction takes no statement (25P02): if the server takes one, there is no transaction any more.
    return Effect.match(own.executeRaw("SELECT 1", []), {
      onSuccess: () => violated(inLongerText),
      onFailure: () => error
    })
  }

  /** In no transaction: the statement ended it. */
  const noteStatus = Effect.sync(() => {
    if (batch.isBegun() && Option.contains(status(), "I")) violated(inLongerText)
  })

  const settled = Effect.suspend(() =>
    abandoned.size === 0
      ? Effect.succeed(true)
      : BoundedWait.within(Fiber.awaitAll(abandoned), cancellationPatience).pipe(
          Effect.as(true),
          Effect.orElseSucceed(() => false)
        )
  )

  /** What follows on an abandoned statement that does not end, such as the end of its savepoint, does not wait for it for ever. */
  const afterAbandoned = <A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.flatMap(settled, (over) =>
      over
        ? run
        : Effect.catchTag(BoundedWait.within(run, patience), "TimeoutException", () => {
            closed = true
            return refused(new StepHasEnded())
          })
    )

  const forbiddenIn = (text: string, params: ReadonlyArray<unknown>) =>
    Option.orElse(transactionControl(text), () => (params.length === 0 ? closesCursors(text) : Option.none()))

  const checked =
    (turn: Around, hasEnded: () => boolean): AroundStatement =>
    (run, text, params) =>
      turn(
        Effect.suspend(() => {
          if (hasEnded()) return refused(new StepHasEnded())
          const forbidden = forbiddenIn(text, params)
          if (Option.isSome(forbidden) && !closed) return refused(violated(forbidden.value))
          const sent = abandoned.size === 0 ? run : afterAbandoned(run)
          return Effect.zipRight(admit, sent).pipe(Effect.tapError(noteFailure), Effect.ensuring(noteStatus))
        })
      )

  return {
    connection: (turn, hasEnded) => withWholeStreams(decorate(own, checked(turn, hasEnded))),
    admit,
    violated,
    violation: () => violation,
    lastFailure: () => lastFailure,
    settled,
    isSound: () => abandoned.size === 0 && Option.contains(status(), "T"),
    close: () => {
      closed = true
    },
    isClosed: () => closed
  }
}

const refused = (cause: Error): Effect.Effect<never, SqlError> => Effect.fail(sqlError(cause))

/** A statement came after the end of its step or write: from a fiber that was left running. */
class StepHasEnded extends Schema.TaggedError<StepHasEnded>()("StepHasEnded", {}) {
  override get message(): string {
    return "the step or write that this statement belongs to is over"
  }
}
