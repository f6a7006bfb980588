/**
 * The transactions that are open at one moment, and the wait for their ends.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"

const Row = Schema.Struct({ virtual: Schema.String, pid: Schema.NullOr(Schema.String), what: Schema.String })

/** Those of this database besides our own. Every transaction holds the lock of its virtual id; one that is prepared has no process. */
const text = `SELECT l.virtualtransaction AS virtual, l.pid::text AS pid, concat('server process ' || l.pid,
      ' (' || nullif(concat_ws(', ', nullif(a.application_name, ''), host(a.client_addr)), '') || ')',
      ' since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
      ', last statement: ' || left(regexp_replace(nullif(a.query, '<insufficient privilege>'), '\\s+', ' ', 'g'), 120)) AS what
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND a.datname = current_database()
      AND l.pid <> pg_backend_pid() AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'walsender')
  UNION ALL SELECT 'prepared ' || gid, NULL, 'the prepared transaction "' || gid || '" since '
      || to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM pg_prepared_xacts WHERE database = current_database()`

const find = (sql: SqlClient.SqlClient) => sql.unsafe(text).pipe(rows("looking for open transactions", Row))

/** Their names. */
export const open = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<string>, DatabaseError> =>
  Effect.map(find(sql), (found) => found.map(({ virtual }) => virtual))

/** Waits until those of these names are over; answers with who is left after `timeout`. */
export const over = (
  sql: SqlClient.SqlClient,
  names: ReadonlyArray<string>,
  timeout: Duration.Duration
): Effect.Effect<ReadonlyArray<string>, DatabaseError> =>
  Effect.gen(function* () {
    const until = (yield* Clock.currentTimeMillis) + Duration.toMillis(timeout)
    const waited = new Set(names)
    // One that is prepared meanwhile goes on under another name: those that are prepared since may be it.
    const known = new Set((yield* find(sql)).filter(({ pid }) => pid === null).map(({ virtual }) => virtual))
    for (let pause = 2; waited.size > 0; pause = Math.min(pause * 2, longestPause)) {
      const now = yield* find(sql)
      const left = now.filter(
        ({ pid, virtual }) => waited.has(virtual) || (pid === null && !known.has(virtual) && waited.size > 0)
      )
      if (left.length === 0) return []
      const remaining = until - (yield* Clock.currentTimeMillis)
      if (remaining <= 0) return left.map(({ what }) => what)
      yield* Effect.sleep(Math.min(pause, remaining))
    }
    return []
  })

/** In milliseconds. */
const longestPause = 200
