/**
 * The rights that a run needs on tables of ours, looked for before its work begins: an end that cannot be recorded would leave work that is done and
 * a run that is not over.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DatabaseError } from "../../operation/OperationError.js"
import type { RunRequest } from "../../operation/RunLog.js"
import { privilegeHint } from "../client/PgError.js"
import type { PgSql } from "../client/PgSql.js"
import { rows } from "../client/PgSql.js"
import { literal } from "../client/SqlText.js"
import type { PgSchema } from "../schema/PgSchema.js"
import type { RunTables } from "./RunRow.js"

/** Fails with all that the role lacks. Rights on columns count: which ones our rows need is for the server to say. */
export const check = (
  sql: PgSql["Type"],
  action: string,
  schema: Pick<PgSchema["Type"], "attempts" | "kinds" | "markers">,
  located: RunTables,
  { isMarked, tables }: Pick<RunRequest, "isMarked" | "tables">
): Effect.Effect<void, DatabaseError> => {
  const wanted = [
    [located.runs, "SELECT", "INSERT", "UPDATE"],
    [located.lanes, "SELECT", "INSERT", "UPDATE"],
    ...(isMarked === true ? [[schema.markers, "SELECT", "INSERT"]] : []),
    [schema.attempts, "SELECT", "INSERT"],
    ...tables.flatMap((table) => {
      const kind = schema.kinds.get(table)
      return kind === undefined ? [] : [[kind.name, "SELECT", ...kind.writes]]
    })
  ].flatMap(([table = "", ...rights]) => rights.map((right) => `(${literal(table)}, ${literal(right)})`))
  return sql
    .unsafe(
      `SELECT w.name, w."right" FROM (VALUES ${wanted.join(", ")}) AS w (name, "right")
        WHERE to_regclass(w.name) IS NOT NULL AND CASE w."right" WHEN 'DELETE' THEN NOT has_table_privilege(to_regclass(w.name), w."right")
          ELSE NOT has_any_column_privilege(to_regclass(w.name), w."right") END`
    )
    .pipe(
      rows(action, Right),
      Effect.flatMap((lacking) =>
        lacking.length === 0
          ? Effect.void
          : DatabaseError.because(
              action,
              `the role lacks ${lacking.map(({ name, right }) => `${right} on ${name}`).join(", ")}, which its record needs${privilegeHint}`,
              { code: Option.some(insufficientPrivilege) }
            )
      )
    )
}

const insufficientPrivilege = "42501"

const Right = Schema.Struct({ name: Schema.String, right: Schema.String })
