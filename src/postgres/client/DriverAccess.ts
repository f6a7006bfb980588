/**
 * The driver behind a connection, which `@effect/sql-pg` keeps in a member that its types do not have. Three things cannot be had otherwise:
 * the state of the transaction as the server told it with its last answer (only asking would tell, by a message of its own), the session
 * that a pooler announced, and the end of a connection that must not go back to the pool. A connection without a driver that can be reached
 * is taken for one of which nothing is known.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { Duplex } from "node:stream"

/** I: in no transaction. T: in one. E: in one that takes nothing any more (PostgreSQL manual, 54.7, ReadyForQuery). */
export type TransactionStatus = "I" | "T" | "E"

const driverOf = (connection: Connection): unknown =>
  Predicate.hasProperty(connection, "pg") ? connection.pg : undefined

/**
 * What the server last said of the transaction, where the driver tells. A statement that failed may be answered before the server has said what
 * it left: ask behind another statement then.
 */
export const transactionStatus = (connection: Connection): Option.Option<TransactionStatus> => {
  const driver = driverOf(connection)
  if (!Predicate.hasProperty(driver, "getTransactionStatus") || !Predicate.isFunction(driver.getTransactionStatus))
    return Option.none()
  const status: unknown = Reflect.apply(driver.getTransactionStatus, driver, [])
  return status === "I" || status === "T" || status === "E" ? Option.some(status) : Option.none()
}

/** The session that was announced when the connection was opened (PostgreSQL manual, 54.2.1, BackendKeyData). */
export const announcedSession = (connection: Connection): Option.Option<unknown> => {
  const driver = driverOf(connection)
  return Predicate.hasProperty(driver, "processID") ? Option.fromNullable(driver.processID) : Option.none()
}

/**
 * Closes the connection and waits until it is closed: the pool drops it then, and the server ends its transaction. A connection whose end
 * nobody has seen must not be used again: its transaction may be open, and the lock held.
 */
export const disconnect = (connection: Connection): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const socket = ["connection", "stream"].reduce<unknown>(
      (from, key) => (Predicate.hasProperty(from, key) ? from[key] : undefined),
      driverOf(connection)
    )
    if (socket instanceof Duplex && !socket.closed) {
      socket.once("close", () => resume(Effect.void))
      socket.destroy()
    } else resume(Effect.void)
  })
