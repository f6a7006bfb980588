/**
 * The statements of the adapters: over the application's connections, without its name transforms.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { DatabaseError } from "../operation/OperationError.js"
import { databaseError } from "./PgError.js"
import { PgSession } from "./PgSession.js"

export class PgSql extends Context.Tag("effect-es-ops/PgSql")<PgSql, SqlClient.SqlClient>() {}

/** How long to wait for a free connection of the pool before it is an error, in seconds. */
const reserveTimeout = 30

const neverFree = new SqlError({
  message: "Failed to acquire connection",
  cause: new Error(`no connection of the pool became free within ${reserveTimeout} seconds`)
})

/**
 * A connection of the application's client, or the one of the session that the fiber is in. The wait can be interrupted: `reserve` of the
 * client, interrupted while it waits, would lose the connection for ever, so it goes on in a fiber of its own, which gives the connection
 * back if nobody waits any more. That fiber is watched, and the timer is Node's: a fork and a race in their place take 30 µs a step.
 */
const reserve = (client: SqlClient.SqlClient): Effect.Effect<Connection, SqlError, Scope.Scope> =>
  Effect.flatMap(
    Effect.serviceOption(PgSession),
    Option.match({ onNone: () => reserveOf(client), onSome: (session) => session.reserve })
  )

const reserveOf = (client: SqlClient.SqlClient): Effect.Effect<Connection, SqlError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const outer = yield* Effect.scope
      const held = yield* Scope.make()
      const runtime = yield* Effect.runtime()
      const acquired = Effect.async<Connection, SqlError>((resume) => {
        const fiber = Runtime.runFork(runtime)(Scope.extend(client.reserve, held), { immediate: true })
        const giveBack = () => {
          fiber.addObserver(() => Runtime.runFork(runtime)(Scope.close(held, Exit.void)))
        }
        const timer = setTimeout(() => {
          giveBack()
          resume(Effect.fail(neverFree))
        }, reserveTimeout * 1000)
        fiber.addObserver((exit) => {
          clearTimeout(timer)
          resume(exit)
        })
        return Effect.sync(() => {
          clearTimeout(timer)
          giveBack()
        })
      })
      const connection = yield* restore(acquired)
      yield* Scope.addFinalizerExit(outer, (exit) => Scope.close(held, exit))
      return connection
    })
  )

/** Statements over the application's `SqlClient`; inside its transaction, or in ours, they join it. */
export const layer: Layer.Layer<PgSql, never, SqlClient.SqlClient> = Layer.effect(
  PgSql,
  Effect.gen(function* () {
    const client = yield* SqlClient.SqlClient
    return yield* SqlClient.make({
      acquirer: reserve(client),
      // `withoutTransforms` of a client keeps transforming identifiers when only queries are transformed.
      compiler: PgClient.makeCompiler(),
      spanAttributes: []
    })
  })
).pipe(Layer.provide(Reactivity.layer))

/** A client of no database: whatever is asked of it fails. */
export const layerUnconnected: Layer.Layer<SqlClient.SqlClient> = Layer.effect(
  SqlClient.SqlClient,
  SqlClient.make({
    acquirer: new SqlError({ message: "No database", cause: new Error("there is no database here to ask") }),
    compiler: PgClient.makeCompiler(),
    spanAttributes: []
  })
).pipe(Layer.provide(Reactivity.layer))

/** Runs `effect` with `connection` for its statements. */
export const over =
  (connection: Connection) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, SqlClient.TransactionConnection, [connection, 0])

/** Runs `effect` on a connection of its own, outside any transaction of its fiber. */
export const alone =
  (sql: SqlClient.SqlClient) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.scoped(Effect.flatMap(sql.reserve, (connection) => over(connection)(effect)))

/** The rows of a statement, decoded. */
export const rows =
  <A, I>(action: string, schema: Schema.Schema<A, I>) =>
  <R>(
    statement: Effect.Effect<ReadonlyArray<unknown>, SqlError, R>
  ): Effect.Effect<ReadonlyArray<A>, DatabaseError, R> =>
    Effect.flatMap(Effect.mapError(statement, databaseError(action)), decodeRows(action, schema))

/** Rows that do not fit are a `DatabaseError`: the table has other columns than it should. One by one, as a decoder of an array is compiled anew. */
export const decodeRows = <A, I>(
  action: string,
  schema: Schema.Schema<A, I>
): ((found: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<A>, DatabaseError>) => {
  const decode = ParseResult.decodeUnknownEither(schema)
  return (found) =>
    Either.mapLeft(Either.all(found.map((row) => decode(row))), (issue) => unexpectedRows(action, issue))
}

const unexpectedRows = (action: string, error: ParseResult.ParseIssue): DatabaseError =>
  new DatabaseError({
    action,
    id: Option.none(),
    code: Option.none(),
    reason: `the database answered with other columns than expected: ${ParseResult.TreeFormatter.formatIssueSync(error)}`,
    connectionLost: false,
    cause: error
  })
