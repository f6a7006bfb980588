/**
 * The transactions that are open at one moment, and the wait for their ends.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { PgSql, rows } from "../client/PgSql.js"

const Row = Schema.Struct({ virtual: Schema.String, pid: Schema.NullOr(Schema.String), what: Schema.String })

export type OpenTransaction = typeof Row.Type

/** Those of this database, besides our own: every transaction holds the lock of its virtual id; a prepared one has no process. */
export const find: Effect.Effect<ReadonlyArray<OpenTransaction>, DatabaseError, PgSql> = Effect.flatMap(PgSql, (sql) =>
  sql
    .unsafe(
      `SELECT l.virtualtransaction AS virtual, l.pid::text AS pid, concat('server process ' || l.pid,
          ' (' || nullif(concat_ws(', ', nullif(a.application_name, ''), host(a.client_addr)), '') || ')',
          ' since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
          ', last statement: ' || left(regexp_replace(nullif(a.query, '<insufficient privilege>'), '\\s+', ' ', 'g'), 120)) AS what
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND a.datname = current_database()
          AND l.pid <> pg_backend_pid() AND coalesce(a.backend_type, '') <> 'autovacuum worker'
      UNION ALL SELECT 'prepared ' || gid, NULL, 'the prepared transaction "' || gid || '" since '
          || to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        FROM pg_prepared_xacts WHERE database = current_database()`
    )
    .pipe(rows("looking for open transactions", Row))
)

/** Waits until all of these are over, or a time has come; answers with those that are left. */
export const ended = (
  open: ReadonlyArray<OpenTransaction>,
  until: number
): Effect.Effect<ReadonlyArray<OpenTransaction>, DatabaseError, PgSql> =>
  Effect.gen(function* () {
    const names = new Set(open.map(({ virtual }) => virtual))
    for (let pause = 2; ; pause = Math.min(pause * 2, longestPause)) {
      const now = yield* find
      // One that is prepared meanwhile goes on under another name.
      const left = now.filter(({ pid, virtual }) => names.has(virtual) || (pid === null && names.size > 0))
      if (left.length === 0 || (yield* Clock.currentTimeMillis) >= until) return left
      yield* Effect.sleep(pause)
    }
  })

/** In milliseconds. */
const longestPause = 200
