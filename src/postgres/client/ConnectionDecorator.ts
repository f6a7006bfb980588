/**
 * A decorator of connections: the same connection, with something around each of its statements.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { sameDriver } from "./DriverAccess.js"

/** Goes around a statement, which it may refuse, delay or give up. */
export type AroundStatement = <A>(
  run: Effect.Effect<A, SqlError>,
  text: string,
  params: ReadonlyArray<unknown>
) => Effect.Effect<A, SqlError>

/** The connection with `around` around each statement, and around the beginning of each stream. */
export const decorate = (connection: Connection, around: AroundStatement): Connection => ({
  ...sameDriver(connection),
  execute: (text, params, transform) => around(connection.execute(text, params, transform), text, params),
  executeRaw: (text, params) => around(connection.executeRaw(text, params), text, params),
  executeValues: (text, params) => around(connection.executeValues(text, params), text, params),
  executeUnprepared: (text, params, transform) =>
    around(connection.executeUnprepared(text, params, transform), text, params),
  executeStream: (text, params, transform) =>
    Stream.unwrap(
      around(
        Effect.sync(() => connection.executeStream(text, params, transform)),
        text,
        params
      )
    )
})

/**
 * The connection with each stream read whole before its first row is given: a cursor that is held open would keep the connection, and the
 * statement that its reader sends next would wait for ever.
 */
export const withWholeStreams = (connection: Connection): Connection => ({
  ...connection,
  executeStream: (text, params, transform) => Stream.fromIterableEffect(connection.execute(text, params, transform))
})
