/**
 * Deferred triggers fire at COMMIT, behind everything that looks at what a step wrote. The rows of a table that has some are looked at once more: how
 * many there are as they were stored, before the triggers fire and behind it. Some may be gone before, with a savepoint of the body's own, or as the
 * body removed them.
 */
import { raised } from "./PgError.js"
import { literal } from "./SqlText.js"

/** By what the rows of a table are found again: columns of `k`, with their types, and when a row `s` is the same. */
export interface Sameness {
  readonly columns: string
  readonly same: string
}

/** Rows of one table, as `k` has them. */
export interface LateRows extends Sameness {
  readonly rows: Array<unknown>
}

/** The rows of the step that deferred triggers may still take away, by the names of their tables. */
export type Late = Map<string, LateRows>

/** Notes more rows of a table. */
export const note = (late: Late, table: string, sameness: Sameness, rows: ReadonlyArray<unknown>): void => {
  const known = late.get(table) ?? { ...sameness, rows: [] }
  for (const row of rows) known.rows.push(row)
  late.set(table, known)
}

/** The expression of a row's sum, of columns whose text depends on no setting. */
export const sumOf = (columns: ReadonlyArray<string>): string =>
  `pg_catalog.md5(ROW(${columns.map((name) => `s.${name}`).join(", ")})::text)`

/** The column with that expression, where the table, or a partition of it, has deferrable triggers. */
export const column = (table: string, expression: string): string =>
  `CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.contype = 't' AND c.condeferrable AND c.conrelid IN (
      SELECT ${literal(table)}::pg_catalog.regclass UNION SELECT p.relid FROM pg_catalog.pg_partition_tree(${literal(table)}::pg_catalog.regclass) AS p))
    THEN ${expression} END AS late`

/** What is sent around the statement that fires them: the second fails where there are fewer rows than before. */
export const around = (
  late: ReadonlyMap<string, LateRows>
): { readonly before: ReadonlyArray<string>; readonly after: ReadonlyArray<string> } => {
  const all = [...late].map(([table, found], at) => ({
    table,
    count: counting(table, found),
    setting: literal(`es_ops.late_${at}`)
  }))
  return {
    before: all.map(({ count, setting }) => `SELECT pg_catalog.set_config(${setting}, ${count}::text, true)`),
    after: all.map(({ count, setting, table }) => {
      const before = `pg_catalog.current_setting(${setting})`
      return `SELECT CASE WHEN ${count}::text <> ${before} THEN ${raised(said(table, `${count}::text`, before))} END`
    })
  }
}

const said = (table: string, kept: string, before: string): string => {
  const name = table.replaceAll(/^.*\.|"/g, "")
  const [start, middle, end] = [
    `${name} did not store the row as it was sent: of `,
    " that were there before its deferred triggers fired, ",
    ` stayed as they were. es-ops doctor names a trigger that takes rows of ${name} away; let it keep them, or disable it`
  ].map(literal)
  return `${start} || ${before} || ${middle} || ${kept} || ${end}`
}

const counting = (table: string, { columns, rows, same }: LateRows): string =>
  `(SELECT count(*) FROM ${table} s JOIN (SELECT DISTINCT *
    FROM pg_catalog.jsonb_to_recordset(${literal(JSON.stringify(rows))}::pg_catalog.jsonb) AS r (${columns})) AS k ON ${same})`
