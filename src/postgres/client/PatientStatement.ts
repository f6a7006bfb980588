/**
 * A statement that waits for a table which another session has locked: the wait is told of, and bounded by `lockTimeout`, but in a transaction of
 * the application's, which is not ours to end.
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import { watched } from "./DecoratedConnection.js"
import { PgSession } from "./PgSession.js"
import type { PgSql } from "./PgSql.js"
import { alone } from "./PgSql.js"
import { PgStep } from "./PgStep.js"
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
  return (statement) =>
    Effect.flatMap(Effect.context<never>(), (context) => {
      // A write in a session is a step on a connection that only the session can close.
      const session = Context.getOption(context, PgSession)
      if (Option.isSome(session)) {
        const { closedFor, disconnect } = session.value
        return watched(disconnect, noted(bounded, closedFor), statement)
      }
      const step = Context.getOption(context, PgStep)
      if (Option.isSome(step)) return step.value.watched(bounded, statement)
      return Option.isSome(Context.getOption(context, SqlClient.TransactionConnection))
        ? watched(Effect.void, told, statement)
        : alone(sql, bounded)(statement)
    })
}

/** A session knows then why it is closed. */
const noted = (watch: Effect.Effect<never, SqlError>, closedFor: (failure: SqlError) => void) =>
  Effect.tapError(watch, (failure) => Effect.sync(() => closedFor(failure)))
