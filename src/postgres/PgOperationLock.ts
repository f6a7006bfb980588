/**
 * `OperationLock` on PostgreSQL: a transaction-scoped advisory lock, tried and never waited for, as a blocked wait would hold a snapshot
 * and deadlock with `CREATE INDEX CONCURRENTLY` of the holder (40P01).
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { OperationId } from "../operation/Operation.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import { AlreadyApplied, DatabaseError, LockHeld, LockHolder, outsideStep } from "../operation/OperationError.js"
import { OperationLock } from "../operation/OperationLock.js"
import { databaseError } from "./PgError.js"
import { PgSchema } from "./PgSchema.js"
import { alone, over, PgSql, rows } from "./PgSql.js"
import { PgSession } from "./PgSession.js"
import { PgStep } from "./PgStep.js"
import type { PgTable } from "./PgTable.js"

/** The first version that has every setting that a step needs, as `server_version_num` has it. */
export const oldestServer = 140000

const Tried = Schema.Struct({
  locked: Schema.Literal("t", "f"),
  server: Schema.NumberFromString,
  server_text: Schema.String,
  latest: Schema.NumberFromString
})

const Holder = Schema.Struct({
  pid: Schema.NumberFromString,
  application_name: Schema.String,
  since: Schema.NullOr(Schema.String)
})

/** The advisory lock of the settings' key; the first claim that gets it creates the tables that are missing. */
export const layer: Layer.Layer<OperationLock, never, PgSql | PgSchema | OperationConfig> = Layer.effect(
  OperationLock,
  Effect.gen(function* () {
    const sql = yield* PgSql
    const config = yield* OperationConfig
    const schema = yield* PgSchema
    const key = config.lockKey.toString()
    const complete = yield* Ref.make(false)
    /** Tables that we do without, as this role may not create them. */
    const givenUp = yield* Ref.make<ReadonlyArray<PgTable>>([])

    /** What is missing; not looked at again once everything was there. */
    const missing = Effect.gen(function* () {
      const without = yield* Ref.get(givenUp)
      if (yield* Ref.get(complete)) return without
      const found = yield* schema.missing
      yield* Ref.set(
        complete,
        found.every((table) => without.some(({ name }) => name === table.name))
      )
      return found
    })

    const tryLock = (lookUpAttempts: boolean) => {
      const latest = lookUpAttempts
        ? sql`(SELECT coalesce(max(id) FILTER (WHERE outcome <> 'running'), 0)::text FROM ${sql.literal(schema.attempts)})`
        : sql`'0'`
      return sql`SELECT CASE WHEN pg_try_advisory_xact_lock(${key}::bigint) THEN 't' ELSE 'f' END AS locked,
        current_setting('server_version_num') AS server, current_setting('server_version') AS server_text, ${latest} AS latest`.pipe(
        rows("trying the operations lock", Tried)
      )
    }

    /** A statement of its own, so that its snapshot is taken after the lock: the marker of whoever held it is visible. */
    const isMarked = (id: OperationId) =>
      Effect.map(
        sql`SELECT id FROM ${sql.literal(schema.markers)} WHERE id = ${id}`.pipe(
          rows("re-reading the marker", Schema.Struct({ id: Schema.String }))
        ),
        (found) => found.length > 0
      )

    const claimIn = (step: PgStep["Type"], id: OperationId) =>
      Effect.gen(function* () {
        const before = yield* missing
        const without = yield* Ref.get(givenUp)
        const absent = (name: string, tables: ReadonlyArray<PgTable>) => tables.some((table) => table.name === name)
        const [tried] = yield* tryLock(!absent(schema.attempts, before))
        if (tried === undefined || tried.server < oldestServer) return yield* tooOld(tried?.server_text ?? "unknown")
        const locked = tried.locked === "t"
        const still = before.length === 0 ? before : yield* missing
        const wanted = still.filter((table) => !absent(table.name, without))
        if (locked && wanted.length > 0)
          yield* Effect.flatMap(schema.create(wanted), (more) => Ref.update(givenUp, (all) => [...all, ...more]))
        const markersExist = locked || !absent(schema.markers, still)
        if (markersExist && (yield* isMarked(id))) return yield* new AlreadyApplied({ id })
        if (!locked)
          return yield* new LockHeld({ id, holder: yield* holderOf(sql, config.lockKey), latestAttempt: tried.latest })
        yield* Effect.mapError(step.open, databaseError("opening the step"))
      }).pipe(over(step.raw))

    /** The lock in its session form, of the same key: whoever holds either form keeps the other one out (PostgreSQL manual, 9.28.10). */
    const claimFor = (session: PgSession["Type"], id: OperationId) =>
      Effect.gen(function* () {
        const [tried] =
          yield* sql`SELECT CASE WHEN pg_try_advisory_lock(${key}::bigint) THEN 't' ELSE 'f' END AS locked,
            (SELECT coalesce(max(id) FILTER (WHERE outcome <> 'running'), 0)::text FROM ${sql.literal(schema.attempts)}) AS latest`.pipe(
            rows(
              "trying the operations lock",
              Schema.Struct({ locked: Tried.fields.locked, latest: Tried.fields.latest })
            )
          )
        if (tried?.locked === "f") session.mayHold(undefined)
        if (yield* isMarked(id)) return yield* new AlreadyApplied({ id })
        if (tried?.locked !== "t") {
          return yield* new LockHeld({
            id,
            holder: yield* holderOf(sql, config.lockKey),
            latestAttempt: tried?.latest ?? 0
          })
        }
      })

    return OperationLock.of({
      ready: Effect.gen(function* () {
        if (yield* Ref.get(complete)) return true
        yield* Effect.mapError(alone(sql)(missing), (error) =>
          error._tag === "SqlError" ? databaseError("looking for the tables")(error) : error
        )
        return yield* Ref.get(complete)
      }),
      holder: holderOf(sql, config.lockKey),
      claim: (id) =>
        Effect.flatMap(
          Effect.all([Effect.serviceOption(PgStep), Effect.serviceOption(PgSession)]),
          ([step, session]) => {
            if (Option.isSome(step)) return claimIn(step.value, id)
            return Option.isSome(session) ? claimFor(session.value, id) : outsideStep("claiming the lock")
          }
        ).pipe(Effect.withSpan("OperationLock.claim", { attributes: { operation: id } }))
    })
  })
)

/** The session that holds the lock of this key in this database: `pg_locks` shows all of them. */
export const holderOf = (
  sql: SqlClient.SqlClient,
  lockKey: bigint
): Effect.Effect<Option.Option<LockHolder>, DatabaseError> =>
  sql`SELECT l.pid::text AS pid, coalesce(a.application_name, '') AS application_name,
      to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((l.classid::bigint << 32) | l.objid::bigint) = ${lockKey.toString()}::bigint`.pipe(
    rows("looking for the holder of the lock", Holder),
    Effect.map((found) =>
      Option.map(
        Option.fromNullable(found[0]),
        ({ application_name, pid, since }) =>
          new LockHolder({ pid, applicationName: application_name, since: Option.fromNullable(since) })
      )
    )
  )

const tooOld = (version: string): DatabaseError =>
  new DatabaseError({
    action: "connecting",
    id: Option.none(),
    code: Option.none(),
    reason: `the server is PostgreSQL ${version}; 14 or later is needed`,
    connectionLost: false,
    cause: undefined
  })
