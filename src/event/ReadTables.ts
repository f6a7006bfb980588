/**
 * The rows of the features' tables: read and locked by their primary keys, added, changed and removed, in the transaction of the fiber.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../operation/OperationError.js"
import * as StoredValue from "./StoredValue.js"
import type { Column, Key, StoredRow, Table } from "./Table.js"
import { keyColumns } from "./Table.js"

/** A value that is unique in a table is another row's already. */
export class UniqueTaken extends Schema.TaggedError<UniqueTaken>()("UniqueTaken", {
  table: Schema.String,
  columns: Schema.Array(Schema.String),
  /** The values, where they are known. */
  values: Schema.Array(Schema.String),
  /** The index that refused the row, where the table is not declared to have it. */
  constraint: Schema.optional(Schema.String)
}) {
  override get message(): string {
    const values = this.values.length === 0 ? "" : ` ${this.values.map((value) => JSON.stringify(value)).join(", ")}`
    const what = this.columns.length === 0 ? "value" : this.columns.join(", ")
    const index = this.constraint === undefined ? "" : ` (unique index ${this.constraint})`
    return `the ${what}${values} of ${this.table} is taken${index}`
  }
}

/** The port of the features' tables. Rows and keys are as they are stored; a column that a row leaves out keeps its value or its default. */
export class ReadTables extends Context.Tag("effect-es-ops/ReadTables")<
  ReadTables,
  {
    /** The rows that have these keys, locked until the transaction ends, in any order. Keys are locked in the order of their values. */
    readonly load: (
      table: Table,
      keys: NonEmptyReadonlyArray<Key>
    ) => Effect.Effect<ReadonlyArray<StoredRow>, DatabaseError>
    /** Adds rows whose keys are free. Answers with the keys that others had already: their rows are as they were. */
    readonly add: (
      table: Table,
      rows: NonEmptyReadonlyArray<StoredRow>
    ) => Effect.Effect<ReadonlyArray<Key>, UniqueTaken | DatabaseError>
    /** Writes rows, in place of those with the same keys. Of two with one key the last stays. */
    readonly put: (
      table: Table,
      rows: NonEmptyReadonlyArray<StoredRow>
    ) => Effect.Effect<void, UniqueTaken | DatabaseError>
    /** Removes the rows that have these keys. */
    readonly remove: (table: Table, keys: NonEmptyReadonlyArray<Key>) => Effect.Effect<void, DatabaseError>
    /** The rows of a page by their keys, behind `after`; not locked. */
    readonly page: (
      table: Table,
      after: Key | undefined,
      limit: number
    ) => Effect.Effect<ReadonlyArray<StoredRow>, DatabaseError>
  }
>() {}

/** The key of a row. */
export const keyOf = (table: Table, row: StoredRow): Key =>
  Object.fromEntries(
    keyColumns(table).map((column): readonly [string, Key[string]] => [column.name, keyValue(column, row[column.name])])
  )

/** A key, or the key of a row, as one text: the same for the same values. */
export const keyText = (table: Table, key: StoredRow): string =>
  JSON.stringify(keyColumns(table).map((column) => keyValue(column, key[column.name])))

const keyValue = (column: Column, value: unknown): Key[string] => {
  const stored = Either.getOrElse(StoredValue.of(column, value), () => String(value))
  return typeof stored === "number" || typeof stored === "boolean" ? stored : String(stored)
}
