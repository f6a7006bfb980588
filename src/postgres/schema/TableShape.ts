/**
 * The shape of a table that exists, as the catalog has it, and what keeps it from being used. Pure.
 */
import * as Schema from "effect/Schema"
import type { Column, Index, PgTable } from "./PgTable.js"

const Flag = Schema.Literal("t", "f")

/** A column of a table. Domains are seen through to their base. */
export const ColumnRow = Schema.Struct({
  table_name: Schema.String,
  /** pg_class.relkind */
  kind: Schema.String,
  /** The columns of each unique index that is on all rows and on columns alone. */
  unique: Schema.parseJson(Schema.Array(Schema.Array(Schema.String))),
  name: Schema.String,
  type: Schema.String,
  /** pg_type.typname of its base. */
  base: Schema.String,
  /** pg_type.typcategory of its base (PostgreSQL manual, table 53.65). */
  category: Schema.String,
  /** The modifier of its type: the limit of a length, the precision of a number; -1 is none. */
  modifier: Schema.NumberFromString,
  /** Whether it takes no null. */
  required: Flag,
  /** Whether it gets a value where an INSERT does not name it. */
  defaulted: Flag,
  /** Whether an INSERT may not name it. */
  generated: Flag,
  /** Whether its collation takes different texts for the same. */
  loose: Flag
})

export type FoundColumn = typeof ColumnRow.Type

/** The columns of those tables of `names`, a JSON array, that the search path finds. */
export const columnsQuery = (names: string): string =>
  `SELECT t.name AS table_name, c.relkind::text AS kind, u.list AS unique, a.attname AS name,
      format_type(a.atttypid, a.atttypmod) AS type, b.typname AS base, b.typcategory::text AS category,
      (CASE WHEN a.atttypmod = -1 THEN coalesce(d.modifier, -1) ELSE a.atttypmod END)::text AS modifier,
      CASE WHEN a.attnotnull OR d.required THEN 't' ELSE 'f' END AS required,
      CASE WHEN a.atthasdef OR a.attidentity <> '' OR d.defaulted THEN 't' ELSE 'f' END AS defaulted,
      CASE WHEN a.attgenerated <> '' OR a.attidentity = 'a' THEN 't' ELSE 'f' END AS generated,
      CASE WHEN o.collisdeterministic THEN 'f' WHEN o.oid IS NULL THEN 'f' ELSE 't' END AS loose
    FROM (SELECT n.name, to_regclass(n.name) AS oid FROM jsonb_array_elements_text(${names}::jsonb) AS n (name)) AS t
      JOIN pg_class c ON c.oid = t.oid
      CROSS JOIN LATERAL (SELECT coalesce(json_agg(ARRAY(SELECT k.attname::text FROM pg_attribute k
          WHERE k.attrelid = i.indrelid AND k.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))), '[]')::text AS list
        FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisready AND i.indpred IS NULL
          AND i.indexprs IS NULL) AS u
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN LATERAL (WITH RECURSIVE s AS (
          SELECT y.oid, y.typbasetype, y.typtypmod, y.typnotnull, y.typdefault, y.typtype FROM pg_type y WHERE y.oid = a.atttypid
          UNION ALL SELECT y.oid, y.typbasetype, y.typtypmod, y.typnotnull, y.typdefault, y.typtype
            FROM s JOIN pg_type y ON y.oid = s.typbasetype)
        SELECT max(s.oid::bigint) FILTER (WHERE s.typbasetype = 0)::oid AS oid, max(s.typtypmod) AS modifier,
          bool_or(s.typnotnull AND s.typtype = 'd') AS required, bool_or(s.typdefault IS NOT NULL) AS defaulted
        FROM s) AS d ON true
      JOIN pg_type b ON b.oid = d.oid
      LEFT JOIN pg_collation o ON o.oid = a.attcollation
    ORDER BY t.name, a.attnum`

/** The columns of each table that was found, by its name. */
export type Found = ReadonlyMap<string, ReadonlyArray<FoundColumn>>

/** The rows of a query, by the names of their tables. */
export const byTable = (rows: ReadonlyArray<FoundColumn>): Found => {
  const found = new Map<string, Array<FoundColumn>>()
  for (const row of rows) {
    const columns = found.get(row.table_name)
    if (columns === undefined) found.set(row.table_name, [row])
    else columns.push(row)
  }
  return found
}

/** Why a table that exists cannot be used as it is, and what to do about it. */
export interface Misfit {
  readonly table: string
  readonly reason: string
  readonly remedy: string | undefined
}

