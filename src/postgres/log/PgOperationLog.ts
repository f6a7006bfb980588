/**
 * `OperationLog` on PostgreSQL: the marker table and the attempts table.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { NewAttempt } from "../../operation/Attempt.js"
import type { OperationId } from "../../operation/Operation.js"
import { seedMigration } from "../../operation/Operation.js"
import { AppliedOperations } from "../../operation/AppliedOperations.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { EncodingChanged, LockControl } from "../../operation/OperationError.js"
import { AlreadyApplied, DatabaseError, TransactionLeftOpen } from "../../operation/OperationError.js"
import { outsideStep } from "../../operation/OutsideStep.js"
import { OperationLog } from "../../operation/OperationLog.js"
import { databaseError, notStored, sqlState } from "../client/PgError.js"
import * as EncodedText from "../client/EncodedText.js"
import { PgSession } from "../client/PgSession.js"
import { alone, over, send } from "../client/DecoratedConnection.js"
import { decodeRows, PgSql, rows } from "../client/PgSql.js"
import { PgStep } from "../client/PgStep.js"
import * as RowSecurity from "../client/RowSecurity.js"
import * as PgTime from "../client/PgTime.js"
import * as Standby from "../client/Standby.js"
import * as TableLock from "../client/TableLock.js"
import { PgSchema } from "../schema/PgSchema.js"
import {
  AppliedRow,
  appliedSelect,
  AttemptRow,
  MarkerRow,
  noneApplied,
  toApplied,
  toAttempt,
  toMarker
} from "./LogRow.js"
import {
  attemptBegin,
  attemptInsert,
  attemptInsertOnce,
  attemptUpdate,
  endedUpdate,
  interruptEarlier,
  markedUpdate,
  markerTried,
  notStoredBy
} from "./LogStatement.js"

/** undefined_table: nothing was ever applied here. */
const noneIfMissing = (error: SqlError): Effect.Effect<ReadonlyArray<never>, SqlError> =>
  Option.contains(sqlState(error), "42P01") ? Effect.succeed([]) : Effect.fail(error)

/** How many markers there were, and how many of them are gone. */
const Forgotten = Schema.Struct({ gone: Schema.String, there: Schema.String })

const Moved = Schema.Struct({ ...Forgotten.fields, put: Schema.NullOr(Schema.String) })

const TypedRow = Schema.Struct({ id: Schema.String, operation_type: Schema.String })

type Rows = ReadonlyArray<unknown>

type Requirements = PgSql | PgSchema | OperationConfig

