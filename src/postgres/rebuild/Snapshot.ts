/**
 * Reading in one snapshot: rows and events as they were at one instant.
 */
import * as Effect from "effect/Effect"
import type { DatabaseError } from "../../operation/OperationError.js"
import { databaseError } from "../client/PgError.js"
import { alone } from "../client/DecoratedConnection.js"
import { PgSql } from "../client/PgSql.js"

const settings = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"]
  .map((name) => `'${name}'`)
  .join(", ")

/** Runs `effect` in a transaction of its own, REPEATABLE READ; what it writes, where it may, is rolled back. */
export const of =
  (access: "READ ONLY" | "READ WRITE") =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | DatabaseError, R | PgSql> =>
    Effect.gen(function* () {
      const sql = yield* PgSql
      const begin = `BEGIN ISOLATION LEVEL REPEATABLE READ ${access};
        SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN (${settings})`
      return yield* alone(sql)(
        Effect.acquireUseRelease(
          sql.unsafe(begin),
          () => Effect.either(effect),
          () => Effect.ignore(sql.unsafe("ROLLBACK"))
        )
      ).pipe(Effect.mapError(databaseError("reading in one snapshot")))
    }).pipe(Effect.flatten)
