/**
 * Whether the database has a cluster of `@effect/cluster` with runners, by the table of them that it has in the usual case.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { DatabaseError } from "../../operation/OperationError.js"
import { databaseError, sqlState } from "../client/PgError.js"

/** How long after its last sign a runner is no more: the longest that a cluster waits in the usual case, and some. */
const silence = "1 minute"

/** What looking for them requires. */
export type Requirements = SqlClient.SqlClient

/** Whether a runner has given a sign of late. Nothing is created where there is no such table. */
export const areThere: Effect.Effect<boolean, DatabaseError, SqlClient.SqlClient> = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) =>
    sql.unsafe(`SELECT FROM cluster_runners WHERE healthy AND last_heartbeat > now() - interval '${silence}' LIMIT 1`)
).pipe(
  Effect.map((found) => found.length > 0),
  // undefined_table
  Effect.catchIf(
    (error) => Option.contains(sqlState(error), "42P01"),
    () => Effect.succeed(false)
  ),
  Effect.mapError(databaseError("looking for runners of a cluster"))
)