/** Markers and attempts, in the tables that the search path finds. */
export const make: Effect.Effect<OperationLog["Type"], never, Requirements> = Effect.gen(function* () {
  const sql = yield* PgSql
  const config = yield* OperationConfig
  const schema = yield* PgSchema
  const markers = sql.literal(schema.markers)
  const attempts = sql.literal(schema.attempts)
  const time = (column: string) => sql.literal(PgTime.select(column))

  const tables = [schema.markers, schema.attempts]
  const recordingError = (error: SqlError) =>
    notStoredBy(schema, error, recordingAttempt) ?? databaseError(recordingAttempt)(error)
  const watch = (access: TableLock.Access) =>
    TableLock.watch(sql, { tables, access, bound: Option.some(config.lockTimeout) })
  const [reading, writing] = [watch("read"), watch("write")]

  /** On the step's connection, past whatever its body may still send; without a step, on one of its own. */
  const session = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.flatMap(
      Effect.serviceOption(PgStep),
      Option.match({
        onNone: () => alone(sql, writing)(effect),
        onSome: (step) => step.watched(writing, over(step.connection)(effect))
      })
    )

  /** Rows of a table; none where it is missing, which inside a step is asked first: an error would abort its transaction. */
  const read =
    <A, I>(table: string, action: string, row: Schema.Schema<A, I>) =>
    (
      statement: Effect.Effect<Rows, SqlError, SqlClient.TransactionConnection>
    ): Effect.Effect<ReadonlyArray<A>, DatabaseError> =>
      Effect.flatMap(
        Effect.serviceOption(PgStep),
        Option.match({
          onNone: () => Effect.catchAll(alone(sql, reading)<Rows, SqlError, never>(statement), noneIfMissing),
          onSome: (step) => {
            const asked = Effect.flatMap(exists(table), (found) => (found ? statement : Effect.succeed([])))
            return step.watched(reading, over(step.connection)<Rows, SqlError, never>(asked))
          }
        })
      ).pipe(rows(action, row))

  const exists = (table: string): Effect.Effect<boolean, SqlError> =>
    Effect.map(sql`SELECT 1 WHERE to_regclass(${table}) IS NOT NULL`, (found) => found.length > 0)

  const encoding = EncodedText.unknown()
  /** The text as the database's encoding can hold it. */
  const encoded = (text: string) => EncodedText.fit(encoding, text, EncodedText.asking(sql))

  /** How many there are of a marker when a statement begins. */
  const there = (id: string, operationType: string) =>
    sql`SELECT count(*) FROM ${markers} WHERE id = ${id} AND operation_type = ${operationType}`

  const attemptColumns = sql`id::text, operation_id, operation_type, attempt::text, outcome, ${time("started_at")},
    ${time("ended_at")}, duration_ms::text, waited_ms::text, applied_by, host, pid::text, version, source_hash, reason, error::text`

  /** The two-number form of the advisory lock is another space of keys than the operations lock's. */
  const insertOnce = ({ operationId }: NewAttempt, insert: string) =>
    Effect.zipRight(sql`SELECT pg_advisory_xact_lock(1702063984, hashtext(${operationId}))`, sql.unsafe(insert))

  /** On a connection that is in no transaction yet. */
  const ownTransaction = (statements: Effect.Effect<unknown, SqlError>) =>
    Effect.acquireUseRelease(
      sql.unsafe("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
      () => statements,
      (_, exit) => Effect.ignoreLogged(sql.unsafe(Exit.isSuccess(exit) ? "COMMIT" : "ROLLBACK"))
    )

  /** The table may be missing where the role may not create it. */
  const recordBy = (insert: Effect.Effect<unknown, SqlError>) =>
    session(Effect.tap(exists(schema.attempts), (found) => (found ? insert : Effect.void))).pipe(
      Effect.mapError(recordingError)
    )
  /** Where no step or session says that it writes, a transaction of its own does, as a role or database may have another default. */
  const record = (attempt: NewAttempt) =>
    Effect.gen(function* () {
      const insert = sql.unsafe(yield* encoded(attemptInsert(schema.attempts, attempt)))
      const around = [yield* Effect.serviceOption(PgStep), yield* Effect.serviceOption(PgSession)]
      yield* recordBy(around.every(({ _tag }) => _tag === "None") ? ownTransaction(insert) : insert)
    })

  const appliedRows = Effect.map(
    sql`SELECT id, operation_type FROM ${markers}`.pipe(read(schema.markers, "reading the markers", TypedRow)),
    (found) => AppliedOperations.fromEntries(found.map(({ id, operation_type }) => [id, operation_type]))
  )

  const applied = Effect.flatMap(
    send(appliedSelect(schema.markers, seedMigration)).pipe(read(schema.markers, "reading the markers", AppliedRow)),
    ([found = noneApplied]) =>
      Option.match(toApplied(seedMigration, found), { onNone: () => appliedRows, onSome: Effect.succeed })
  )

  /** Where policies decide what is seen, only its key tells whether there is a marker already: before a body that nothing undoes. */
  const refuseHidden = (attempt: NewAttempt) =>
    Effect.flatMap(session(sql.unsafe(RowSecurity.active(schema.markers))), ([active]) =>
      active === undefined
        ? Effect.void
        : session(
            Effect.ensuring(
              sql.unsafe(`BEGIN; ${markerTried(schema.markers, attempt)}`),
              Effect.ignore(sql.unsafe("ROLLBACK"))
            )
          )
    ).pipe(
      Effect.mapError((error) =>
        Option.contains(sqlState(error), "23505")
          ? RowSecurity.hidden(recordingAttempt, schema.markers, error)
          : recordingError(error)
      )
    )

  /** A body that nothing undoes may have been begun before. */
  const refuseUnseen = Effect.flatMap(
    Effect.mapError(session(sql.unsafe(RowSecurity.mayHide(schema.attempts))), databaseError("reading the attempts")),
    ([hides]) =>
      hides === undefined
        ? Effect.void
        : RowSecurity.unseen("reading the attempts", schema.attempts, "an attempt that was interrupted")
  )

  const attemptNotStored = Effect.suspend(() => notStored(recordingAttempt, schema.attempts))

  /** Fails where a trigger behind the INSERT took the attempt away: a body that is interrupted would be run again. */
  const kept = (id: number): Effect.Effect<void, DatabaseError> =>
    session(sql`SELECT 1 AS found FROM ${attempts} WHERE id = ${id}::bigint`).pipe(
      Effect.mapError(databaseError(recordingAttempt)),
      Effect.flatMap((found) => (found.length === 0 ? attemptNotStored : Effect.void))
    )

  /** The marker's key is taken, unless it is another one that is: of the attempts, of an index that somebody added, behind a trigger. */
  const taken = (id: OperationId, error: SqlError): Effect.Effect<never, AlreadyApplied | DatabaseError> => {
    const failure = databaseError("writing the marker")(error)
    return Effect.matchEffect(session(sql`SELECT 1 AS found FROM ${markers} WHERE id = ${id}`), {
      onFailure: () => failure,
      onSuccess: (found): Effect.Effect<never, AlreadyApplied | DatabaseError> =>
        found.length === 0 ? failure : new AlreadyApplied({ id })
    })
  }

  return OperationLog.of({
    applied: Effect.withSpan(applied, "OperationLog.applied", { captureStackTrace: false }),
    hasTables: Effect.mapBoth(alone(sql)(schema.missing), {
      onFailure: (error) => (error._tag === "SqlError" ? databaseError("looking for the tables")(error) : error),
      onSuccess: (missing) => missing.filter(({ added }) => added === undefined).length < schema.tables.length
    }),
    markers: Effect.map(
      sql`SELECT id, operation_type, ${time("applied_at")}, duration_ms::text, applied_by, notes FROM ${markers}
        ORDER BY id COLLATE "C"`.pipe(read(schema.markers, "reading the markers", MarkerRow)),
      (found) => found.map(toMarker)
    ),
    attempts: ({ after = 0, all = false, id }) => {
      const only = id === undefined ? sql`` : sql`AND operation_id = ${id}`
      const found = Effect.map(
        sql`SELECT ${attemptColumns} FROM ${attempts} a WHERE id > ${after}::bigint ${only} ORDER BY a.id DESC`.pipe(
          read(schema.attempts, "reading the attempts", AttemptRow)
        ),
        (found) => found.map(toAttempt)
      )
      return all ? Effect.zipRight(refuseUnseen, found) : found
    },
    lastAttempts: Effect.map(
      sql`SELECT ${attemptColumns} FROM ${attempts} JOIN (SELECT max(id) AS id FROM ${attempts} GROUP BY operation_id) AS last USING (id)`.pipe(
        read(schema.attempts, "reading the attempts", AttemptRow)
      ),
      (found) => new Map(found.map((row) => [row.operation_id, toAttempt(row)]))
    ),
    unmark: ({ id, operationType }, attempt) =>
      Effect.gen(function* () {
        const step = yield* Effect.serviceOption(PgStep)
        if (Option.isNone(step)) return yield* outsideStep("forgetting the marker")
        const [forgotten] = yield* session(sql`WITH gone AS (
            DELETE FROM ${markers} WHERE id = ${id} AND operation_type = ${operationType} RETURNING id)
          SELECT (SELECT count(*) FROM gone)::text AS gone, (${there(id, operationType)})::text AS there`).pipe(
          rows("forgetting the marker", Forgotten)
        )
        if (forgotten?.there !== "1") return false
        if (forgotten.gone !== "1") return yield* notStored("forgetting the marker", schema.markers)
        yield* record(attempt)
        return true
      }).pipe(recording("unmark", attempt)),
    rename: ({ from, operationType, to }, recorded) =>
      Effect.gen(function* () {
        const step = yield* Effect.serviceOption(PgStep)
        if (Option.isNone(step)) return yield* outsideStep("renaming the marker")
        const [moved] = yield* session(sql`WITH gone AS (
            DELETE FROM ${markers} WHERE id = ${from} AND operation_type = ${operationType}
              RETURNING operation_type, applied_at, duration_ms, applied_by, notes),
          put AS (INSERT INTO ${markers} (id, operation_type, applied_at, duration_ms, applied_by, notes)
            SELECT ${to}, gone.* FROM gone RETURNING id)
          SELECT (SELECT count(*) FROM gone)::text AS gone, (${there(from, operationType)})::text AS there,
            (SELECT string_agg(id, '') FROM put) AS put`).pipe(rows("renaming the marker", Moved))
        if (moved?.there !== "1") return false
        if (moved.gone !== "1" || moved.put !== to) return yield* notStored("renaming the marker", schema.markers)
        yield* Effect.forEach(recorded, record, { discard: true })
        return true
      }).pipe(Effect.withSpan("OperationLog.rename", { attributes: { from, to }, captureStackTrace: false })),
    begin: (attempt) =>
      Effect.zipRight(
        Effect.zipRight(
          refuseHidden(attempt),
          Effect.mapError(
            session(sql.unsafe(interruptEarlier(schema.markers, schema.attempts, attempt))),
            recordingError
          )
        ),
        Effect.flatMap(encoded(attemptBegin(schema.attempts, attempt)), (insert) => session(sql.unsafe(insert))).pipe(
          Effect.mapError(recordingError),
          Effect.flatMap(decodeRows(recordingAttempt, Schema.Struct({ id: Schema.NumberFromString }))),
          Effect.flatMap(([recorded]) => (recorded === undefined ? attemptNotStored : Effect.succeed(recorded.id))),
          Effect.tap(kept)
        )
      ).pipe(
        Effect.catchAll((error) => Standby.explained(error, (text) => sql.unsafe(text))),
        recording("begin", attempt)
      ),
    finish: (id, attempt, marker) =>
      Effect.gen(function* () {
        const own = yield* Effect.serviceOption(PgSession)
        const found = (table: string) =>
          Option.getOrElse(
            Option.flatMapNullable(own, ({ tables }) => tables.get(table)),
            () => table
          )
        if (Option.isSome(marker) && Option.isSome(own) && (yield* own.value.isOpen))
          return yield* new TransactionLeftOpen()
        const update = attemptUpdate(found(schema.attempts), id, attempt)
        // One statement: all of it, or a failure that says why.
        const write = Option.match(marker, {
          onNone: () => endedUpdate(update, attempt),
          onSome: (given) => markedUpdate(found(schema.markers), given, update, attempt)
        })
        const settle = Option.match(own, { onNone: () => Effect.void, onSome: (found) => found.settle })
        const holds = Option.match(Option.zipLeft(own, marker), {
          onNone: () => Effect.void,
          onSome: (found) => found.holds
        })
        yield* Effect.catchAll(
          Effect.all([settle, holds, Effect.flatMap(encoded(write), (text) => session(sql.unsafe(text)))]),
          (failed): Effect.Effect<never, LockControl | EncodingChanged | AlreadyApplied | DatabaseError> =>
            failed._tag === "LockControl" || failed._tag === "EncodingChanged"
              ? failed
              : (notStoredBy(schema, failed) ??
                (Option.contains(sqlState(failed), "23505")
                  ? taken(attempt.operationId, failed)
                  : databaseError("writing the marker")(failed)))
        )
      }).pipe(recording("finish", attempt)),
    record: (attempt) => record(attempt).pipe(recording("record", attempt)),
    recordOnce: (attempt) =>
      Effect.flatMap(encoded(attemptInsertOnce(schema.attempts, attempt)), (insert) =>
        recordBy(ownTransaction(insertOnce(attempt, insert)))
      ).pipe(recording("recordOnce", attempt))
  })
})

const recordingAttempt = "recording the attempt"

/** The span of a member that records an attempt. */
const recording = (member: string, { operationId, outcome }: NewAttempt) =>
  Effect.withSpan(`OperationLog.${member}`, {
    attributes: { operation: operationId, outcome },
    captureStackTrace: false
  })

/** `OperationLog` on PostgreSQL. */
export const layer: Layer.Layer<OperationLog, never, Requirements> = Layer.effect(OperationLog, make)
