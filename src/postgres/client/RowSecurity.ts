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

/** A row is there, as its key is taken, and cannot be seen. */
export const hidden = (action: string, table: string, cause: SqlError): DatabaseError =>
  DatabaseError.because(
    action,
    `${table} has the marker, and a row security policy hides it from this role: apply with a role that policies are not for, or disable row level security on the table`,
    { code: sqlState(cause), cause }
  )
