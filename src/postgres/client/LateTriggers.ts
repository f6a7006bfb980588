/**
 * Deferred triggers fire at COMMIT, behind everything that looks at what a step wrote. The rows of a table that has some are looked at once more: how
 * many there are as they were stored, before the triggers fire and behind it. Some may be gone before, with a savepoint of the body's own.
 */
import { literal } from "./SqlText.js"

/** Rows of one table: their ids and their sums, and the expression that a sum is computed by. */
export interface LateRows {
  readonly sum: string
  readonly ids: Array<string>
  readonly sums: Array<string>
}

/** The expression of a row's sum, of columns whose text depends on no setting. */
export const sumOf = (columns: ReadonlyArray<string>): string =>
  `pg_catalog.md5(ROW(${columns.map((name) => `s.${name}`).join(", ")})::text)`

/** The column with that sum, where the table, or a partition of it, has deferrable triggers. */
export const column = (table: string, sum: string): string =>
  `CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.contype = 't' AND c.condeferrable AND c.conrelid IN (
      SELECT ${literal(table)}::pg_catalog.regclass UNION SELECT p.relid FROM pg_catalog.pg_partition_tree(${literal(table)}::pg_catalog.regclass) AS p))
    THEN ${sum} END AS late`

/** What is sent around the statement that fires them: the second fails where there are fewer rows than before (22P02). */
export const around = (
  rows: ReadonlyMap<string, LateRows>
): { readonly before: ReadonlyArray<string>; readonly after: ReadonlyArray<string> } => {
  const all = [...rows].map(([table, found]) => ({ table, count: counting(table, found) }))
  return {
    before: all.map(({ count }, at) => `SELECT pg_catalog.set_config('es_ops.late_${at}', ${count}::text, true)`),
    after: all.map(
      ({ count, table }, at) =>
        `SELECT CASE WHEN ${count}::text <> pg_catalog.current_setting('es_ops.late_${at}')
          THEN (${said(table)} || ' (' || ${count}::text || ' of ' || pg_catalog.current_setting('es_ops.late_${at}') || ')')::pg_catalog.int4 END`
    )
  }
}

const said = (table: string): string =>
  literal(`${table.replaceAll(/^.*\.|"/g, "")} did not store the row as it was sent: look for a deferred trigger on it`)

const counting = (table: string, { ids, sum, sums }: LateRows): string =>
  `(SELECT count(*) FROM ${table} s JOIN ROWS FROM (pg_catalog.unnest('{${ids.join(",")}}'::bigint[]), pg_catalog.unnest('{${sums.join(",")}}'::text[]))
    AS k (id, sum) ON s.id = k.id AND ${sum} = k.sum)`