/** Those of the tables that have columns among the found and cannot be used as they are. */
export const misfits = (tables: ReadonlyArray<PgTable>, rows: ReadonlyArray<FoundColumn>): ReadonlyArray<Misfit> => {
  const found = byTable(rows)
  return tables.flatMap((table) => {
    const columns = found.get(table.name)
    const reasons = columns === undefined ? [] : misfitsOf(table, columns)
    return reasons.length === 0
      ? []
      : [{ table: table.name, reason: reasons.join("; "), remedy: table.isOwned ? ownedRemedy : undefined }]
  })
}

const ownedRemedy =
  "If it is kept by another application's handlers, let seeds write through the application's own dispatcher (the setting `dispatcher`): the finders read the table as it is. Otherwise es-ops schema --diff prints what changes it"

/** What keeps a table that exists from being used, one phrase for each column; none if it fits. */
const misfitsOf = (table: PgTable, found: ReadonlyArray<FoundColumn>): ReadonlyArray<string> => {
  const byName = new Map(found.map((column) => [column.name, column]))
  const needed = table.columns.flatMap((column) => {
    const there = byName.get(column.name)
    if (there !== undefined) return unfit(table, column, there)
    // One that takes null is added.
    return table.isOwned && column.isNullable ? [] : [`column "${column.name}" (${column.type}) is missing`]
  })
  const known = new Set(table.columns.map(({ name }) => name))
  const others = found.filter(({ name }) => table.closed && !known.has(name))
  const demanded = others.filter(isDemanded)
  const unique = table.indexes.filter((index) => index.isNeeded && !hasUnique(index, found))
  return [
    ...needed,
    ...demanded.map(({ name }) => `column "${name}" must be given a value, which we do not have`),
    ...others.filter(({ name }) => table.isOwned && name === "version").map(() => otherVersion),
    ...unique.map(({ columns }) => `there is no unique index on ${columns.join(", ")}`)
  ]
}

const otherVersion = `column "version" is of other handlers, which keep the version of the row's stream in it: ours leave it behind`

/** Whether rows are kept apart by these columns, or by fewer of them. A view, or a table elsewhere, has its indexes where we do not see them. */
export const hasUnique = (index: Index, [first]: ReadonlyArray<FoundColumn>): boolean =>
  first === undefined ||
  !isTable(first) ||
  first.unique.some((columns) => columns.every((column) => index.columns.includes(column)))

/** Whether an INSERT that does not name it fails. */
export const isDemanded = ({ defaulted, generated, required }: FoundColumn): boolean =>
  required === "t" && defaulted === "f" && generated === "f"

/** An ordinary or a partitioned one. */
export const isTable = ({ kind }: FoundColumn): boolean => kind === "r" || kind === "p"

const unfit = (table: PgTable, column: Column, found: FoundColumn): ReadonlyArray<string> => {
  const { name, type } = column
  if (table.isOwned ? !isOfKind(column, found) : !holds(column, found))
    return [`column "${name}" is ${found.type}, not ${type}`]
  if (column.isExact && found.loose === "t")
    return [`column "${name}" has a collation that takes different texts for the same`]
  if (column.isFilled && found.generated === "t") return [`column "${name}" is generated, and takes no value of ours`]
  if (table.isOwned || !isTable(found)) return []
  if (!column.isFilled && found.defaulted === "f") return [`column "${name}" has no default, and is given no value`]
  return column.isFilled && column.isNullable && found.required === "t" && name !== "notes"
    ? [`column "${name}" takes no null, which stands for what is not known`]
    : []
}

/** Kinds by pg_type.typcategory: S text, N numbers, D dates and times, B boolean; or by the type's name where that says too little. */
const kinds: { readonly [type in Column["type"]]: string } = {
  uuid: "uuid",
  text: "S",
  integer: "N",
  bigint: "N",
  boolean: "B",
  jsonb: "jsonb",
  timestamptz: "D"
}

const isOfKind = ({ type }: Column, { base, category }: FoundColumn): boolean =>
  kinds[type] === base || kinds[type] === category

/** Whether the type of a column that exists holds every value that is written to it. */
export const holds = ({ isExact, length, type }: Column, found: FoundColumn): boolean => {
  const { base, modifier } = found
  switch (type) {
    case "text":
      // Four bytes of the modifier are its own length; a text of blanks up to its length is another text.
      if (base === "varchar") return modifier === -1 || modifier - 4 >= length
      return base === "text" || (base === "citext" && !isExact)
    case "integer":
      return base === "int4" || base === "float8" || holdsDigits(10, found)
    case "bigint":
      return holdsDigits(19, found)
    case "boolean":
      return base === "bool"
    default:
      return base === type
  }
}

const holdsDigits = (digits: number, { base, modifier }: FoundColumn): boolean => {
  if (base !== "numeric" || modifier === -1) return base === "int8" || base === "numeric"
  const [precision, scale] = [((modifier - 4) >> 16) & 0xffff, (modifier - 4) & 0x7ff]
  return precision - scale >= digits
}
