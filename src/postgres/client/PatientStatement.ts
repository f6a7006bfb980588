/**
 * A statement that waits for a table which another session has locked: the wait is told of, and bounded by `lockTimeout`, but in a transaction of
 * the application's, which is not ours to end.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import { patient } from "./DecoratedConnection.js"
import type { PgSql } from "./PgSql.js"
import { alone } from "./DecoratedConnection.js"
import * as TableLock from "./TableLock.js"

/** Makes statements that read these tables, or write to them, patient. */
export const make = (
  sql: PgSql["Type"],
  { lockTimeout }: Pick<OperationConfig["Type"], "lockTimeout">,
  access: TableLock.Access,
  tables: ReadonlyArray<string>
): (<A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>) => {
  const bounded = TableLock.watch(sql, { tables, access, bound: Option.some(lockTimeout) })
  const told = TableLock.watch(sql, { tables, access, bound: Option.none() })
  return patient(sql.watches, { bounded, told, outside: alone(sql, bounded) })
}
