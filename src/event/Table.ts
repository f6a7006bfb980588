/**
 * A table that a feature owns, and the types of its rows.
 */
import type * as Schema from "effect/Schema"

/** A column of a table that a feature owns. */
export interface Column {
  readonly name: string
  readonly type: "uuid" | "text" | "integer" | "bigint" | "boolean" | "jsonb" | "timestamptz"
  /** Default: no. */
  readonly nullable?: boolean | undefined
  /** Default: none. `now` is the start of the transaction. */
  readonly default?: "now" | undefined
}

/** A table that a feature owns: created under the operations lock, by the first apply that has something to do, if it is missing. */
export interface Table {
  readonly name: string
  readonly columns: ReadonlyArray<Column>
  /** Names of columns. */
  readonly primaryKey: ReadonlyArray<string>
  /** Names of columns for each unique constraint. Default: none. */
  readonly unique?: ReadonlyArray<ReadonlyArray<string>> | undefined
  /** Names of columns for each index. Default: none. */
  readonly indexes?: ReadonlyArray<ReadonlyArray<string>> | undefined
}

/** A row as it is stored, by the names of its columns; every value is one that JSON has, a `bigint` and a time are texts. */
export type StoredRow = Readonly<Record<string, unknown>>

/** The values of a row's primary key, by the names of its columns. */
export type Key = Readonly<Record<string, string | number | boolean>>

/** A table whose rows have a Schema: `A` is a row as the application sees it, `I` as it is stored, `K` are the columns of its primary key. */
export interface RowTable<in out A, in out I, out K extends string> extends Table {
  readonly row: Schema.Schema<A, I>
  readonly primaryKey: readonly [K, ...ReadonlyArray<K>]
}

/** The columns of the primary key, in its order. */
export const keyColumns = (table: Table): ReadonlyArray<Column> => {
  const known = columnsOfKeys.get(table)
  if (known !== undefined) return known
  const columns = columnsNamed(table, table.primaryKey)
  columnsOfKeys.set(table, columns)
  return columns
}

/** The columns of these names. A name that no column has is taken for one of text. */
export const columnsNamed = ({ columns }: Table, names: ReadonlyArray<string>): ReadonlyArray<Column> =>
  names.map((name) => columns.find((column) => column.name === name) ?? { name, type: "text" })

const columnsOfKeys = new WeakMap<Table, ReadonlyArray<Column>>()

interface Stored {
  readonly uuid: string
  readonly text: string
  readonly integer: number
  readonly bigint: string
  readonly boolean: boolean
  readonly jsonb: unknown
  readonly timestamptz: string
}

type ValueOf<C extends Column> = C extends { readonly nullable: true } ? Stored[C["type"]] | null : Stored[C["type"]]

type Required<C extends Column> = C extends { readonly default: "now" } ? never : C["name"]

/** The names of the columns that a Schema of rows lacks, or has and the table does not. */
type Unmatched<C extends Column, I> = Exclude<Required<C>, keyof I> | Exclude<keyof I, C["name"]>

/** The names of the columns whose values the Schema of rows gives or takes otherwise than they are stored. */
type Mistyped<C extends Column, I> = {
  [Name in keyof I & C["name"]]: I[Name] extends ValueOf<Extract<C, { readonly name: Name }>> | undefined ? never : Name
}[keyof I & C["name"]]

type Fits<C extends Column, I> = [Unmatched<C, I>] extends [never]
  ? [Mistyped<C, I>] extends [never]
    ? unknown
    : { readonly row: { readonly "columns of another type": Mistyped<C, I> } }
  : { readonly row: { readonly "columns that do not match": Unmatched<C, I> } }

/**
 * Makes a table whose rows have a Schema, for a projection to fold events into. The encoded row has the table's columns: texts for `uuid`,
 * `text`, `bigint` and `timestamptz` (ISO 8601, UTC), a number for `integer`, `null` where a column is nullable; a column with a default may be
 * left out.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Feature } from "effect-es-ops"
 *
 * export const orders = Feature.table({
 *   name: "read_orders",
 *   columns: [
 *     { name: "id", type: "uuid" },
 *     { name: "sku", type: "text" },
 *     { name: "shipped_at", type: "timestamptz", nullable: true }
 *   ],
 *   primaryKey: ["id"],
 *   row: Schema.Struct({ id: Schema.String, sku: Schema.String, shipped_at: Schema.NullOr(Schema.DateTimeUtc) })
 * })
 * ```
 */
export const table = <const C extends Column, A, I, const K extends C["name"]>(
  options: {
    readonly name: string
    readonly columns: ReadonlyArray<C>
    readonly primaryKey: readonly [K, ...ReadonlyArray<K>]
    readonly unique?: ReadonlyArray<ReadonlyArray<C["name"]>> | undefined
    readonly indexes?: ReadonlyArray<ReadonlyArray<C["name"]>> | undefined
    readonly row: Schema.Schema<A, I>
  } & Fits<C, I>
): RowTable<A, I, K> => options
