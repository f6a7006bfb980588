/**
 * The statements of the adapters: over the application's connections, without its name transforms.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { flow } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as FieldErrors from "../../operation/FieldErrors.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { Lender } from "./DecoratedConnection.js"
import { lendOf, makeWatches } from "./DecoratedConnection.js"
import * as DriverAccess from "./DriverAccess.js"
import { databaseError } from "./PgError.js"
import { PgSession } from "./PgSession.js"
import { PgStep } from "./PgStep.js"

export class PgSql extends Context.Tag("effect-es-ops/PgSql")<PgSql, SqlClient.SqlClient & Lender>() {}

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
export const make: Effect.Effect<PgSql["Type"], never, SqlClient.SqlClient | Scope.Scope> = Effect.gen(function* () {
  const watches = yield* makeWatches
  const lend = lendOf(yield* SqlClient.SqlClient, watches)
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
  return Object.assign(sql, { lend, watches, withTransaction: transactionOf(lent) })
}).pipe(Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make))

/** Statements over the application's `SqlClient`. */
export const layer: Layer.Layer<PgSql, never, SqlClient.SqlClient> = Layer.scoped(PgSql, make)

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
