/**
 * A unique violation by what the server's fields say: the constraint, its table and the columns that it is on. The columns are in the detail
 * between parentheses, in whatever language the server speaks; it leaves them out where the role may not read them.
 */
import type { SqlError } from "@effect/sql/SqlError"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { sqlState } from "./PgError.js"

/** A row that a unique index refused. */
export interface UniqueViolation {
  readonly constraint: string
  readonly table: string
  /** The columns of the index with the values that are taken; none where the server does not tell. An expression is a column here. */
  readonly key: ReadonlyMap<string, string>
  /** The columns as the server lists them. */
  readonly columns: string
  /** Whether a trigger's statement met it, and not the statement that was sent. */
  readonly isNested: boolean
}

/** The violation (23505) that a statement failed with, if it was one. */
export const of = (error: SqlError): Option.Option<UniqueViolation> => {
  if (!Option.contains(sqlState(error), "23505")) return Option.none()
  const field = (name: string): string => {
    const value = Predicate.hasProperty(error.cause, name) ? error.cause[name] : undefined
    return Predicate.isString(value) ? value : ""
  }
  const [, columns = "", values = ""] = /\((.*?)\)=\((.*)\)/s.exec(field("detail")) ?? []
  return Option.some({
    constraint: field("constraint"),
    table: field("table"),
    key: keyOf(columns.split(", "), values.split(", ")),
    columns,
    isNested: field("where") !== ""
  })
}

/** Values with a comma in them cannot be told apart: then the columns are known, and no value is. */
const keyOf = (columns: ReadonlyArray<string>, values: ReadonlyArray<string>): ReadonlyMap<string, string> =>
  new Map(columns.map((column, at) => [column, columns.length === values.length ? (values[at] ?? "") : ""]))
