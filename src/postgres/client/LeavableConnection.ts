/**
 * A connection whose statements can be left at once. One that is left is cancelled in the background, over another connection of the pool, for which
 * that may have to wait; and until it is there, it may hit what is sent next (PostgreSQL manual, 54.2.8). So this connection is closed: nobody gets
 * it with a statement or a cancellation under way, nor inside a transaction.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { abandonable, decorate } from "./DecoratedConnection.js"
import * as DriverAccess from "./DriverAccess.js"

/** The same connection, closed when a statement of it is interrupted. Streams are read whole before their first row is given. */
export const make = (connection: Connection): Connection => {
  const leavable = <A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.onInterrupt(abandonable(run), () => DriverAccess.disconnect(connection))
  return {
    // The driver stays where it is found.
    ...connection,
    ...decorate(connection, leavable),
    // The close of a cursor waits for its statement.
    executeStream: (text, params, transform) =>
      Stream.unwrap(
        Effect.map(leavable(Stream.runCollect(connection.executeStream(text, params, transform))), Stream.fromChunk)
      )
  }
}
