/**
 * `OperationLog` on PostgreSQL: the marker table and the attempts table.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { NewAttempt } from "../../operation/Attempt.js"
import type { NewMarker } from "../../operation/Operation.js"
import { seedMigration } from "../../operation/Operation.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import { AlreadyApplied, CommitRefused, outsideStep, TransactionLeftOpen } from "../../operation/OperationError.js"
import { OperationLog } from "../../operation/OperationLog.js"
import { databaseError, reasonOf, sqlState } from "../client/PgError.js"
import { AttemptRow, MarkerRow, toAttempt, toMarker } from "./LogRow.js"
import { attemptInsert, attemptInsertOnce, attemptUpdate, interruptEarlier, markerInsert } from "./LogStatement.js"
import * as AppliedIds from "./AppliedIds.js"
import { PgSchema } from "../schema/PgSchema.js"
import { alone, askAlone, decodeRows, over, PgSql, rows } from "../client/PgSql.js"
import { PgSession } from "../transaction/PgSession.js"
import { PgStep } from "../transaction/PgStep.js"

const decodeMarkers = decodeRows("reading the markers", AppliedIds.Row)

/** undefined_table: nothing was ever applied here. */
const noneIfMissing = (error: SqlError): Effect.Effect<ReadonlyArray<never>, SqlError> =>
  Option.contains(sqlState(error), "42P01") ? Effect.succeed([]) : Effect.fail(error)

const TypedRow = Schema.Struct({ id: Schema.String, operation_type: Schema.String })

