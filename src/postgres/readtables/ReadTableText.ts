/**
 * The statements for the tables of features: rows go as one JSON parameter, a single row as one parameter a column, and come back as one JSON
 * text each. Pure.
 */
import type { Column, Table } from "../../event/Table.js"
import { columnsNamed, keyColumns } from "../../event/Table.js"
import type { Sameness } from "../client/LateTriggers.js"
import { literal, quote } from "../client/SqlText.js"

/** Rows that are given: the columns that they have, and whether there is one row, whose values are parameters. */
export interface Given {
  readonly table: Table
  readonly columns: ReadonlyArray<Column>
  readonly isOne: boolean
}

/** The place of a row among those that were given; a name that no column has. */
export const place = "es_ops_place"

/** Rows by their keys, locked in the order of their keys. */
export const load = (given: Given): string =>
  rowsOf(given.table, `${from(given)}WHERE ${sameKey(given)} ORDER BY ${key(given.table, "t")} FOR UPDATE OF t`)

/** A page of rows by their keys, behind a key unless it is the first. */
export const page = (table: Table, isFirst: boolean): string => {
  const behind = keyColumns(table).map(({ type }, at) => `$${at + 2}::${type}`)
  const where = isFirst ? "" : `WHERE (${key(table, "t")}) > (${behind.join(", ")}) `
  return rowsOf(table, `FROM ${quote(table.name)} t ${where}ORDER BY ${key(table, "t")} LIMIT $1::bigint`)
}

/** Adds rows whose key and unique values are free. */
export const add = (given: Given): string => {
  const free = uniques(given).map((columns) => `NOT EXISTS (${owner(given, columns)})`)
  return inserted(given, `${insert(given, free)} ON CONFLICT (${names(given.table.primaryKey)}) DO NOTHING`)
}

/** Adds rows, or writes them in place of those that have their keys. */
export const put = (given: Given): string => {
  const set = given.columns.map(({ name }) => `${quote(name)} = EXCLUDED.${quote(name)}`).join(", ")
  return inserted(given, `${insert(given, [])} ON CONFLICT (${names(given.table.primaryKey)}) DO UPDATE SET ${set}`)
}

/** Changes rows that are there: for those that leave out a column which a new row must have. */
export const update = (given: Given): string => {
  const set = given.columns.map((column) => `${quote(column.name)} = ${valueOf(given, column)}`).join(", ")
  return `UPDATE ${quote(given.table.name)} t SET ${set} ${given.isOne ? "" : `FROM ${setOf(given)}`}
    WHERE ${sameKey(given)} ${returning(given.table)}`
}

/** Removes the rows of these keys. */
export const remove = (given: Given): string =>
  `DELETE FROM ${quote(given.table.name)} t ${given.isOne ? "" : `USING ${setOf(given)}`}
    WHERE ${sameKey(given)} ${returning(given.table)}`

/** The rows of these keys that are there. */
export const find = (given: Given): string => rowsOf(given.table, `${from(given)}WHERE ${sameKey(given)}`)

/** By what rows of the table are found again when deferred triggers have fired. */
export const sameness = (table: Table): Sameness => ({
  columns: keyColumns(table)
    .map(({ name, type }) => `${quote(name)} ${type}`)
    .join(", "),
  same: table.primaryKey.map((name) => `s.${quote(name)} = k.${quote(name)}`).join(" AND ")
})

/** Why rows were not added: the key is another's (`key`), or a unique value is, by its number; else it cannot be told. */
export const reasons = (given: Given): string => {
  const cases = uniques(given).map((columns, at) => `WHEN EXISTS (${owner(given, columns)}) THEN '${at}'`)
  return `SELECT g.${place}::text AS place,
      CASE WHEN EXISTS (${owner(given, keyColumns(given.table))}) THEN 'key' ${cases.join(" ")} ELSE '' END AS reason
    FROM ${setOf(given)}`
}

/** The unique columns of the table that the rows have values for. */
export const uniques = ({ columns, table }: Given): ReadonlyArray<ReadonlyArray<Column>> =>
  (table.unique ?? [])
    .filter((unique) => unique.every((name) => columns.some((column) => column.name === name)))
    .map((unique) => columnsNamed(table, unique))

/** Whether the rows have what a new row needs. */
export const isWhole = ({ columns, table }: Given): boolean =>
  table.columns.every(
    (column) =>
      column.nullable === true || column.default !== undefined || columns.some(({ name }) => name === column.name)
  )

const names = (columns: ReadonlyArray<string>): string => columns.map(quote).join(", ")

