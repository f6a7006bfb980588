/**
 * The encoding that the server takes what it is sent for. The driver asks for UTF8 when it connects, and sends and reads UTF-8 whatever a
 * statement makes of it then: text in any other would be stored as other letters, without an error.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { EncodingChanged } from "../../operation/OperationError.js"
import { raised, sqlError } from "./PgError.js"
import { literal } from "./SqlText.js"

/** Whether what is sent is not what is stored: SQL_ASCII stores bytes as they come, which may be what the database wants. */
const isOther = `pg_catalog.current_setting('client_encoding') <> 'UTF8'
    AND NOT (pg_catalog.current_setting('client_encoding') = 'SQL_ASCII' AND pg_catalog.getdatabaseencoding() IN ('UTF8', 'SQL_ASCII'))`

/** The statement that gives a row with the encoding, where it is another one. */
export const other = `SELECT pg_catalog.current_setting('client_encoding') AS encoding WHERE ${isOther}`

const said = new EncodingChanged({ encoding: "\n" }).message
  .split("\n")
  .map(literal)
  .join(" || pg_catalog.current_setting('client_encoding') || ")

/** The expression that fails where it is another one, saying so. */
export const refused = `CASE WHEN ${isOther} THEN ${raised(said)} END`

/** The statement that puts it back, whether it was set for the transaction or for the session. */
export const reset = "SET client_encoding = 'UTF8'"

/** The failure that these rows of `other` stand for. */
export const changed = (rows: ReadonlyArray<unknown>): EncodingChanged | undefined => {
  const row = rows[0]
  return Predicate.hasProperty(row, "encoding") && Predicate.isString(row.encoding)
    ? new EncodingChanged({ encoding: row.encoding })
    : undefined
}

/** Fails a statement that has set another one, behind it: what follows is taken for UTF-8 again. */
export const keep = (connection: Connection): Effect.Effect<void, SqlError> =>
  Effect.flatMap(connection.executeUnprepared(other, [], undefined), (rows) => {
    const failure = changed(rows)
    return failure === undefined
      ? Effect.void
      : Effect.zipRight(connection.executeRaw(reset, []), Effect.fail(sqlError(failure)))
  })
