/**
 * `Snapshots` on PostgreSQL: a table of our own, which is created by the first snapshot that is stored.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { Snapshot, SnapshotKey, SnapshotTail } from "../../event/Snapshots.js"
import { Snapshots } from "../../event/Snapshots.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { Transactor } from "../../operation/Transactor.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { databaseError, sqlState } from "../client/PgError.js"
import { decodeRows, PgSql } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import { EventRow, toEvent } from "../events/EventRow.js"
import { PgSchema } from "../schema/PgSchema.js"
import * as SnapshotStatement from "./SnapshotStatement.js"

const action = "loading a stream from its snapshot"

/** undefined_table */
const undefinedTable = "42P01"

/** Snapshots in the table that the settings' schema has, or the search path finds. */
export const make: Effect.Effect<Snapshots["Type"], never, PgSql | PgSchema | OperationConfig | Transactor> =
  Effect.gen(function* () {
    const sql = yield* PgSql
    const schema = yield* PgSchema
    const transactor = yield* Transactor
    const config = yield* OperationConfig
    const { lockKey } = config
    const table = yield* SnapshotStatement.tableOf(schema)
    const patient = PatientStatement.make(sql, config, "write", [table.name, "kumiko_events"])
    /** Whether the table is there, once that is known. */
    let isThere: boolean | undefined
    const exists = () => isThere === true

    const load = (key: SnapshotKey): Effect.Effect<ReadonlyArray<unknown>, SqlError> =>
      isThere === false
        ? sql.unsafe(SnapshotStatement.events, [key.tenantId, key.aggregateId])
        : sql.unsafe(SnapshotStatement.load(table.name), [
            key.tenantId,
            key.aggregateId,
            key.aggregateType,
            key.snapshotVersion
          ])

    const look = Effect.map(
      sql.unsafe(`SELECT 1 FROM pg_class WHERE oid = to_regclass(${literal(table.name)})`),
      ([found]) => {
        isThere = found !== undefined
      }
    )

    /** A statement that fails aborts the transaction of its fiber: there the table is looked for first. */
    const known = Effect.flatMap(Effect.serviceOption(SqlClient.TransactionConnection), (transaction) =>
      isThere === undefined && Option.isSome(transaction) ? look : Effect.void
    )

    const found = (key: SnapshotKey) =>
      patient(Effect.suspend(() => load(key))).pipe(
        // What another fiber has found out meanwhile says nothing about the statement that was sent before.
        Effect.catchIf(
          (error) => Option.contains(sqlState(error), undefinedTable),
          () => Effect.zipRight(look, patient(Effect.suspend(() => load(key))))
        )
      )

    /** Another program may hold the operations lock: then the next load that is due creates the table. */
    const create = Effect.gen(function* () {
      const [lock] = yield* Effect.mapError(
        sql.unsafe(`SELECT 1 WHERE pg_try_advisory_xact_lock(${lockKey})`),
        databaseError("creating the table of snapshots")
      )
      if (lock === undefined) return false
      yield* schema.create(yield* schema.missingOf([table]))
      return true
    })

    const store = (snapshot: Snapshot) =>
      sql
        .unsafe(SnapshotStatement.save(table.name), [
          snapshot.tenantId,
          snapshot.aggregateId,
          snapshot.aggregateType,
          snapshot.snapshotVersion,
          snapshot.version,
          `${snapshot.eventId}`,
          JSON.stringify(snapshot.state)
        ])
        .pipe(patient, Effect.mapError(databaseError("storing a snapshot")))

    return Snapshots.of({
      load: (key) =>
        Effect.zipRight(known, found(key)).pipe(Effect.mapError(databaseError(action)), Effect.flatMap(tailOf)),
      save: (snapshot) =>
        transactor.savepoint(
          Effect.gen(function* () {
            if (!exists()) {
              yield* Effect.mapError(look, databaseError(action))
              if (!exists() && !(yield* create)) return
              // What this transaction creates is there once it is committed.
              if (!exists()) isThere = undefined
            }
            yield* store(snapshot)
          })
        )
    })
  })

const SnapshotRow = Schema.Struct({
  version: Schema.NumberFromString,
  payload: Schema.parseJson(Schema.Unknown)
})

/** The snapshot is a row without an id. */
const tailOf = (rows: ReadonlyArray<unknown>): Effect.Effect<SnapshotTail, DatabaseError> => {
  const isSnapshot = (row: unknown) => Predicate.hasProperty(row, "id") && row.id === null
  return Effect.all({
    snapshot: Effect.map(decodeSnapshot(rows.filter(isSnapshot)), ([first]) =>
      Option.map(Option.fromNullable(first), ({ payload, version }) => ({ version, state: payload }))
    ),
    events: Effect.map(decodeEvents(rows.filter((row) => !isSnapshot(row))), (found) => found.map(toEvent))
  })
}

const decodeSnapshot = decodeRows(action, SnapshotRow)

const decodeEvents = decodeRows(action, EventRow)
