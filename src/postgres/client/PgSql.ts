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
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { DatabaseError } from "../../operation/OperationError.js"
import { databaseError } from "./PgError.js"
import { PgSession } from "../transaction/PgSession.js"

export class PgSql extends Context.Tag("effect-es-ops/PgSql")<
  PgSql,
  SqlClient.SqlClient & {
    /** Asks for a connection of the application's client, or for the one of the session that the fiber is in. */
    readonly lend: Effect.Effect<Loan>
  }
>() {}

/** A connection that was asked for. */
export interface Loan {
  /** The connection, once it is free; whoever waits for it can leave. */
  readonly connection: Effect.Effect<Connection, SqlError>
  /** Gives it back, now or as soon as it is there; to be run whether it was waited for or not. */
  readonly giveBack: Effect.Effect<void>
}

/** How long to wait for a free connection of the pool before it is an error, in seconds. */
const reserveTimeout = 30

const neverFree = new SqlError({
  message: "Failed to acquire connection",
  cause: new Error(`no connection of the pool became free within ${reserveTimeout} seconds`)
})

/**
 * `reserve` of a client, interrupted while it waits, would lose the connection for ever, so it goes on in a fiber of its own, and closes its
 * scope when nobody wants the connection any more. That fiber is watched, and the timer is Node's: a fork and a race in their place take
 * 30 µs a step.
 */
const lendOf = (client: SqlClient.SqlClient): Effect.Effect<Loan> =>
  Effect.flatMap(Effect.runtime(), (runtime) =>
    Effect.map(Scope.make(), (scope) => {
      const session = Context.getOption(runtime.context, PgSession)
      const reserve = Option.match(session, { onNone: () => client.reserve, onSome: (own) => own.reserve })
      const fiber = Runtime.runFork(Runtime.provideService(runtime, Scope.Scope, scope))(reserve, { immediate: true })
      let timer: NodeJS.Timeout | undefined
      return {
        connection: Effect.async((resume) => {
          const tooLong = () => resume(Effect.fail(neverFree))
          if (Option.isNone(session)) timer = setTimeout(tooLong, reserveTimeout * 1000)
          fiber.addObserver((exit) => {
            clearTimeout(timer)
            resume(exit)
          })
        }),
        giveBack: Effect.suspend(() => {
          clearTimeout(timer)
          const close = Scope.close(scope, Exit.void)
          if (fiber.unsafePoll() !== null) return close
          fiber.addObserver(() => Runtime.runFork(runtime)(close))
          return Effect.void
        })
      }
    })
  )

/** Statements over the application's `SqlClient`; inside its transaction, or in ours, they join it. */
export const make: Effect.Effect<PgSql["Type"], never, SqlClient.SqlClient> = Effect.gen(function* () {
  const lend = lendOf(yield* SqlClient.SqlClient)
  const lent = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(lend, ({ connection, giveBack }) =>
      Effect.zipRight(
        Effect.addFinalizer(() => giveBack),
        restore(connection)
      )
    )
  )
  const sql = yield* SqlClient.make({
    acquirer: lent,
    // `withoutTransforms` of a client keeps transforming identifiers when only queries are transformed.
    compiler: PgClient.makeCompiler(),
    spanAttributes: []
  })
  return Object.assign(sql, { lend })
}).pipe(Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make))

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
  (sql: PgSql["Type"]) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    borrowing(sql, (connection) => over(connection)(effect))

/** What is asked on a connection of its own in the same way, and what `meanwhile` answers with, which runs at the same time. */
export const askAlone = <A, B, R, R2>(
  sql: PgSql["Type"],
  ask: (connection: Connection) => Effect.Effect<A, SqlError, R>,
  meanwhile: Effect.Effect<B, never, R2>
): Effect.Effect<readonly [answer: A, meanwhile: B], SqlError, R | R2> =>
  Effect.flatMap(Effect.fork(meanwhile), (fiber) =>
    Effect.flatMap(borrowing(sql, ask), (answer) => Effect.map(Fiber.join(fiber), (other) => [answer, other] as const))
  )

const borrowing = <A, E, R>(
  sql: PgSql["Type"],
  use: (connection: Connection) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(sql.lend, ({ connection, giveBack }) =>
      Effect.ensuring(restore(Effect.flatMap(connection, use)), giveBack)
    )
  )

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
