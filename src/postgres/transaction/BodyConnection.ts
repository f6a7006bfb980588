/**
 * What every statement of a body goes through: no control of the transaction, no statement after its end, and a note of what failed.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TransactionControl } from "../../operation/OperationError.js"
import { sqlState } from "../client/PgError.js"
import type { Left } from "../client/Cancellation.js"
import { inTime } from "../client/Cancellation.js"
import { closesCursors, transactionControl } from "../client/SqlText.js"

/** The gate of one step. */
export interface Gate {
  /** A connection through it; `turn` goes around each statement, and none passes once it `isOver`. */
  readonly connection: (turn: Around, isOver: () => boolean) => Connection
  /** Refuses a part that cannot begin any more. */
  readonly admit: Effect.Effect<void, SqlError>
  /** The body's attempt on the transaction, if there was one. */
  readonly meddling: () => Option.Option<TransactionControl>
  /** Notes such an attempt. */
  readonly meddled: (statement: string) => TransactionControl
  /** The body's last failure that the server answers for: what aborted the transaction, if it is aborted. */
  readonly lastFailure: () => Option.Option<SqlError>
  /** Whether the server may still be in a statement that was left, or may yet cancel what comes after it. */
  readonly isLeft: () => boolean
  /** Waits until that is over, but not for long. */
  readonly settled: Effect.Effect<boolean>
  /** No statement of the body from here on, and of whatever it left running. */
  readonly close: () => void
  /** Whether that is so. */
  readonly isClosed: () => boolean
}

/** Something that goes around an effect. */
export type Around = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** A text of several statements with a COMMIT or ROLLBACK among them. */
export const inLongerText = "a COMMIT or ROLLBACK inside a longer text"

/** What a gate lets through goes over `leaving`; `isBegun`: before there is a transaction, a failure is no word on it. */
export interface Wire {
  readonly leaving: (left: Left) => Connection
  readonly connection: Connection & { readonly pg: unknown }
  readonly isBegun: () => boolean
}