const key = (table: Table, of: string): string => table.primaryKey.map((name) => `${of}.${quote(name)}`).join(", ")

const from = (given: Given): string =>
  `FROM ${quote(given.table.name)} t ${given.isOne ? "" : `JOIN ${setOf(given)} ON true `}`

/** The row that has a unique value, or a key. */
const owner = (given: Given, columns: ReadonlyArray<Column>): string =>
  `SELECT FROM ${quote(given.table.name)} t WHERE ${same(given, columns)}`

const same = (given: Given, columns: ReadonlyArray<Column>): string =>
  columns.map((column) => `t.${quote(column.name)} = ${valueOf(given, column)}`).join(" AND ")

const sameKey = (given: Given): string => same(given, keyColumns(given.table))

/** A value of the given rows. No value for a column of JSON that takes no null is the null of JSON. */
const valueOf = ({ columns, isOne }: Given, { name, nullable, type }: Column): string => {
  const value = isOne ? `$${columns.findIndex((column) => column.name === name) + 1}::${type}` : `g.${quote(name)}`
  return type === "jsonb" && nullable !== true ? `coalesce(${value}, 'null')` : value
}

const setOf = ({ columns }: Given): string => {
  const typed = columns.map(({ name, type }) => `${quote(name)} ${type}`)
  return `jsonb_to_recordset($1::jsonb) AS g (${[...typed, `${place} integer`].join(", ")})`
}

/** Rows of one statement keep their order in what is filled, and so do those of one transaction: a row takes longer than a microsecond. */
const insert = (given: Given, where: ReadonlyArray<string>): string => {
  const { columns, isOne, table } = given
  const filled = table.columns.filter(
    (column) => column.default === "now" && !columns.some(({ name }) => name === column.name)
  )
  const now = isOne ? "statement_timestamp()" : `statement_timestamp() + g.${place} * interval '1 microsecond'`
  return `INSERT INTO ${quote(table.name)} AS t (${names([...columns, ...filled].map(({ name }) => name))})
    SELECT ${[...columns.map((column) => valueOf(given, column)), ...filled.map(() => now)].join(", ")}
    ${isOne ? "" : `FROM ${setOf(given)}`} ${where.length === 0 ? "" : `WHERE ${where.join(" AND ")}`}
    ${isOne ? "" : `ORDER BY ${key(table, "g")}`}`
}

/**
 * An INSERT with its answer. Of many rows it is their number, and the keys only where some were not written. With a rule on the table, which a
 * statement in a WITH does not get on with, an INSERT with ON CONFLICT is refused anyway.
 */
const inserted = (given: Given, statement: string): string =>
  given.isOne
    ? `${statement} ${returning(given.table)}`
    : `WITH written AS (${statement} RETURNING ${key(given.table, "t")}, ${watched})
        SELECT count(*)::text AS count, string_agg(DISTINCT t.watched, ' ') AS watched,
          CASE WHEN count(*) < jsonb_array_length($1::jsonb) THEN (SELECT json_agg(${keyObject(given.table)})::text FROM written t) END AS keys
        FROM written t`

const returning = (table: Table): string => `RETURNING ${keyObject(table)}::text AS row, ${watched}`

const keyObject = (table: Table): string =>
  `json_build_object(${keyColumns(table)
    .map((column) => `${literal(column.name)}, ${shown(column)}`)
    .join(", ")})`

/**
 * Whether the table has triggers that fire behind the statement (`true`), or even behind what is asked then (`late`), and may take a row away:
 * RETURNING does not see that.
 */
export const watched = `(SELECT CASE WHEN pg_catalog.bool_or(g.tgdeferrable) THEN 'late' WHEN count(*) > 0 THEN 'true' ELSE 'false' END
    FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.tableoid AND NOT g.tgisinternal AND g.tgtype & 66 = 0) AS watched`

/** In place of it, where the table is known to have none. */
export const unwatched = "'false' AS watched"

const rowsOf = (table: Table, source: string): string => {
  const columns = table.columns.map((column) => `${shown(column)} AS ${quote(column.name)}`)
  return `SELECT row_to_json(r)::text AS row FROM (SELECT ${columns.join(", ")} ${source}) r`
}

/** A column as a stored row has it: what JavaScript has another idea of is text. */
const shown = ({ name, type }: Column): string => {
  const column = `t.${quote(name)}`
  if (type === "bigint") return `${column}::text`
  if (type !== "timestamptz") return column
  return `CASE WHEN ${column} >= '0001-01-01 UTC' AND ${column} < '10000-01-01 UTC'
    THEN to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') ELSE ${column}::text END`
}
