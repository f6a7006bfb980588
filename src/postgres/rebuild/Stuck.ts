/**
 * Corrections of rows that may get stuck: rows that exchange unique values cannot be changed one after another, and a column that is always an
 * identity takes no value in an update.
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { DatabaseError } from "../../operation/OperationError.js"
import { databaseError } from "../client/PgError.js"
import { PgSql } from "../client/PgSql.js"

/** unique_violation, generated_always. */
const codes = new Set(["23505", "428C9"])

/** Runs a correction in a savepoint of its own; none where it got stuck, and nothing of it stays. Inside a batch. */
export const unlessStuck = <A, E, R>(
  correction: Effect.Effect<A, E | DatabaseError, R>
): Effect.Effect<Option.Option<A>, E | DatabaseError, R | PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql.withTransaction(correction).pipe(
      Effect.asSome,
      Effect.catchAll((failure): Effect.Effect<Option.Option<A>, E | DatabaseError> => {
        const error = failure instanceof SqlError ? databaseError("correcting rows")(failure) : failure
        return error instanceof DatabaseError && Option.exists(error.code, (code) => codes.has(code))
          ? Effect.succeedNone
          : Effect.fail(error)
      })
    )
  )
