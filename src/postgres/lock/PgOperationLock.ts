/**
 * `OperationLock` on PostgreSQL: a transaction-scoped advisory lock, tried and never waited for, as a blocked wait would hold a snapshot
 * and deadlock with `CREATE INDEX CONCURRENTLY` of the holder (40P01).
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { OperationId } from "../../operation/Operation.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { AlreadyApplied, DatabaseError, LockHeld } from "../../operation/OperationError.js"
import { outsideStep } from "../../operation/OutsideStep.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { databaseError, sqlState } from "../client/PgError.js"
import { PgSession } from "../client/PgSession.js"
import { alone, over } from "../client/DecoratedConnection.js"
import { decodeRows, PgSql, rows } from "../client/PgSql.js"
import { PgStep } from "../client/PgStep.js"
import { oldestServer, serverVersion, tooOld } from "../client/ServerVersion.js"
import { literal } from "../client/SqlText.js"
import * as Standby from "../client/Standby.js"
import * as TableLock from "../client/TableLock.js"
import { PgSchema } from "../schema/PgSchema.js"
import { additions } from "../schema/PgTable.js"
import * as HolderQuery from "./HolderQuery.js"

const Tried = Schema.Struct({
  locked: Schema.Literal("true", "false"),
  server: Schema.optional(Schema.NumberFromString),
  server_text: Schema.optional(Schema.String)
})

const TriedFor = Schema.Struct({ locked: Tried.fields.locked, addresses: Schema.String })

/** No holder, or all of one. */
const Holder = Schema.NullOr(Schema.parseJson(HolderQuery.Row))

const Probed = Schema.Struct({ marked: Schema.Literal("true", "false"), holder: Holder })

const Readiness = Schema.Struct({ missing: Schema.parseJson(Schema.Array(Schema.String)), holder: Holder })

const claiming = databaseError("claiming the operations lock")

/** untranslatable_character: the encoding of the database has none like it. */
const untranslatable = "22P05"

/** A failure of a statement with the id in it, which may be the reason. */
const named =
  (id: OperationId) =>
  (failure: DatabaseError): DatabaseError =>
    Option.contains(failure.code, untranslatable)
      ? DatabaseError.because(
          failure.action,
          `the id ${JSON.stringify(id)} cannot be recorded, as it has a character that the encoding of the database does not: rename the seed (${failure.reason})`,
          { code: failure.code, cause: failure.cause }
        )
      : failure

type ClaimError = LockHeld | AlreadyApplied | DatabaseError

