/**
 * The wait for the transactions that were appending at one moment. Ids are given before commit, so that a lower one may come after a higher one;
 * a transaction takes its lock of the table before its first id, and keeps it until it is over.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { SettleTimeout } from "../../event/EventFeed.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { tree } from "./EventSequence.js"

const Row = Schema.Struct({
  /** Of the transaction; one that is prepared may get another. */
  virtual: Schema.String,
  /** The server process; a prepared transaction has none. */
  pid: Schema.NullOr(Schema.String),
  gid: Schema.NullOr(Schema.String),
  application: Schema.String,
  address: Schema.NullOr(Schema.String),
  since: Schema.NullOr(Schema.String),
  statement: Schema.NullOr(Schema.String)
})

type Holder = typeof Row.Type

/** Waits until every transaction that holds the lock of an append now is over; at most for `timeout`. */
export const wait = (
  sql: SqlClient.SqlClient,
  timeout: Duration.Duration
): Effect.Effect<void, SettleTimeout | DatabaseError> =>
  Effect.gen(function* () {
    const holders = sql.unsafe(text).pipe(rows("looking for transactions that append", Row))
    const startedAt = yield* Clock.currentTimeMillis
    let seen = yield* holders
    let open = seen
    for (let pause = 1; Arr.isNonEmptyReadonlyArray(open); pause = Math.min(pause * 2, longestPause)) {
      const left = Duration.toMillis(timeout) - ((yield* Clock.currentTimeMillis) - startedAt)
      if (left <= 0) return yield* new SettleTimeout({ holders: Arr.map(open, described) })
      yield* Effect.sleep(Math.min(pause, left))
      const now = yield* holders
      open = stillOpen(open, seen, now)
      seen = now
    }
  })

/** In milliseconds. */
const longestPause = 100

/**
 * Those of `open` that are there `now`. A transaction that is prepared meanwhile goes on under another name: when one is gone, those that were
 * prepared since the last look may be it.
 */
const stillOpen = (open: ReadonlyArray<Holder>, before: ReadonlyArray<Holder>, now: ReadonlyArray<Holder>) => {
  const names = new Set(open.map(({ virtual }) => virtual))
  const known = new Set(before.map(({ virtual }) => virtual))
  const rest = now.filter(({ virtual }) => names.has(virtual))
  const renamed = now.filter(({ pid, virtual }) => pid === null && !known.has(virtual))
  return rest.length === names.size ? rest : [...rest, ...renamed]
}

const described = ({ address, application, gid, pid, since, statement, virtual }: Holder): string => {
  if (pid === null) {
    const name = gid === null ? virtual : `"${gid}"`
    return `the prepared transaction ${name}${since === null ? "" : ` since ${since}`}, which COMMIT PREPARED or ROLLBACK PREPARED ends`
  }
  const from = [application, address].filter((part) => part !== null && part !== "").join(", ")
  const begun = since === null ? "" : ` since ${since}`
  const last = statement === null || statement === "" ? "" : `, last statement: ${statement}`
  return `server process ${pid}${from === "" ? "" : ` (${from})`}${begun}${last}`
}

/** A prepared transaction has no process: `<>` would drop it. What a role may not see of another's session is NULL, but its application. */
const text = `WITH RECURSIVE ${tree}
  SELECT l.virtualtransaction AS virtual, l.pid::text AS pid, min(x.gid) AS gid, coalesce(min(a.application_name), '') AS application,
    min(host(a.client_addr)) AS address,
    to_char(coalesce(min(a.xact_start), min(x.prepared)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since,
    CASE WHEN min(a.query) <> '<insufficient privilege>'
      THEN left(regexp_replace(min(a.query), '\\s+', ' ', 'g'), 120) END AS statement
  FROM pg_locks l JOIN tree ON tree.oid = l.relation LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_locks t ON l.pid IS NULL AND t.locktype = 'transactionid' AND t.virtualtransaction = l.virtualtransaction AND t.pid IS NULL
      AND t.granted AND t.mode = 'ExclusiveLock'
    LEFT JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
  WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid IS DISTINCT FROM pg_backend_pid()
  GROUP BY l.virtualtransaction, l.pid ORDER BY since, l.pid`
