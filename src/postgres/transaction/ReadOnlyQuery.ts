/**
 * Reading for seeds: a statement that the server does not let write.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { QueryError, Row } from "../../operation/QueryError.js"
import { QueryFailed, ReadOnlyViolation } from "../../operation/QueryError.js"
import { databaseError, reasonOf, sqlState } from "../client/PgError.js"
import { abandonable } from "../client/DecoratedConnection.js"
import { PgSession } from "../client/PgSession.js"
import type { SavepointOptions } from "../client/PgStep.js"
import { PgStep } from "../client/PgStep.js"
import { beginsReading } from "../client/SqlText.js"

/** Codes by which the server refuses a write in a read-only transaction, and the ways out of one. */
const violations = new Set(["25006", "25001", "0A000"])

/**
 * One statement by the extended protocol (which takes no second one, and no ROLLBACK between), in a read-only savepoint that is always
 * undone.
 */
export const run = (
  sql: SqlClient.SqlClient,
  text: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<Row>, QueryError> => {
  if (!beginsReading(text)) {
    const reason = "it takes one statement that begins with SELECT, WITH, VALUES, TABLE, SHOW, EXPLAIN or ("
    return new ReadOnlyViolation({ code: Option.none(), reason })
  }
  const read = (connection: Connection) =>
    // Closing a cursor waits for its statement: a fiber that is interrupted does not.
    abandonable(Stream.runCollect(connection.executeStream(text, params, undefined))).pipe(
      Effect.map(Chunk.toReadonlyArray),
      Effect.mapError((error) =>
        Option.match(sqlState(error), {
          onNone: () => databaseError("querying")(error),
          onSome: (state) =>
            violations.has(state)
              ? new ReadOnlyViolation({ code: Option.some(state), reason: reasonOf(error) })
              : new QueryFailed({ code: Option.some(state), reason: reasonOf(error) })
        })
      )
    )
  const onItsOwn = Effect.scoped(
    Effect.flatMap(Effect.mapError(sql.reserve, databaseError("connecting")), (connection) =>
      Effect.acquireUseRelease(
        Effect.mapError(connection.executeRaw("BEGIN READ ONLY", []), databaseError("querying")),
        () => read(connection),
        () => Effect.ignore(connection.executeRaw("ROLLBACK", []))
      )
    )
  )
  /** In a transaction that a seed began in its session: that one has the connection. */
  const outsideStep = (transaction: Option.Option<unknown>) =>
    Effect.flatMap(Effect.serviceOption(PgSession), (session) =>
      Option.isSome(session) && Option.isSome(transaction)
        ? inSavepoint(session.value, read(session.value.connection))
        : onItsOwn
    )
  return Effect.flatMap(
    Effect.serviceOption(PgStep),
    Option.match({
      onSome: (step) => step.savepoint(read(step.connection), readOnly),
      onNone: () => Effect.flatMap(Effect.serviceOption(SqlClient.TransactionConnection), outsideStep)
    })
  )
}

const readOnly: SavepointOptions = { begin: "SET LOCAL transaction_read_only = on", keep: false }

const inSavepoint = (
  session: PgSession["Type"],
  read: Effect.Effect<ReadonlyArray<Row>, QueryError>
): Effect.Effect<ReadonlyArray<Row>, QueryError> =>
  Effect.mapError(session.savepoint(read, readOnly), (error) =>
    error._tag === "SqlError" ? databaseError("querying")(error) : error
  )
