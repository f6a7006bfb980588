/**
 * The statements of the adapters: over the application's connections, without its name transforms.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { constant, flow } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as FieldErrors from "../../operation/FieldErrors.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { abandonable, dismiss, watched } from "./DecoratedConnection.js"
import * as DriverAccess from "./DriverAccess.js"
import { databaseError } from "./PgError.js"
import { PgSession } from "./PgSession.js"
import { PgStep } from "./PgStep.js"

export class PgSql extends Context.Tag("effect-es-ops/PgSql")<
  PgSql,
  SqlClient.SqlClient & {
    /** Asks for a connection of the application's client, or for the one of the session that the fiber is in. */
    readonly lend: Effect.Effect<Loan>
  }
>() {}

/** A connection that was asked for. */
export interface Loan {
  /** The connection, once it is free; where the wait may be interrupted is for the borrower to say, and what follows on a statement that was. */
  readonly connection: Effect.Effect<Connection, SqlError>
  /** The same for statements that may be interrupted: it is closed then. One of a session is not, as what follows in it waits. */
  readonly leavable: Effect.Effect<Connection, SqlError>
  /** Whether it is that of the session that the fiber is in. */
  readonly isOfSession: boolean
  /** Gives it back, now or as soon as it is there; to be run in any case. */
  readonly giveBack: Effect.Effect<void>
}

/** How long to wait for a free connection of the pool before it is an error. */
const reserveTimeout = "30 seconds"

const neverFree = new SqlError({
  message: "Failed to acquire connection",
  cause: new Error(`no connection of the pool became free within ${reserveTimeout}`)
})

/**
 * Asks for a connection in a fiber of its own, which cannot be interrupted: a client whose `reserve` is interrupted while it waits loses the
 * connection for ever. A connection that comes too late for its borrower goes back to the pool.
 */
const lendOf = (client: SqlClient.SqlClient): Effect.Effect<Loan> =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const session = yield* Effect.serviceOption(PgSession)
      const scope = yield* Scope.make()
      const reserve = Option.match(session, { onNone: () => client.reserve, onSome: (own) => own.reserve })
      const lent = yield* Deferred.make<Connection, SqlError>()
      const reserving = yield* Effect.forkDaemon(Effect.intoDeferred(Scope.extend(reserve, scope), lent))
      const close = Scope.close(scope, Exit.void)
      const connection = Option.isSome(session) ? Deferred.await(lent) : boundedBy(lent)
      return {
        connection,
        isOfSession: Option.isSome(session),
        leavable: Option.isSome(session) ? connection : Effect.map(connection, leavable),
        giveBack: Effect.if(Effect.map(Fiber.poll(reserving), Option.isSome), {
          onTrue: constant(close),
          onFalse: constant(Effect.asVoid(Effect.forkDaemon(Effect.zipRight(Fiber.await(reserving), close))))
        })
      }
    })
  )

/**
 * The connection, each statement of which can be left at once. When its cancellation comes, and what it hits then, is not ours to know: it may have to
 * wait for a connection itself (PostgreSQL manual, 54.2.8). So this one is closed: nobody gets it with a statement or a cancellation under way, nor
 * inside a transaction. Streams are read whole, as the close of a cursor waits for its statement.
 */
const leavable = (own: Connection): Connection => {
  const left = <A>(run: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkDaemon(Effect.interruptible(run)), (fiber) =>
        Effect.onInterrupt(restore(Effect.flatten(Fiber.await(fiber))), () =>
          Effect.zipRight(dismiss(fiber), DriverAccess.disconnect(own))
        )
      )
    )
  return {
    // The driver stays where it is found.
    ...own,
    execute: (...statement) => left(own.execute(...statement)),
    executeRaw: (...statement) => left(own.executeRaw(...statement)),
    executeValues: (...statement) => left(own.executeValues(...statement)),
    executeUnprepared: (...statement) => left(own.executeUnprepared(...statement)),
    executeStream: (...statement) =>
      Stream.unwrap(Effect.map(left(Stream.runCollect(own.executeStream(...statement))), Stream.fromChunk))
  }
}

/** Waits for a connection of the pool, in time. A race of two fibers with the clock would cost each step another two. */
const boundedBy = (lent: Deferred.Deferred<Connection, SqlError>): Effect.Effect<Connection, SqlError> =>
  Effect.acquireUseRelease(
    Effect.forkDaemon(Effect.interruptible(Effect.delay(Deferred.fail(lent, neverFree), reserveTimeout))),
    constant(Deferred.await(lent)),
    dismiss
  )

/**
 * Transactions and savepoints as the client has them, but that a ROLLBACK which fails is no defect: the connection is closed, or was because a
 * statement was interrupted, and the server rolls back.
 */
