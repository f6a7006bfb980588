/**
 * What a database lacks of the tables: the statements that would mend it. What only a person can decide is a comment.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../../operation/OperationError.js"
import { rows } from "../client/PgSql.js"
import { literal, quote } from "../client/SqlText.js"
import type { Column, Index, PgTable } from "./PgTable.js"
import type { Found, FoundColumn } from "./TableShape.js"
import * as TableShape from "./TableShape.js"

const IndexRow = Schema.Struct({
  table_name: Schema.String,
  name: Schema.String,
  /** The columns in their order; expressions as they are printed. */
  columns: Schema.parseJson(Schema.Array(Schema.String)),
  is: Schema.parseJson(
    Schema.Struct({ unique: Schema.Boolean, primary: Schema.Boolean, valid: Schema.Boolean, partial: Schema.Boolean })
  )
})

type FoundIndex = typeof IndexRow.Type

/** The tables as they are: their columns and their indexes. */
interface Database {
  readonly columns: Found
  readonly indexes: ReadonlyArray<FoundIndex>
}

const look = (sql: SqlClient.SqlClient, tables: ReadonlyArray<PgTable>): Effect.Effect<Database, DatabaseError> => {
  const names = literal(JSON.stringify(tables.map(({ name }) => name)))
  const indexes = `SELECT t.name AS table_name, i.indexrelid::regclass::text AS name,
      (SELECT json_agg(pg_get_indexdef(i.indexrelid, k, true) ORDER BY k) FROM generate_series(1, i.indnkeyatts::int) AS k)::text AS columns,
      json_build_object('unique', i.indisunique, 'primary', i.indisprimary, 'valid', i.indisvalid,
        'partial', i.indpred IS NOT NULL)::text AS is
    FROM jsonb_array_elements_text(${names}::jsonb) AS t (name) JOIN pg_index i ON i.indrelid = to_regclass(t.name)
    ORDER BY t.name, i.indexrelid`
  return Effect.all({
    columns: Effect.map(
      sql.unsafe(TableShape.columnsQuery(names)).pipe(rows("looking at the tables", TableShape.ColumnRow)),
      TableShape.byTable
    ),
    indexes: sql.unsafe(indexes).pipe(rows("looking at the indexes", IndexRow))
  })
}

/** The statements that the database lacks, in the order in which to run them; none where it is complete. */
export const statements = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<PgTable>
): Effect.Effect<ReadonlyArray<string>, DatabaseError> =>
  Effect.map(look(sql, tables), (database) =>
    tables.flatMap((table) => {
      const found = database.columns.get(table.name)
      return found === undefined ? table.statements : [...columnsOf(table, found), ...indexesOf(table, database)]
    })
  )

/** An index that a table lacks, or that is INVALID, with the statement that makes it. */
export interface MissingIndex {
  readonly table: string
  readonly columns: ReadonlyArray<string>
  readonly isUnique: boolean
  readonly statement: string
}

/** The indexes that tables which are there lack. */
export const missingIndexes = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<PgTable>
): Effect.Effect<ReadonlyArray<MissingIndex>, DatabaseError> =>
  Effect.map(look(sql, tables), (database) =>
    tables.flatMap((table) =>
      lacking(table, database).map(({ columns, isUnique, statement }) => ({
        table: table.name,
        columns,
        isUnique,
        statement
      }))
    )
  )

const columnsOf = (table: PgTable, found: ReadonlyArray<FoundColumn>): ReadonlyArray<string> => {
  const byName = new Map(found.map((column) => [column.name, column]))
  const known = new Set(table.columns.map(({ name }) => name))
  const others = found.filter(({ name }) => table.closed && !known.has(name))
  return [
    ...table.columns.flatMap((column) => {
      const there = byName.get(column.name)
      return there === undefined ? added(table, column) : altered(table, column, there)
    }),
    ...others
      .filter((column) => TableShape.isDemanded(column))
      .map(({ name }) => {
        const drop = `ALTER TABLE ${table.name} ALTER COLUMN ${quote(name)} DROP NOT NULL`
        return `-- ${table.name}: column "${name}" must be given a value, which we do not have. If nothing else fills it:\n-- ${drop}`
      })
  ]
}

