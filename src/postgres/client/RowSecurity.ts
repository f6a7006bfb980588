/**
 * Policies of rows on our tables: they hide rows without an error, so that an operation that was applied looks as if it was not.
 */
import type { SqlError } from "@effect/sql/SqlError"
import { DatabaseError } from "../../operation/OperationError.js"
import { sqlState } from "./PgError.js"
import { literal } from "./SqlText.js"

/** The statement that gives a row where policies decide which rows of this table the role reads and writes. */
export const active = (table: string): string =>
  `SELECT 1 AS active WHERE pg_catalog.row_security_active(pg_catalog.to_regclass(${literal(table)}))`

/**
 * The statement that gives a row where policies may hide rows of this table from the role: unless one of them admits every row, and none that
 * restricts it says otherwise.
 */
export const mayHide = (table: string): string =>
  `SELECT 1 AS hides WHERE pg_catalog.row_security_active(pg_catalog.to_regclass(${literal(table)})) AND (
    SELECT coalesce(bool_or(p.polpermissive AND p.admits), false) AND NOT coalesce(bool_or(NOT p.polpermissive AND NOT p.admits), false)
    FROM (SELECT polpermissive, coalesce(pg_catalog.pg_get_expr(polqual, polrelid), 'true') = 'true' AS admits FROM pg_catalog.pg_policy
      WHERE polrelid = pg_catalog.to_regclass(${literal(table)}) AND polcmd IN ('r', '*')
        AND (0 = ANY (polroles) OR EXISTS (SELECT FROM pg_catalog.unnest(polroles) AS r WHERE pg_catalog.pg_has_role(r, 'USAGE')))) AS p) IS FALSE`

/** Rows of the table may be there and not be seen. */
export const unseen = (action: string, table: string, what: string): DatabaseError =>
  DatabaseError.because(
    action,
    `row security policies of ${table} may hide from this role ${what}: apply with a role that policies are not for, or disable row level security on the table`
  )

/** A row is there, as its key is taken, and cannot be seen. */
export const hidden = (action: string, table: string, cause: SqlError): DatabaseError =>
  DatabaseError.because(
    action,
    `${table} has the marker, and a row security policy hides it from this role: apply with a role that policies are not for, or disable row level security on the table`,
    { code: sqlState(cause), cause }
  )
