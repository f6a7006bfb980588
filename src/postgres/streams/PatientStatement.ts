/**
 * A statement that waits for a table which another session has locked: the wait is told of, and inside a step of ours bounded by `lockTimeout`.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type { PgSql } from "../client/PgSql.js"
import { PgStep } from "../client/PgStep.js"
import * as TableLock from "../client/TableLock.js"

/** Makes statements on these tables patient. */
export const make = (
  sql: PgSql["Type"],
  { lockTimeout }: OperationConfig["Type"],
  tables: ReadonlyArray<string>
): (<A>(statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, SqlError>) => {
  const watch = TableLock.watch(sql, { tables, access: "write", bound: Option.some(lockTimeout) })
  return (statement) =>
    Effect.flatMap(
      Effect.serviceOption(PgStep),
      Option.match({ onNone: () => statement, onSome: ({ watched }) => watched(watch, statement) })
    )
}
