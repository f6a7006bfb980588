/**
 * Waits of our statements for a table that another session has locked. Nothing is asked of the server as long as it answers soon; from then on it
 * is asked, on another connection, who holds the table, and that is logged at once and every ten seconds.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as BoundedWait from "../../operation/BoundedWait.js"
import * as LockWait from "../../operation/LockWait.js"
import { LockHeld, LockHolder, LockTimeout } from "../../operation/OperationError.js"
import { watchDelay } from "./DecoratedConnection.js"
import { sqlError } from "./PgError.js"
import { PgSession } from "./PgSession.js"
import type { PgSql } from "./PgSql.js"
import { alone } from "./DecoratedConnection.js"
import { literal } from "./SqlText.js"

/** lock_not_available: the server waited for a lock as long as `lock_timeout`. */
export const notAvailable = "55P03"

/** How long one attempt waits in the server, in milliseconds. */
export const attemptPatience = 500

/** When it is asked for the first time, and how often. */
const interval = Duration.millis(500)

/** The shortest wait that is taken for one. */
const soonest = watchDelay

/** How long a wait is allowed at least where nobody can be asked what it is for: the server may only be slow. */
const unseenPatience = Duration.seconds(5)

/** Whether a statement reads its table or writes to it: not all locks are in the way of a reader. */
export type Access = "read" | "write"

const modes = {
  read: "'AccessExclusiveLock'",
  write: "'AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock'"
}

const Row = Schema.Struct({
  table_name: Schema.String,
  pid: Schema.NumberFromString,
  application_name: Schema.String,
  since: Schema.NullOr(Schema.String)
})

/** A table that is locked, and by whom. */
export interface Locked {
  readonly table: string
  readonly holder: Option.Option<LockHolder>
}

/** The statement that answers with the session in the way of this access to these tables or their indexes, or with no row. */
export const text = (tables: ReadonlyArray<string>, access: Access): string =>
  `SELECT c.relname AS table_name, l.pid::text AS pid, coalesce(a.application_name, '') AS application_name,
      to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation LEFT JOIN LATERAL pg_stat_get_activity(l.pid) a ON true
    WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.pid <> pg_backend_pid() AND l.mode IN (${modes[access]})
      AND (${["l.relation", "(SELECT indrelid FROM pg_index WHERE indexrelid = l.relation)"]
        .map((relation) => `${relation} IN (${tables.map((table) => `to_regclass(${literal(table)})`).join(", ")})`)
        .join(" OR ")})
    ORDER BY l.granted DESC, l.mode = 'AccessExclusiveLock' DESC, l.pid LIMIT 1`

/** Its answer. */
export const lockedIn = (rows: ReadonlyArray<unknown>): Option.Option<Locked> =>
  Option.map(
    Option.flatMap(Option.fromNullable(rows[0]), (row) => Schema.decodeUnknownOption(Row)(row)),
    ({ application_name, pid, since, table_name }) => ({
      table: table_name,
      holder: Option.some(new LockHolder({ pid, applicationName: application_name, since: Option.fromNullable(since) }))
    })
  )

/** Who is in the way, asked over `sql`. */
export const find = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<string>,
  access: Access
): Effect.Effect<Option.Option<Locked>, SqlError> => Effect.map(sql.unsafe(text(tables, access)), lockedIn)

/** What is waited for, and for how long; without a bound it is only told. */
export interface Waiting {
  readonly tables: ReadonlyArray<string>
  readonly access: Access
  readonly bound: Option.Option<Duration.Duration>
}

/** Goes beside a statement that may wait: tells of the wait, and fails when it was as long as its bound. */
export const watch = (sql: PgSql["Type"], { access, bound, tables }: Waiting): Effect.Effect<never, SqlError> =>
  Effect.gen(function* () {
    const startedAt = (yield* Clock.currentTimeMillis) - Duration.toMillis(watchDelay)
    const firstAfter = Option.match(bound, { onNone: () => interval, onSome: Duration.clamp(between) })
    let mentionedAt: number | undefined
    let isNamed = false
    for (let first = true; ; first = false) {
      yield* Effect.sleep(first ? Duration.subtract(firstAfter, watchDelay) : interval)
      const seen = yield* Effect.option(
        // Not cancelled when nobody waits for it any more: that would take a connection, which may be what the cancelled statement waits for as well.
        BoundedWait.within(elsewhere(alone(sql)(Effect.uninterruptible(find(sql, tables, access)))), "1 second")
      )
      const locked = Option.flatten(seen)
      // It was asked, and nobody is in the way: the server only takes its time.
      if (Option.isSome(seen) && Option.isNone(locked)) continue
      const waitedMs = Math.round((yield* Clock.currentTimeMillis) - startedAt)
      const { holder, table } = Option.getOrElse(locked, () => unseen(tables))
      const isDue = mentionedAt === undefined || waitedMs - mentionedAt >= Duration.toMillis(LockWait.mentionEvery)
      // Who could not be found at first is named as soon as that is known.
      if (isDue || (!isNamed && Option.isSome(locked))) {
        mentionedAt = waitedMs
        isNamed = Option.isSome(locked)
        const held = new LockHeld({ id: "", holder, table })
        yield* Effect.logInfo(`waits, ${Math.round(waitedMs / 1000)} s so far: ${held.message}`)
      }
      const isOver = Option.exists(bound, (longest) =>
        Duration.lessThanOrEqualTo(Option.isSome(seen) ? longest : Duration.max(longest, unseenPatience), waitedMs)
      )
      if (isOver) return yield* Effect.fail(sqlError(new LockTimeout({ id: null, holder, waitedMs, table })))
    }
  })

const between = { minimum: soonest, maximum: interval }

const unseen = (tables: ReadonlyArray<string>): Locked => ({ table: tables.join(" or "), holder: Option.none() })

/** On a connection of the pool, whichever session or transaction the fiber is in. */
const elsewhere = <A, E, R>(ask: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(ask, (context: Context.Context<R>) => {
    const services = new Map(context.unsafeMap)
    services.delete(PgSession.key)
    return Context.unsafeMake<R>(services)
  })
