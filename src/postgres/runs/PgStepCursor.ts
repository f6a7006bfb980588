/**
 * `StepCursor` on PostgreSQL: rows of the table of runs, written inside the step of the operation.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomUUID } from "node:crypto"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { OperationLock } from "../../operation/OperationLock.js"
import { outsideStep } from "../../operation/OutsideStep.js"
import { Replica } from "../../operation/Replica.js"
import type { Run } from "../../operation/Run.js"
import { StepCursor } from "../../operation/StepCursor.js"
import type { Transactor } from "../../operation/Transactor.js"
import { databaseError, notStored, refusedRow, sqlState } from "../client/PgError.js"
import { alone, over } from "../client/DecoratedConnection.js"
import { PgSql, rows } from "../client/PgSql.js"
import { PgStep } from "../client/PgStep.js"
import * as RowSecurity from "../client/RowSecurity.js"
import { literal } from "../client/SqlText.js"
import type { PgSchema } from "../schema/PgSchema.js"
import * as RunRow from "./RunRow.js"
import * as RunStatement from "./RunStatement.js"
import * as RunTablesThere from "./RunTablesThere.js"

type Requirements = PgSql | PgSchema | OperationConfig | OperationLock | Transactor | Replica

/** Cursors in the table of runs. */
export const make: Effect.Effect<StepCursor["Type"], never, Requirements> = Effect.gen(function* () {
  const sql = yield* PgSql
  const owner = yield* Replica
  const there = yield* RunTablesThere.make

  const inStep = <A>(action: string, use: (step: PgStep["Type"]) => Effect.Effect<A, DatabaseError>) =>
    Effect.flatMap(Effect.serviceOption(PgStep), Option.match({ onNone: () => outsideStep(action), onSome: use }))

  /** On the step's connection, where a missing table is asked for first: an error would abort its transaction. */
  const unfinished = (condition: string): Effect.Effect<ReadonlyArray<Run>, DatabaseError> =>
    Effect.flatMap(Effect.serviceOption(PgStep), (step) => {
      const tables = there.located(Option.getOrUndefined(step))
      const select = sql.unsafe(RunRow.select(tables, `r.outcome IN ('running', 'paused') AND ${condition}`))
      const asked = Option.match(step, {
        onNone: () => Effect.catchAll(alone(sql)(select), noneIfMissing),
        onSome: ({ connection }) =>
          over(connection)(
            Effect.flatMap(sql.unsafe(isThere(tables.runs)), (found) =>
              found.length === 0 ? Effect.succeed([]) : select
            )
          )
      })
      return Effect.map(rows("reading the cursor", RunRow.RunRow)(asked), (found) => found.map(RunRow.toRun))
    })

  const readOne = (operationType: string, id: string) =>
    Effect.map(unfinished(isOf("r", operationType, id)), (found) => Option.fromNullable(found.at(-1)))

  /** A role that applies seeds need not be one that may write runs: nothing is sent where there is nothing to change. */
  const change = (
    action: string,
    condition: string,
    isHalfDone: Effect.Effect<boolean, DatabaseError>,
    statement: () => string
  ) =>
    inStep(action, ({ connection }) =>
      Effect.gen(function* () {
        const found = yield* over(connection)(
          Effect.mapError(sql.unsafe(isThere(there.located().runs)), databaseError(action))
        )
        if (found.length === 0) return false
        const any = `SELECT 1 AS found FROM ${there.located().runs} AS r WHERE ${condition} LIMIT 1`
        const runs = yield* over(connection)(Effect.mapError(sql.unsafe(any), databaseError(action)))
        if (runs.length === 0) return false
        const was = yield* isHalfDone
        yield* over(connection)(Effect.mapError(sql.unsafe(statement()), databaseError(action)))
        return was
      })
    )

  return StepCursor.of({
    read: readOne,
    halfDone: (operationType) =>
      Effect.map(
        unfinished(`r.operation_type = ${literal(operationType)}`),
        (found) => new Map(found.map((run) => [run.name, run]))
      ),
    write: (operationType, id, made) =>
      inStep("writing the cursor", (step) =>
        Effect.gen(function* () {
          const tables = yield* Effect.catchTag(there.within(step), "TableMismatch", (error) =>
            DatabaseError.because("writing the cursor", error.message, { cause: error })
          )
          const send = (text: string) =>
            Effect.mapError(over(step.connection)(sql.unsafe(text)), (error) =>
              Option.contains(sqlState(error), RunStatement.notStored)
                ? notStored("writing the cursor", tables.runs)
                : (refusedRow(error, "writing the cursor", tables.runs) ?? databaseError("writing the cursor")(error))
            )
          const [before] = yield* over(step.connection)(
            sql
              .unsafe(RunRow.select(tables, `r.outcome IN ('running', 'paused') AND ${isOf("r", operationType, id)}`))
              .pipe(rows("reading the cursor", RunRow.RunRow))
          )
          const key = { id: before?.id ?? randomUUID(), epoch: 1 }
          if (before === undefined) {
            const [hides] = yield* over(step.connection)(
              Effect.mapError(sql.unsafe(RowSecurity.mayHide(tables.runs)), databaseError("reading the cursor"))
            )
            if (hides !== undefined)
              return yield* RowSecurity.unseen("reading the cursor", tables.runs, "how far the seed came before")
            yield* send(
              RunStatement.insert(
                tables.runs,
                key.id,
                {
                  operationType,
                  name: id,
                  params: {},
                  definition: made.definition,
                  access: { reads: [], changes: [] },
                  tables: []
                },
                owner
              )
            )
          }
          const { cursor, counters, done } = made
          for (const text of RunStatement.progress(tables, key, {
            phase: "batches",
            cursor,
            counters,
            done,
            total: Option.getOrUndefined(made.total)
          }))
            yield* send(text)
          yield* send(
            made.isLast
              ? RunStatement.end(tables.runs, key, { outcome: "applied", error: Option.none() })
              : RunStatement.attend(tables.runs, key, made.definition, owner, Duration.toMillis(made.lease))
          )
        })
      ),
    forget: (operationType, id) =>
      change(
        "forgetting the cursor",
        isOf("r", operationType, id),
        Effect.map(readOne(operationType, id), Option.isSome),
        () => `DELETE FROM ${there.located().runs} AS r WHERE ${isOf("r", operationType, id)}`
      ),
    rename: (operationType, from, to) =>
      change(
        "renaming the cursor",
        isOf("r", operationType, from),
        Effect.map(readOne(operationType, from), Option.isSome),
        () => `UPDATE ${there.located().runs} AS r SET name = ${literal(to)} WHERE ${isOf("r", operationType, from)}`
      )
  })
})

const isOf = (alias: string, operationType: string, id: string): string =>
  `${alias}.operation_type = ${literal(operationType)} AND ${alias}.name = ${literal(id)}`

const isThere = (table: string): string => `SELECT 1 AS found WHERE to_regclass(${literal(table)}) IS NOT NULL`

/** undefined_table: nothing is half done here. */
const noneIfMissing = (error: SqlError): Effect.Effect<ReadonlyArray<never>, SqlError> =>
  Option.contains(sqlState(error), "42P01") ? Effect.succeed([]) : Effect.fail(error)