const transactionOf = (
  lent: Effect.Effect<Connection, SqlError, Scope.Scope>
): SqlClient.SqlClient["withTransaction"] => {
  const send = (text: string) => (connection: Connection) => connection.executeUnprepared(text, [], undefined)
  const named = (text: string) => (connection: Connection, id: number) => send(`${text} effect_sql_${id}`)(connection)
  return SqlClient.makeWithTransaction({
    transactionTag: SqlClient.TransactionConnection,
    spanAttributes: [],
    acquireConnection: Effect.flatMap(Scope.make(), (scope) =>
      Effect.map(Scope.extend(lent, scope), (connection) => [scope, connection] as const)
    ),
    begin: send("BEGIN"),
    savepoint: named("SAVEPOINT"),
    commit: send("COMMIT"),
    rollback: (connection) => Effect.catchAll(send("ROLLBACK")(connection), () => DriverAccess.disconnect(connection)),
    rollbackSavepoint: named("ROLLBACK TO SAVEPOINT")
  })
}

/** Statements over the application's `SqlClient`; inside its transaction, or in ours, they join it. */
export const make: Effect.Effect<PgSql["Type"], never, SqlClient.SqlClient> = Effect.gen(function* () {
  const lend = lendOf(yield* SqlClient.SqlClient)
  const lent = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(lend, ({ giveBack, leavable: own }) =>
      Effect.zipRight(
        Effect.addFinalizer(() => giveBack),
        restore(own)
      )
    )
  )
  const sql = yield* SqlClient.make({
    acquirer: lent,
    // `withoutTransforms` of a client keeps transforming identifiers when only queries are transformed.
    compiler: PgClient.makeCompiler(),
    spanAttributes: []
  })
  return Object.assign(sql, { lend, withTransaction: transactionOf(lent) })
}).pipe(Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make))

/** Statements over the application's `SqlClient`. */
export const layer: Layer.Layer<PgSql, never, SqlClient.SqlClient> = Layer.effect(PgSql, make)

/** Where tables were found, and what is known of them in a step. */
export type FoundTables = Pick<PgStep["Type"], "tables"> & Partial<Pick<PgStep["Type"], "plain" | "late">>

/**
 * Where the claim of the step or session that the fiber is in found the tables, by their quoted names: statements of ours name them so. One that
 * is not among them is for the search path to find.
 */
export const tablesFound: Effect.Effect<Option.Option<FoundTables>> = Effect.map(
  Effect.all([Effect.serviceOption(PgStep), Effect.serviceOption(PgSession)]),
  Option.firstSomeOf
)

/** Runs `effect` with `connection` for its statements. */
export const over =
  (connection: Connection) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, SqlClient.TransactionConnection, [connection, 0])

/**
 * Runs `effect` on a connection of its own, outside any transaction of its fiber. When `watch` fails, which goes beside it, the connection is closed
 * and its failure is the answer.
 */
export const alone =
  (sql: PgSql["Type"], watch?: Effect.Effect<never, SqlError>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(sql.lend, ({ connection, giveBack, isOfSession, leavable: own }) =>
        Effect.ensuring(
          restore(
            watch === undefined
              ? Effect.flatMap(own, (lent) => over(lent)(effect))
              : Effect.flatMap(connection, (lent) => {
                  const run = watched(closeOf(lent), watch, over(lent)(effect))
                  return isOfSession ? run : Effect.onInterrupt(abandonable(run), () => DriverAccess.disconnect(lent))
                })
          ),
          giveBack
        )
      )
    )

/** The end of a connection that was lent: a session's is its own to end. */
const closeOf = (lent: Connection): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.serviceOption(PgSession),
    Option.match({ onNone: () => DriverAccess.disconnect(lent), onSome: ({ disconnect }) => disconnect })
  )

/** The rows of a statement, decoded. */
export const rows =
  <A, I>(action: string, schema: Schema.Schema<A, I>) =>
  <R>(
    statement: Effect.Effect<ReadonlyArray<unknown>, SqlError, R>
  ): Effect.Effect<ReadonlyArray<A>, DatabaseError, R> =>
    Effect.flatMap(Effect.mapError(statement, databaseError(action)), decodeRows(action, schema))

/** Rows that do not fit are a `DatabaseError`: the table has other columns than it should. */
export const decodeRows = <A, I>(
  action: string,
  schema: Schema.Schema<A, I>
): ((found: ReadonlyArray<unknown>) => Either.Either<ReadonlyArray<A>, DatabaseError>) =>
  flow(
    ParseResult.decodeUnknownEither(arrayOf(schema)),
    Either.mapLeft((issue) => unexpectedRows(action, issue))
  )

type Rows = Schema.Schema<ReadonlyArray<unknown>, ReadonlyArray<unknown>>

/** The schemas of rows by those of one: Effect keeps what decodes by a schema, and would make it anew for each statement. */
const made = new WeakMap<object, Rows>()

function arrayOf<A, I>(schema: Schema.Schema<A, I>): Schema.Schema<ReadonlyArray<A>, ReadonlyArray<I>>
function arrayOf(schema: Schema.Schema<unknown>): Rows {
  const known = made.get(schema)
  if (known !== undefined) return known
  const array = Schema.Array(schema)
  made.set(schema, array)
  return array
}

const unexpectedRows = (action: string, issue: ParseResult.ParseIssue): DatabaseError =>
  DatabaseError.because(action, `the database answered with other columns than expected: ${FieldErrors.lines(issue)}`, {
    cause: issue
  })