/** The type of a column as a statement names it, where its definition has more. */
const typeOf = ({ ddl }: Column): string =>
  ddl.replace(/bigserial/, "bigint").replace(/ (?:PRIMARY KEY|NOT NULL|DEFAULT|GENERATED).*$/s, "")

const added = ({ name: table }: PgTable, column: Column): ReadonlyArray<string> => {
  const name = quote(column.name)
  const add = `ALTER TABLE ${table} ADD COLUMN ${name}`
  if (column.isNullable || !column.isFilled) return [`${add} ${column.ddl.replace(" PRIMARY KEY", "")}`]
  const fill = `-- Rows that are there need a value of ${column.name} first: UPDATE ${table} SET ${name} = …`
  return [`${add} ${typeOf(column)}`, `${fill}\nALTER TABLE ${table} ALTER COLUMN ${name} SET NOT NULL`]
}

const altered = (table: PgTable, column: Column, found: FoundColumn): ReadonlyArray<string> => {
  const name = quote(column.name)
  const alter = `ALTER TABLE ${table.name} ALTER COLUMN ${name}`
  const type = typeOf(column)
  const isLoose = column.isExact && found.loose === "t"
  const fits = TableShape.holds(column, found) && !isLoose
  const changes = fits
    ? []
    : [`${alter} TYPE ${type}${column.isExact ? ' COLLATE "default"' : ""} USING ${name}::${type}`]
  if (!TableShape.isTable(found)) return changes
  if (column.isFilled && found.generated === "t")
    changes.push(`-- ${table.name}: column ${name} is generated, and takes no value of ours`)
  if (!column.isFilled && found.defaulted === "f") changes.push(...defaulted(table, column))
  const isOptional = column.isNullable && column.name !== "notes"
  if (isOptional && found.required === "t") changes.push(`${alter} DROP NOT NULL`)
  if (table.isOwned && !column.isNullable && found.required === "f") changes.push(`${alter} SET NOT NULL`)
  return changes
}

const defaulted = ({ name: table }: PgTable, { name, type }: Column): ReadonlyArray<string> => {
  const alter = `ALTER TABLE ${table} ALTER COLUMN ${quote(name)}`
  if (type === "timestamptz") return [`${alter} SET DEFAULT now()`]
  const sequence = `pg_get_serial_sequence(${literal(table)}, ${literal(name)})`
  return [
    `${alter} SET NOT NULL`,
    `${alter} ADD GENERATED BY DEFAULT AS IDENTITY`,
    `SELECT setval(${sequence}, coalesce(max(${quote(name)}), 0) + 1, false) FROM ${table}`
  ]
}

const indexesOf = (table: PgTable, database: Database): ReadonlyArray<string> =>
  lacking(table, database).map(({ statement }) => statement)

/** The indexes that a table which is there lacks, each with its statement. One that is there and INVALID is made anew. */
const lacking = (table: PgTable, { columns, indexes }: Database): ReadonlyArray<Index> => {
  const [first] = columns.get(table.name) ?? []
  if (first === undefined || !TableShape.isTable(first)) return []
  const own = indexes.filter(({ table_name }) => table_name === table.name)
  const hasPrimary = own.some(({ is }) => is.primary)
  return table.indexes.flatMap((index) => {
    const same = own.filter((found) => serves(index, found))
    if (same.some(({ is }) => is.valid)) return []
    const [invalid] = same
    if (invalid !== undefined) return [{ ...index, statement: `REINDEX INDEX ${invalid.name}` }]
    const statement = hasPrimary ? index.statement.replace("ADD PRIMARY KEY", "ADD UNIQUE") : index.statement
    return [{ ...index, statement }]
  })
}

/** Whether an index does what another is for: rows are kept apart by its columns or by fewer of them, or it begins with them. */
const serves = (index: Index, { columns, is }: FoundIndex): boolean => {
  const names = columns.map((column) => column.replace(/^"(.*)"$/s, "$1").replaceAll('""', '"'))
  const hasKey = names.some((name) => name.includes("idempotencyKey"))
  if (index.columns.includes("idempotencyKey")) return is.unique && hasKey
  if (is.partial || hasKey) return false
  return index.isUnique
    ? is.unique && names.every((name) => index.columns.includes(name))
    : index.columns.every((column, at) => names[at] === column)
}