/** Markers and attempts, in the tables that the search path finds. */
export const make: Effect.Effect<OperationLog["Type"], never, PgSql | PgSchema> = Effect.gen(function* () {
  const sql = yield* PgSql
  const schema = yield* PgSchema
  const markers = sql.literal(schema.markers)
  const attempts = sql.literal(schema.attempts)
  const epoch = (column: string) => sql`(extract(epoch FROM ${sql(column)}) * 1000)::bigint::text AS ${sql(column)}`

  /** On the step's connection, past whatever its body may still send; without a step, on one of its own. */
  const session = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.flatMap(
      Effect.serviceOption(PgStep),
      Option.match({ onNone: () => alone(sql)(effect), onSome: (step) => over(step.raw)(effect) })
    )

  /** Rows of a table; none where it is missing, which inside a step is asked first: an error would abort its transaction. */
  const read =
    <A, I>(table: string, action: string, row: Schema.Schema<A, I>) =>
    (statement: Effect.Effect<ReadonlyArray<unknown>, SqlError>): Effect.Effect<ReadonlyArray<A>, DatabaseError> =>
      Effect.flatMap(
        Effect.serviceOption(PgStep),
        Option.match({
          onNone: () => Effect.catchAll(alone(sql)(statement), noneIfMissing),
          onSome: (step) =>
            over(step.raw)(Effect.flatMap(exists(table), (found) => (found ? statement : Effect.succeed([]))))
        })
      ).pipe(rows(action, row))

  const exists = (table: string): Effect.Effect<boolean, SqlError> =>
    Effect.map(sql`SELECT 1 WHERE to_regclass(${table}) IS NOT NULL`, (found) => found.length > 0)

  const attemptColumns = sql`id::text, operation_id, operation_type, attempt::text, outcome, ${epoch("started_at")},
    ${epoch("ended_at")}, duration_ms::text, waited_ms::text, applied_by, host, pid::text, version, source_hash, reason, error::text`

  /** The two-number form of the advisory lock is another space of keys than the operations lock's. */
  const insertOnce = (attempt: NewAttempt) =>
    Effect.zipRight(
      sql`SELECT pg_advisory_xact_lock(1702063984, hashtext(${attempt.operationId}))`,
      sql.unsafe(attemptInsertOnce(schema.attempts, attempt))
    )

  /** On a connection that is in no transaction yet. */
  const ownTransaction = (statements: Effect.Effect<unknown, SqlError>) =>
    Effect.acquireUseRelease(
      sql.unsafe("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
      () => statements,
      (_, exit) => Effect.ignoreLogged(sql.unsafe(Exit.isSuccess(exit) ? "COMMIT" : "ROLLBACK"))
    )

  /** The table may be missing where the role may not create it. */
  const recordBy = (insert: Effect.Effect<unknown, SqlError>) =>
    session(Effect.flatMap(exists(schema.attempts), (found) => (found ? insert : Effect.void))).pipe(
      Effect.mapError(databaseError("recording the attempt")),
      Effect.asVoid
    )
  const record = (attempt: NewAttempt) => recordBy(sql.unsafe(attemptInsert(schema.attempts, attempt)))

  /** The marker cannot be written: once the body is undone, it tells whether another wrote it without the lock, or the body itself. */
  const refusedMarker = (marker: NewMarker, error: SqlError) =>
    session(
      Effect.flatMap(exists(schema.markers), (found) =>
        found ? sql`SELECT id FROM ${markers} WHERE id = ${marker.id}` : Effect.succeed([])
      )
    ).pipe(
      Effect.mapError(databaseError("writing the marker")),
      Effect.flatMap((found): Effect.Effect<never, AlreadyApplied | CommitRefused> =>
        found.length > 0
          ? new AlreadyApplied({ id: marker.id })
          : new CommitRefused({ code: sqlState(error), reason: reasonOf(error) })
      )
    )

  const appliedRows = Effect.map(
    sql`SELECT id, operation_type FROM ${markers}`.pipe(read(schema.markers, "reading the markers", TypedRow)),
    (found) => new Map(found.map(({ id, operation_type }) => [id, operation_type]))
  )

  const markersOf = (operationType: string, found: typeof AppliedIds.Row.Type) =>
    Effect.suspend(() =>
      Option.match(AppliedIds.idsOf(found), {
        onNone: () => appliedRows,
        onSome: (ids) => Effect.succeed(new Map(ids.map((id) => [id, operationType])))
      })
    )

  /**
   * The row that `text` asks for, and what `meanwhile` answers with. Outside a step without the ways of `sql`, which take 150 µs: an idle boot
   * asks nothing else, and those that wait ask it again and again.
   */
  const ask = <B, R>(text: string, meanwhile: Effect.Effect<B, never, R>) =>
    Effect.map(
      Effect.withFiberRuntime<readonly [ReadonlyArray<typeof AppliedIds.Row.Type>, B], DatabaseError, R>(
        ({ currentContext }) =>
          Option.isSome(Context.getOption(currentContext, PgStep))
            ? Effect.zip(read(schema.markers, "reading the markers", AppliedIds.Row)(sql.unsafe(text)), meanwhile)
            : Effect.flatMap(
                Effect.mapError(
                  askAlone(
                    sql,
                    (connection) => Effect.catchAll(connection.execute(text, [], undefined), noneIfMissing),
                    meanwhile
                  ),
                  databaseError("reading the markers")
                ),
                ([answer, other]) => Effect.map(decodeMarkers(answer), (found) => [found, other] as const)
              )
      ),
      ([[found = AppliedIds.none], other]) => ({ found, other })
    )

  const applied = Effect.flatMap(ask(AppliedIds.text(schema.markers, seedMigration), Effect.void), ({ found }) =>
    markersOf(seedMigration, found)
  )

  const noneIsThere = Effect.mapBoth(alone(sql)(schema.missing), {
    onFailure: (error) => (error._tag === "SqlError" ? databaseError("looking for the tables")(error) : error),
    onSuccess: (missing) => missing.length === schema.tables.length
  })

  const compare: OperationLog["Type"]["compare"] = (operationType, listing) =>
    Effect.map(
      ask(
        AppliedIds.brief(schema.markers, operationType),
        Effect.map(listing, (listed) => ({ listed, expected: AppliedIds.briefOf(listed.ids) }))
      ),
      ({ found, other: { expected, listed } }) => ({
        listing: listed,
        isExactly: Option.exists(expected, (row) => AppliedIds.isSame(found, row)),
        applied: AppliedIds.isWhole(found) || found.others > 0 ? markersOf(operationType, found) : applied,
        isNew: found === AppliedIds.none ? noneIsThere : undefined
      })
    )

  return OperationLog.of({
    applied,
    compare,
    markers: Effect.map(
      sql`SELECT id, operation_type, ${epoch("applied_at")}, duration_ms::text, applied_by, notes FROM ${markers}
        ORDER BY id COLLATE "C"`.pipe(read(schema.markers, "reading the markers", MarkerRow)),
      (found) => found.map(toMarker)
    ),
    attempts: ({ after = 0, id }) => {
      const only = id === undefined ? sql`` : sql`AND operation_id = ${id}`
      return Effect.map(
        sql`SELECT ${attemptColumns} FROM ${attempts} a WHERE id > ${after}::bigint ${only} ORDER BY a.id DESC`.pipe(
          read(schema.attempts, "reading the attempts", AttemptRow)
        ),
        (found) => found.map(toAttempt)
      )
    },
    lastAttempts: Effect.map(
      sql`SELECT ${attemptColumns} FROM ${attempts} JOIN (SELECT max(id) AS id FROM ${attempts} GROUP BY operation_id) AS last USING (id)`.pipe(
        read(schema.attempts, "reading the attempts", AttemptRow)
      ),
      (found) => new Map(found.map((row) => [row.operation_id, toAttempt(row)]))
    ),
    mark: (marker, attempt) =>
      Effect.withFiberRuntime((fiber) => {
        const step = Context.getOption(fiber.currentContext, PgStep)
        if (Option.isNone(step)) return outsideStep("writing the marker")
        const close = (attempted: boolean) =>
          step.value.close({
            text: attempted
              ? `${markerInsert(schema.markers, marker)}; ${attemptInsert(schema.attempts, attempt)}`
              : markerInsert(schema.markers, marker),
            failed: (error) =>
              isSeedsOwn(error)
                ? Effect.provideService(refusedMarker(marker, error), PgStep, step.value)
                : databaseError("writing the marker")(error)
          })
        return schema.has(schema.attempts)
          ? close(true)
          : Effect.flatMap(
              Effect.mapError(session(exists(schema.attempts)), databaseError("looking for the attempts")),
              close
            )
      }),
    unmark: ({ id, operationType }, attempt) =>
      Effect.gen(function* () {
        const step = yield* Effect.serviceOption(PgStep)
        if (Option.isNone(step)) return yield* outsideStep("forgetting the marker")
        const forgotten = yield* session(
          sql`DELETE FROM ${markers} WHERE id = ${id} AND operation_type = ${operationType} RETURNING id`
        ).pipe(Effect.mapError(databaseError("forgetting the marker")))
        if (forgotten.length === 0) return false
        yield* record(attempt)
        return true
      }),
    begin: (attempt) =>
      Effect.zipRight(
        Effect.mapError(
          sql.unsafe(interruptEarlier(schema.markers, schema.attempts, attempt)),
          databaseError("recording the attempt")
        ),
        sql.unsafe(`${attemptInsert(schema.attempts, attempt)} RETURNING id::text`).pipe(
          rows("recording the attempt", Schema.Struct({ id: Schema.NumberFromString })),
          Effect.map(([recorded]) => recorded?.id ?? 0)
        )
      ),
    finish: (id, attempt, marker) =>
      Effect.gen(function* () {
        const session = yield* Effect.serviceOption(PgSession)
        if (Option.isSome(marker) && Option.exists(session, ({ isOpen }) => isOpen()))
          return yield* new TransactionLeftOpen()
        const update = attemptUpdate(schema.attempts, id, attempt)
        // One statement: all of it, or a failure that says why.
        const write = Option.match(marker, {
          onNone: () => update,
          onSome: (given) => `WITH marked AS (${markerInsert(schema.markers, given)}) ${update}`
        })
        const settle = Option.match(session, { onNone: () => Effect.void, onSome: (found) => found.settle })
        yield* Effect.mapError(Effect.zipRight(settle, sql.unsafe(write)), (failed) =>
          Option.contains(sqlState(failed), "23505")
            ? new AlreadyApplied({ id: attempt.operationId })
            : databaseError("writing the marker")(failed)
        )
      }),
    record,
    recordOnce: (attempt) => recordBy(ownTransaction(insertOnce(attempt)))
  })
})

/** What a body can bring about: a marker of its own, a transaction made read-only, the table dropped. Not: a right that is missing. */
const isSeedsOwn = (error: SqlError): boolean =>
  Option.exists(sqlState(error), (state) => state === "23505" || state === "25006" || state === "42P01")
