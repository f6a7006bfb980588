/**
 * The tables of runs and kinds, which the first run that needs them creates under the operations lock; where they are is noted then, so that no
 * temporary table or search path of a batch comes between.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { TableMismatch } from "../../operation/DatabaseHealth.js"
import * as LockWait from "../../operation/LockWait.js"
import { OperationId } from "../../operation/Operation.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { LockTimeout } from "../../operation/OperationError.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { outsideStep } from "../../operation/OutsideStep.js"
import type { KindTable } from "../../operation/Run.js"
import type { RunRequest } from "../../operation/RunLog.js"
import * as Transactors from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import { alone, over } from "../client/DecoratedConnection.js"
import { PgSql, rows } from "../client/PgSql.js"
import { databaseError } from "../client/PgError.js"
import { PgStep } from "../client/PgStep.js"
import { literal } from "../client/SqlText.js"
import type { RunTable } from "../schema/KindTables.js"
import { PgSchema } from "../schema/PgSchema.js"
import type { PgTable } from "../schema/PgTable.js"
import type { RunTables } from "./RunRow.js"

/** What is known of them. */
export interface RunTablesThere {
  /** The names in full, once a run was begun by this process; as they are looked for before. Inside a step, as its claim found them. */
  readonly located: (step?: PgStep["Type"]) => RunTables
  /** Creates those that are missing, inside a step that holds the lock, and answers with their names in full. */
  readonly within: (step: PgStep["Type"]) => Effect.Effect<RunTables, TableMismatch | DatabaseError>
  /** Creates what a run needs and is missing, and refuses what is of another shape. */
  readonly ensure: (
    request: Pick<RunRequest, "operationType" | "name" | "tables">
  ) => Effect.Effect<void, TableMismatch | LockTimeout | DatabaseError>
}

/** Nothing is known yet. */
export const make: Effect.Effect<
  RunTablesThere,
  never,
  PgSql | PgSchema | OperationConfig | OperationLock | Transactor
> = Effect.gen(function* () {
  const sql = yield* PgSql
  const schema = yield* PgSchema
  const config = yield* OperationConfig
  const lock = yield* OperationLock
  const transactor = yield* Transactor
  const ensured = new Set<string>()
  const tableOf = (table: RunTable | KindTable) => schema.kinds.get(table)
  let names: RunTables = { runs: schema.kind("es_ops_runs"), lanes: schema.kind("es_ops_run_lanes") }

  const located: RunTablesThere["located"] = (step) =>
    step === undefined
      ? names
      : { runs: step.tables.get(names.runs) ?? names.runs, lanes: step.tables.get(names.lanes) ?? names.lanes }

  const create = (id: OperationId, tables: ReadonlyArray<PgTable>) =>
    Transactors.run(
      transactor,
      Effect.gen(function* () {
        yield* lock.claim(id)
        const step = yield* Effect.serviceOption(PgStep)
        if (Option.isNone(step)) return yield* outsideStep("creating the tables")
        const missing = yield* over(step.value.connection)(schema.missingOf(tables))
        yield* over(step.value.connection)(schema.create(missing))
      }),
      id
    )

  const ensure: RunTablesThere["ensure"] = (request) =>
    Effect.gen(function* () {
      const wanted = [...runTables, ...request.tables].filter((name) => !ensured.has(name))
      if (wanted.length === 0) return
      const tables = wanted.flatMap((name) => Option.toArray(Option.fromNullable(tableOf(name))))
      const markers = schema.tables.slice(0, 1)
      const missing = yield* Effect.mapError(alone(sql)(schema.missingOf([...markers, ...tables])), (error) =>
        error._tag === "SqlError" ? databaseError("looking for the tables")(error) : error
      )
      if (missing.length > 0) {
        const id = OperationId.make(`${request.operationType}:${request.name}`)
        yield* LockWait.whileHeld(id, create(id, tables), () => Effect.void).pipe(
          Effect.provideService(OperationConfig, config),
          Effect.catchAll((error) =>
            error._tag === "LockTimeout" || error._tag === "DatabaseError"
              ? Effect.fail(error)
              : DatabaseError.because("creating the tables", error.message, { cause: error })
          )
        )
      }
      const [mismatch] = yield* schema.mismatchesOf(tables)
      if (mismatch !== undefined) return yield* mismatch
      names = { runs: yield* inFull(sql, names.runs), lanes: yield* inFull(sql, names.lanes) }
      for (const name of wanted) ensured.add(name)
    })

  /** What was created is there only once the step is committed: it is looked for again by the next. */
  const within: RunTablesThere["within"] = (step) =>
    over(step.connection)(
      Effect.gen(function* () {
        // The body may have left another search path, role or temporary table: none of them decides where the cursor goes.
        yield* Effect.mapError(
          step.send(`${step.resetIdentity()}; ${temporaryLast}`),
          databaseError("writing the cursor")
        )
        if (runTables.every((name) => ensured.has(name))) return names
        const tables = runTables.flatMap((name) => Option.toArray(Option.fromNullable(tableOf(name))))
        const missing = yield* schema.missingOf(tables)
        if (missing.length > 0) yield* schema.create(missing)
        const [mismatch] = yield* schema.mismatchesOf(tables)
        if (mismatch !== undefined) return yield* mismatch
        const known = located(step)
        const found = { runs: yield* inFull(sql, known.runs), lanes: yield* inFull(sql, known.lanes) }
        if (missing.length === 0) {
          names = found
          for (const name of runTables) ensured.add(name)
        }
        return found
      })
    )

  return { located, within, ensure }
})

/** A temporary table is found before every other, unless the search path says when (PostgreSQL manual, 19.11.1). */
const temporaryLast = `SELECT pg_catalog.set_config('search_path',
  pg_catalog.concat_ws(', ', NULLIF(pg_catalog.current_setting('search_path'), ''), 'pg_temp'), true)`

const runTables: ReadonlyArray<RunTable> = ["es_ops_runs", "es_ops_run_lanes"]

const Name = Schema.Struct({ name: Schema.String })

const inFull = (sql: PgSql["Type"], name: string): Effect.Effect<string, DatabaseError> =>
  Effect.map(
    sql
      .unsafe(
        `SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.oid = to_regclass(${literal(name)})`
      )
      .pipe(rows("looking for the tables", Name)),
    ([found]) => found?.name ?? name
  )
