/**
 * Who holds the lock of a key in this database, which `pg_locks` shows to everybody.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { LockHolder } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"

/** A row of `text`. */
export const Row = Schema.Struct({
  pid: Schema.NumberFromString,
  application_name: Schema.String,
  since: Schema.NullOr(Schema.String)
})

/** The statement that answers with the session that holds it, or with no row. */
export const text = (lockKey: bigint): string =>
  `SELECT l.pid::text AS pid, coalesce(a.application_name, '') AS application_name,
      to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
    FROM pg_locks l LEFT JOIN LATERAL pg_stat_get_activity(l.pid) a ON true
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint) = '${lockKey.toString()}'::bigint`

/** A row as a holder. */
export const of = ({ application_name, pid, since }: typeof Row.Type): LockHolder =>
  new LockHolder({ pid, applicationName: application_name, since: Option.fromNullable(since) })

/** The session that holds it. */
export const find = (
  sql: SqlClient.SqlClient,
  lockKey: bigint
): Effect.Effect<Option.Option<LockHolder>, DatabaseError> =>
  sql.unsafe(text(lockKey)).pipe(
    rows("looking for the holder of the lock", Row),
    Effect.map(([found]) => Option.map(Option.fromNullable(found), of))
  )
