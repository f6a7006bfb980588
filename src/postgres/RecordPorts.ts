/**
 * The ports on PostgreSQL that record operations and tell what is recorded, over the application's `SqlClient`. All others come after them.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { DatabaseHealth } from "../operation/DatabaseHealth.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import { OperationLock } from "../operation/OperationLock.js"
import { OperationLog } from "../operation/OperationLog.js"
import type { Replica } from "../operation/Replica.js"
import { StepCursor } from "../operation/StepCursor.js"
import { Transactor } from "../operation/Transactor.js"
import * as PgSql from "./client/PgSql.js"
import * as PgDatabaseHealth from "./health/PgDatabaseHealth.js"
import * as PgOperationLock from "./lock/PgOperationLock.js"
import * as PgOperationLog from "./log/PgOperationLog.js"
import * as PgStepCursor from "./runs/PgStepCursor.js"
import type { TableOptions } from "./schema/PgSchema.js"
import * as PgSchema from "./schema/PgSchema.js"
import * as PgTransactor from "./transaction/PgTransactor.js"

export type { TableOptions } from "./schema/PgSchema.js"

/** The ports of the record. */
export type Ports = Transactor | OperationLock | OperationLog | StepCursor | DatabaseHealth

/** What every adapter is made of: the client, and the names of the tables. */
export const ground = (
  options: TableOptions
): Effect.Effect<
  Context.Context<PgSql.PgSql | PgSchema.PgSchema>,
  never,
  SqlClient.SqlClient | OperationConfig | Scope.Scope
> =>
  Effect.gen(function* () {
    const sql = yield* PgSql.make
    const schema = yield* Effect.provideService(PgSchema.make(options), PgSql.PgSql, sql)
    return Context.make(PgSql.PgSql, sql).pipe(Context.add(PgSchema.PgSchema, schema))
  })

/** Makes them on this ground. */
export const adapters: Effect.Effect<
  Context.Context<Ports>,
  never,
  PgSql.PgSql | PgSchema.PgSchema | OperationConfig | Replica
> = Effect.gen(function* () {
  const log = yield* PgOperationLog.make
  const lock = yield* PgOperationLock.make
  const transactor = yield* Effect.provideService(PgTransactor.make, OperationLog, log)
  const ports = Context.make(OperationLog, log).pipe(
    Context.add(Transactor, transactor),
    Context.add(OperationLock, lock)
  )
  return ports.pipe(
    Context.add(StepCursor, yield* Effect.provide(PgStepCursor.make, ports)),
    Context.add(DatabaseHealth, yield* PgDatabaseHealth.make)
  )
})

/** All of them, and nothing of other kinds. */
export const make = (
  options: TableOptions
): Effect.Effect<Context.Context<Ports>, never, SqlClient.SqlClient | OperationConfig | Replica | Scope.Scope> =>
  Effect.flatMap(ground(options), (found) => Effect.provide(adapters, found))