/** The advisory lock of the settings' key; the first claim that gets it creates the tables that are missing. */
export const make: Effect.Effect<OperationLock["Type"], never, PgSql | PgSchema | OperationConfig> = Effect.gen(
  function* () {
    const sql = yield* PgSql
    const config = yield* OperationConfig
    const schema = yield* PgSchema
    const key = config.lockKey.toString()
    /** Whether the server is one that we support is asked once. */
    let isSupported = false
    const tried = () =>
      `pg_try_advisory_xact_lock('${key}'::bigint)::text AS locked${isSupported ? "" : `, ${serverVersion}`}`
    const decodeTried = decodeRows("trying the operations lock", Tried)
    const marked = (id: OperationId) => `SELECT id FROM ${schema.markers} WHERE id = ${literal(id)}`

    /** The same behind `briefly`: from here on a wait is for the body to bound. It has a row in any case. */
    const markedUnbound = (id: OperationId) =>
      `SELECT m.id FROM (SELECT set_config('lock_timeout', '0', true)) AS s LEFT JOIN ${schema.markers} m ON m.id = ${literal(id)}`

    /** In a session, where a statement waits as long as the table is locked. */
    const watching = TableLock.watch(sql, {
      tables: [schema.markers],
      access: "read",
      bound: Option.some(config.lockTimeout)
    })

    const isMarked = (id: OperationId) =>
      Effect.map(
        sql.unsafe(marked(id)).pipe(rows("re-reading the marker", Schema.Struct({ id: Schema.String }))),
        (found) => found.length > 0
      )

    const held = (id: OperationId) =>
      Effect.flatMap(HolderQuery.find(sql, config.lockKey), (holder) => new LockHeld({ id, holder }))

    /** Whether the last attempt found the markers locked: until they are free, they are not asked for. */
    let isTableHeld = false

    const tableHeld = (id: OperationId) =>
      Effect.flatMap(TableLock.find(sql, [schema.markers], "read"), (locked) => {
        isTableHeld = true
        return new LockHeld({
          id,
          holder: Option.flatMap(locked, ({ holder }) => holder),
          table: Option.match(locked, { onNone: () => schema.markers, onSome: ({ table }) => table })
        })
      })

    /** Fails while the markers stay locked, and asks nothing of them. */
    const whileTableHeld = (id: OperationId): Effect.Effect<void, LockHeld> =>
      Effect.suspend(() =>
        isTableHeld
          ? Effect.flatMap(
              Effect.orElseSucceed(TableLock.find(sql, [schema.markers], "read"), Option.none),
              (locked) => {
                isTableHeld = Option.isSome(locked)
                return Option.match(locked, {
                  onNone: () => Effect.void,
                  onSome: ({ holder, table }) => new LockHeld({ id, holder, table })
                })
              }
            )
          : Effect.void
      )

    const admit = ([got]: ReadonlyArray<typeof Tried.Type>): Effect.Effect<boolean, DatabaseError> => {
      const { locked, server, server_text = "unknown" } = got ?? {}
      if (!isSupported && (server === undefined || server < oldestServer)) return tooOld(server_text)
      isSupported = true
      return Effect.succeed(locked === "true")
    }

    /**
     * Tables are created under the lock; where another has it and there are no markers yet, nothing can be known of this one. What is
     * missing is looked for with the lock in one message.
     */
    const createMissing = (step: PgStep["Type"], id: OperationId) =>
      Effect.gen(function* () {
        const trying = Effect.catchAll(step.send(`SELECT ${tried()}; ${schema.look}`), (error) =>
          refusedBy(step)(databaseError("trying the operations lock")(error))
        )
        const [got, names] = (yield* trying).slice(-2)
        const locked = yield* Effect.flatMap(decodeTried(got?.rows ?? []), admit)
        const missing = yield* schema.seen(names?.rows ?? [])
        if (missing.length === 0) return
        if (locked) {
          step.createdTables()
          return yield* schema.create(missing)
        }
        if (missing.every(({ name }) => name !== schema.markers) && (yield* isMarked(id)))
          return yield* new AlreadyApplied({ id })
        return yield* held(id)
      })

    /** The lock, and by a statement of its own, whose snapshot is taken after it, the marker: that of the last holder is visible. */
    const claimIn = (step: PgStep["Type"], id: OperationId): Effect.Effect<void, ClaimError> =>
      Effect.gen(function* () {
        if (!schema.isComplete()) yield* over(step.connection)(createMissing(step, id))
        const claim = { columns: `${tried()}, ${briefly}`, statement: markedUnbound(id) }
        const { row, rows: markers } = yield* Effect.catchAll(step.open(claim), (error) =>
          isTableLocked(error)
            ? Effect.zipRight(
                Effect.ignore(step.send("ROLLBACK")),
                Effect.catchTag(over(step.connection)(tableHeld(id)), "SqlError", () => claiming(error))
              )
            : refusedBy(step)(claiming(error))
        )
        isTableHeld = false
        const locked = yield* Effect.flatMap(decodeTried([row]), admit)
        if (markers.some(isMarker)) return yield* new AlreadyApplied({ id })
        if (!locked) return yield* over(step.connection)(held(id))
      })

    /** The lock in its session form, of the same key: a session that holds either form keeps the other one out (PostgreSQL manual, 9.28.10). */
    const claimFor = (session: PgSession["Type"], id: OperationId) =>
      Effect.gen(function* () {
        session.mayHold(config.lockKey)
        const [got] = yield* sql
          .unsafe(`SELECT pg_try_advisory_lock('${key}'::bigint)::text AS locked, ${schema.addresses}`)
          .pipe(rows("trying the operations lock", TriedFor))
        if (got !== undefined) session.located(got.addresses)
        if (got?.locked === "false") session.mayHold(undefined)
        const found = alone(
          sql,
          watching
        )(sql.unsafe(marked(id))).pipe(Effect.mapError(databaseError("re-reading the marker")))
        if ((yield* found).length > 0) return yield* new AlreadyApplied({ id })
        if (got?.locked !== "true") return yield* held(id)
      })

    const holding = `(SELECT row_to_json(h)::text FROM (${HolderQuery.text(config.lockKey)}) AS h LIMIT 1) AS holder`

    const refuseHeld = (id: OperationId, holder: typeof Holder.Type): Effect.Effect<void, LockHeld> =>
      Option.match(Option.fromNullable(holder), {
        onNone: () => Effect.void,
        onSome: (found) => new LockHeld({ id, holder: Option.some(HolderQuery.of(found)) })
      })

    /** The row of a question that can be left; none where the server does not answer within what the role may: an attempt is to tell. */
    const asked = <A, I>(action: string, row: Schema.Schema<A, I>, text: string) =>
      alone(sql)(sql.unsafe(text)).pipe(
        rows(action, row),
        Effect.catchIf(
          ({ connectionLost }) => !connectionLost,
          () => Effect.succeed([])
        ),
        Effect.map(([found]) => Option.fromNullable(found))
      )

    /** One message, where an attempt that finds the lock held is a transaction. */
    const probe = (id: OperationId): Effect.Effect<void, ClaimError> =>
      Effect.flatMap(
        asked("waiting for the operations lock", Probed, `SELECT EXISTS (${marked(id)})::text AS marked, ${holding}`),
        Option.match({
          onNone: () => Effect.void,
          onSome: ({ holder, marked }): Effect.Effect<void, ClaimError> =>
            marked === "true" ? new AlreadyApplied({ id }) : refuseHeld(id, holder)
        })
      )

    /** One message, where creating the tables is a transaction: of many replicas on an empty database, one creates them. */
    const ready = (id: OperationId): Effect.Effect<boolean, LockHeld | DatabaseError> =>
      Effect.flatMap(
        asked(
          "looking for the tables",
          Readiness,
          `SELECT (SELECT coalesce(json_agg(m.name), '[]')::text FROM (${schema.look}) AS m) AS missing, ${holding}`
        ),
        Option.match({
          onNone: () => Effect.succeed(false),
          onSome: ({ holder, missing: names }) =>
            Effect.flatMap(schema.seen(names.map((name) => ({ name }))), (missing) =>
              Effect.as(
                missing.some(({ name }) => name === schema.markers) ? refuseHeld(id, holder) : Effect.void,
                missing.length === 0
              )
            )
        })
      )

    return OperationLock.of({
      probe: (id) =>
        inSpan(
          "OperationLock.probe",
          id,
          // Before the tables are there, only an attempt can tell.
          Effect.zipRight(
            whileTableHeld(id),
            Effect.suspend(() => (schema.has(schema.markers) ? probe(id) : Effect.void))
          )
        ),
      ready: (id) =>
        Effect.suspend(() =>
          schema.has(schema.markers) ? Effect.succeed(true) : inSpan("OperationLock.ready", id, ready(id))
        ),
      lacksColumns: Effect.suspend(() =>
        schema.isComplete() || schema.tables.every((table) => additions(table).length === 0)
          ? Effect.succeed(false)
          : Effect.map(schema.missing, (missing) => missing.some(({ added }) => added !== undefined))
      ),
      holder: HolderQuery.find(sql, config.lockKey),
      claim: (id) =>
        inSpan(
          "OperationLock.claim",
          id,
          Effect.gen(function* () {
            const step = yield* Effect.serviceOption(PgStep)
            if (Option.isSome(step)) return yield* claimIn(step.value, id)
            const session = yield* Effect.serviceOption(PgSession)
            return yield* Option.isSome(session) ? claimFor(session.value, id) : outsideStep("claiming the lock")
          }).pipe(Effect.mapError((error) => (error._tag === "DatabaseError" ? named(id)(error) : error)))
        )
    })
  }
)

