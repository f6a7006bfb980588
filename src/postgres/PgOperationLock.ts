/**
 * `OperationLock` on PostgreSQL: a transaction-scoped advisory lock, tried and never waited for, as a blocked wait would hold a snapshot
 * and deadlock with `CREATE INDEX CONCURRENTLY` of the holder (40P01).
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { OperationId } from "../operation/Operation.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import { AlreadyApplied, DatabaseError, LockHeld, LockHolder, outsideStep } from "../operation/OperationError.js"
import { OperationLock } from "../operation/OperationLock.js"
import { databaseError } from "./PgError.js"
import { PgSchema } from "./PgSchema.js"
import { alone, decodeRows, over, PgSql, rows } from "./PgSql.js"
import { PgSession } from "./PgSession.js"
import { PgStep } from "./PgStep.js"
import { literal } from "./PgText.js"

/** The first version that has every setting that a step needs, as `server_version_num` has it. */
export const oldestServer = 140000

const Tried = Schema.Struct({
  locked: Schema.Literal("t", "f"),
  server: Schema.NumberFromString,
  server_text: Schema.String
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
    const tried = `CASE WHEN pg_try_advisory_xact_lock('${key}'::bigint) THEN 't' ELSE 'f' END AS locked,
      current_setting('server_version_num') AS server, current_setting('server_version') AS server_text`
    const marked = (id: OperationId) => `SELECT id FROM ${schema.markers} WHERE id = ${literal(id)}`

    const isMarked = (id: OperationId) =>
      Effect.map(
        sql.unsafe(marked(id)).pipe(rows("re-reading the marker", Schema.Struct({ id: Schema.String }))),
        (found) => found.length > 0
      )

    const held = (id: OperationId) =>
      Effect.flatMap(holderOf(sql, config.lockKey), (holder) => new LockHeld({ id, holder }))

    const admit = (answer: ReadonlyArray<typeof Tried.Type>): Effect.Effect<boolean, DatabaseError> => {
      const [got] = answer
      return got === undefined || got.server < oldestServer
        ? tooOld(got?.server_text ?? "unknown")
        : Effect.succeed(got.locked === "t")
    }

    /** Tables are created under the lock; where another has it and there are no markers yet, nothing can be known of this one. */
    const createMissing = (id: OperationId) =>
      Effect.gen(function* () {
        if ((yield* schema.wanted).length === 0) return
        const got = sql.unsafe(`SELECT ${tried}`).pipe(rows("trying the operations lock", Tried))
        const locked = yield* Effect.flatMap(got, admit)
        const still = yield* schema.wanted
        if (locked) yield* schema.create(still)
        if (locked) return
        if (still.every(({ name }) => name !== schema.markers) && (yield* isMarked(id)))
          return yield* new AlreadyApplied({ id })
        return yield* held(id)
      })

    /**
     * The lock, and by a statement of its own, whose snapshot is taken after it, the marker: that of whoever held it is visible. One round trip of 0.08 ms
     * together with BEGIN, the settings, guard and savepoint, in place of five.
     */
    const claimIn = (step: PgStep["Type"], id: OperationId) =>
      Effect.gen(function* () {
        yield* createMissing(id)
        const { row, rows: markers } = yield* Effect.mapError(
          step.open({ columns: tried, statement: marked(id) }),
          databaseError("claiming the operations lock")
        )
        const locked = yield* Effect.flatMap(decodeRows("trying the operations lock", Tried)([row]), admit)
        if (markers.length > 0) return yield* new AlreadyApplied({ id })
        if (!locked) return yield* held(id)
      }).pipe(over(step.raw))

    /** The lock in its session form, of the same key: whoever holds either form keeps the other one out (PostgreSQL manual, 9.28.10). */
    const claimFor = (session: PgSession["Type"], id: OperationId) =>
      Effect.gen(function* () {
        session.mayHold(config.lockKey)
        const [got] =
          yield* sql`SELECT CASE WHEN pg_try_advisory_lock(${key}::bigint) THEN 't' ELSE 'f' END AS locked`.pipe(
            rows("trying the operations lock", Schema.Struct({ locked: Tried.fields.locked }))
          )
        if (got?.locked === "f") session.mayHold(undefined)
        if (yield* isMarked(id)) return yield* new AlreadyApplied({ id })
        if (got?.locked !== "t") return yield* held(id)
      })

    return OperationLock.of({
      ready: Effect.flatMap(schema.has(schema.markers), (known) =>
        known
          ? Effect.succeed(true)
          : Effect.mapBoth(alone(sql)(schema.wanted), {
              onFailure: (error) =>
                error._tag === "SqlError" ? databaseError("looking for the tables")(error) : error,
              onSuccess: (wanted) => wanted.length === 0
            })
      ),
      holder: holderOf(sql, config.lockKey),
      claim: (id) =>
        Effect.flatMap(Effect.context<never>(), (services) => {
          const step = Context.getOption(services, PgStep)
          const session = Context.getOption(services, PgSession)
          if (Option.isSome(step)) return claimIn(step.value, id)
          return Option.isSome(session) ? claimFor(session.value, id) : outsideStep("claiming the lock")
        }).pipe(Effect.withSpan("OperationLock.claim", { attributes: { operation: id } }))
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
