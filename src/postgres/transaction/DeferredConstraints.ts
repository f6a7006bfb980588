/**
 * What a COMMIT does before it commits, and what is put back behind it, done in the middle of a transaction that goes on.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { DatabaseError } from "../../operation/OperationError.js"
import { CommitRefused } from "../../operation/OperationError.js"
import * as LateTriggers from "../client/LateTriggers.js"
import { databaseError, isConnectionLost, reasonOf, sqlState } from "../client/PgError.js"
import type { PgStep } from "../client/PgStep.js"
import * as SessionState from "./SessionState.js"

/**
 * All names of deferrable constraints, and those that are deferred where nobody says otherwise. By their names, as SET CONSTRAINTS ALL would
 * be said of those as well that are made later (PostgreSQL manual, SET CONSTRAINTS); one name may be that of constraints of several tables.
 */
const deferrable = `SELECT string_agg(name, ', ') FILTER (WHERE any_of) AS names, string_agg(name, ', ') FILTER (WHERE all_of AND late) AS deferred
  FROM (SELECT format('%I.%I', n.nspname, c.conname) AS name, bool_or(c.condeferrable) AS any_of, bool_and(c.condeferrable) AS all_of,
      bool_or(c.condeferred) AS late
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace GROUP BY 1) AS named`

/**
 * As at the end of a step: search path and role are those that it began with, and what was deferred is checked, its triggers included. Then it
 * is deferred again, and the session is as it was before the first body, for what comes next.
 */
export const check = (step: PgStep["Type"]): Effect.Effect<void, CommitRefused | DatabaseError> =>
  step.savepoint(
    Effect.gen(function* () {
      const found: unknown = (yield* step.send(`${step.resetIdentity()}; ${deferrable}`)).at(-1)?.rows[0]
      const late = LateTriggers.around(step.late)
      const [names, deferred] = [textOf(found, "names"), textOf(found, "deferred")]
      if (names !== undefined)
        yield* step.send(
          [
            ...late.before,
            `SET CONSTRAINTS ${names} IMMEDIATE`,
            deferred === undefined ? [] : `SET CONSTRAINTS ${deferred} DEFERRED`,
            ...late.after
          ]
            .flat()
            .join("; ")
        )
      yield* SessionState.settle(step)
    }).pipe(
      Effect.mapError((error) =>
        isConnectionLost(error)
          ? databaseError("checking deferred constraints")(error)
          : new CommitRefused({ code: sqlState(error), reason: reasonOf(error) })
      )
    )
  )

const textOf = (row: unknown, column: string): string | undefined => {
  const text = Predicate.isRecord(row) ? row[column] : undefined
  return Predicate.isString(text) ? text : undefined
}