/** Its transaction took no statement of ours, not even the first. */
const refusedBy = (step: PgStep["Type"]) => (failure: DatabaseError) =>
  Standby.explained(failure, (text) =>
    Effect.map(step.send(`ROLLBACK; ${text}`), (results) => results.at(-1)?.rows ?? [])
  )

/** The column by which what follows waits for a table only briefly. */
const briefly = `set_config('lock_timeout', '${TableLock.attemptPatience}', true) AS waits`

const isMarker = (row: unknown): boolean => Predicate.hasProperty(row, "id") && row.id !== null

const isTableLocked = (error: SqlError): boolean => Option.contains(sqlState(error), TableLock.notAvailable)

/** A span with the outcome as an attribute: that another holds the lock, or has applied the operation, is no failure of it. */
const inSpan = <A, E extends { readonly _tag: string }>(
  name: string,
  id: OperationId,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.flatten(
    Effect.useSpan(name, { attributes: { operation: id }, captureStackTrace: false }, (span) =>
      Effect.matchEffect(Effect.withParentSpan(effect, span), {
        onFailure: (error) => {
          if (error._tag !== "LockHeld" && error._tag !== "AlreadyApplied") return Effect.fail(error)
          span.attribute("outcome", error._tag)
          return Effect.succeed(Either.left(error))
        },
        onSuccess: (value) => {
          span.attribute("outcome", "free")
          return Effect.succeed(Either.right(value))
        }
      })
    )
  )

/** `OperationLock` on PostgreSQL. */
export const layer: Layer.Layer<OperationLock, never, PgSql | PgSchema | OperationConfig> = Layer.effect(
  OperationLock,
  make
)
