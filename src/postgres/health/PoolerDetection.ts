/**
 * Whether a connection pooler stands between us and the server, and whether it gives a client another session for each transaction: then
 * nothing that belongs to a session, such as a session lock, can be relied on.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { announcedSession } from "../client/DriverAccess.js"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"

/** `unknown`: there is one, but no second connection to tell by what it does. */
export type Pooling = "none" | "session" | "transaction" | "unknown"

/** How long to wait for a second connection of the pool. */
const reserveTimeout = "2 seconds"

/**
 * The session that a pooler announced at start-up (BackendKeyData; PostgreSQL manual, 54.2.1) is its own invention; the one that answers is
 * the server's. With one session a transaction, a second connection gets the session that the first has just left, or the first another.
 */
export const detect = (sql: SqlClient.SqlClient): Effect.Effect<Pooling, SqlError> =>
  Effect.gen(function* () {
    const first = yield* sql.reserve
    const before = yield* sessionOf(first)
    if (Option.contains(announcedSession(first), before) || Option.isNone(announcedSession(first))) return "none"
    const second = yield* Effect.timeoutOption(reserveInTransaction(sql), reserveTimeout)
    if (Option.isNone(second)) return "unknown"
    if ((yield* sessionOf(second.value)) === before) return "transaction"
    return (yield* sessionOf(first)) === before ? "session" : "transaction"
  }).pipe(Effect.scoped)

const reserveInTransaction = (sql: SqlClient.SqlClient): Effect.Effect<Connection, SqlError, Scope.Scope> =>
  Effect.flatMap(sql.reserve, (connection) =>
    Effect.acquireRelease(Effect.as(connection.executeRaw("BEGIN", []), connection), () =>
      Effect.ignore(connection.executeRaw("ROLLBACK", []))
    )
  )

const sessionOf = (connection: Connection): Effect.Effect<unknown, SqlError> =>
  Effect.map(connection.executeUnprepared("SELECT pg_backend_pid() AS pid", [], undefined), ([row]) =>
    Predicate.hasProperty(row, "pid") ? row.pid : undefined
  )