export const make = ({ connection: raw, isBegun, leaving }: Wire): Gate => {
  let closed = false
  /** Statements that were left while they ran: the server may still be in one, and is told by another connection to cancel it. */
  const left = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  let meddling = Option.none<TransactionControl>()
  let lastFailure = Option.none<SqlError>()
  const own = leaving((fiber) => {
    left.add(fiber)
    fiber.addObserver(() => left.delete(fiber))
    lastFailure = Option.some(sqlError(new Error("a statement was interrupted")))
  })

  const meddled = (statement: string): TransactionControl => {
    const first = Option.getOrElse(meddling, () => new TransactionControl({ statement }))
    meddling = Option.some(first)
    return first
  }

  const refusal = (): Error | undefined => (closed ? new StepOver() : Option.getOrUndefined(meddling))

  const admit = Effect.suspend(() => {
    const reason = refusal()
    return reason === undefined ? Effect.void : refused(reason)
  })

  const noteFailure = (error: SqlError): Effect.Effect<unknown> => {
    const state = sqlState(error)
    // Without a SQLSTATE the server did not answer: it never saw the statement, or the connection is gone.
    if (Option.isNone(state) || !isBegun()) return Effect.void
    if (state.value !== "25P02") lastFailure = Option.some(error)
    // After an error a transaction takes no statement (25P02): if the server takes one, there is no transaction any more.
    return Effect.match(own.executeRaw("SELECT 1", []), {
      onSuccess: () => meddled(inLongerText),
      onFailure: () => error
    })
  }

  const settled = Effect.suspend(() =>
    left.size === 0
      ? Effect.succeed(true)
      : inTime(Fiber.awaitAll(left), cancelPatience).pipe(
          Effect.as(true),
          Effect.orElseSucceed(() => false)
        )
  )

  /** What follows on a statement that was left and does not end, such as the end of its savepoint, does not wait for it for ever. */
  const afterLeft = <A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.flatMap(settled, (over) =>
      over
        ? run
        : inTime(run).pipe(
            Effect.catchTag("TimeoutException", () => {
              closed = true
              return refused(new StepOver())
            })
          )
    )

  const pass = <A>(
    text: string,
    params: ReadonlyArray<unknown>,
    isOver: () => boolean,
    run: Effect.Effect<A, SqlError>
  ): Effect.Effect<A, SqlError> =>
    Effect.suspend(() => {
      const reason = isOver() ? new StepOver() : refusal()
      if (reason !== undefined) return refused(reason)
      const forbidden = Option.orElse(transactionControl(text), () =>
        params.length === 0 ? closesCursors(text) : Option.none()
      )
      if (Option.isSome(forbidden)) return refused(meddled(forbidden.value))
      return Effect.matchEffect(left.size === 0 ? run : afterLeft(run), {
        onSuccess: (answer) => {
          noteStatus()
          return Effect.succeed(answer)
        },
        onFailure: (error) =>
          Effect.flatMap(noteFailure(error), () => {
            noteStatus()
            return Effect.fail(error)
          })
      })
    })

  /** Outside any transaction: the statement ended it. */
  const noteStatus = () => {
    if (isBegun() && statusOf(raw) === "I") meddled(inLongerText)
  }

  return {
    admit,
    meddled,
    meddling: () => meddling,
    lastFailure: () => lastFailure,
    isLeft: () => left.size > 0,
    settled,
    close: () => {
      closed = true
    },
    isClosed: () => closed,
    connection: (turn, isOver) => ({
      execute: (text, params, transform) => turn(pass(text, params, isOver, own.execute(text, params, transform))),
      executeRaw: (text, params) => turn(pass(text, params, isOver, own.executeRaw(text, params))),
      executeValues: (text, params) => turn(pass(text, params, isOver, own.executeValues(text, params))),
      executeUnprepared: (text, params, transform) =>
        turn(pass(text, params, isOver, own.executeUnprepared(text, params, transform))),
      // Read whole: a cursor held open would keep the turn, and the statement that the reader sends next would wait for ever.
      executeStream: (text, params, transform) =>
        Stream.fromIterableEffect(turn(pass(text, params, isOver, own.execute(text, params, transform))))
    })
  }
}

/** Rows of one statement of ours, by a shorter way inside a transaction than that of a statement of `sql`, which takes 50 µs more. */
export const ask = (
  sql: SqlClient.SqlClient,
  text: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<unknown>, SqlError> =>
  Effect.withFiberRuntime(({ currentContext }) => {
    const transaction = Context.getOption(currentContext, SqlClient.TransactionConnection)
    return Option.isSome(transaction) ? transaction.value[0].execute(text, params, undefined) : sql.unsafe(text, params)
  })

/**
 * How long the cancelling of a statement is waited for: until then it may hit the next one (PostgreSQL manual, 54.2.8). In a pool of one there
 * is no connection to cancel it by.
 */
const cancelPatience = "250 millis"

/** The server's last word on the transaction (PostgreSQL manual, 54.7): I for none, T for one, E for one that takes nothing any more. */
export const statusOf = (connection: { readonly pg?: unknown }): unknown => {
  const driver = connection.pg
  return Predicate.hasProperty(driver, "getTransactionStatus") && Predicate.isFunction(driver.getTransactionStatus)
    ? Reflect.apply(driver.getTransactionStatus, driver, [])
    : undefined
}

/** An error of ours in the shape that a statement fails with. */
export const sqlError = (cause: Error): SqlError => new SqlError({ cause, message: cause.message })

const refused = (cause: Error): Effect.Effect<never, SqlError> => Effect.fail(sqlError(cause))

/** A statement came after its step or its write: from a fiber that was left running. */
class StepOver extends Schema.TaggedError<StepOver>()("StepOver", {}) {
  override get message(): string {
    return "the step or write that this statement belongs to is over"
  }
}
