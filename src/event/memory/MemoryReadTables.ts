/**
 * The features' tables in memory: rows in a `MemoryDatabase`, under the rules of the port.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { keyOf, keyText, ReadTables, UniqueTaken } from "../ReadTables.js"
import * as StoredValue from "../StoredValue.js"
import type { Column, Key, StoredRow, Table } from "../Table.js"
import { keyColumns } from "../Table.js"

/** The rows of a table by their keys, each with its place in the order of insertion, and whose each unique value is. */
interface Rows {
  readonly byKey: HashMap.HashMap<string, { readonly place: number; readonly row: StoredRow }>
  readonly owners: HashMap.HashMap<string, string>
  readonly places: number
}

const noRows: Rows = { byKey: HashMap.empty(), owners: HashMap.empty(), places: 0 }

/** Tables as they stand in a `MemoryDatabase`, by their names. */
export class MemoryTables extends Context.Tag("effect-es-ops/MemoryTables")<MemoryTables, ReadonlyMap<string, Rows>>() {
  static readonly empty: MemoryTables["Type"] = new Map()
}

/** The tables of a database, and the rows of one in the order of their insertion. */
export const viewOf = (database: MemoryDatabase.MemoryDatabase["Type"]) => {
  const view = MemoryDatabase.view(database, MemoryTables, MemoryTables.empty)
  return {
    ...view,
    rows: (table: Table): Effect.Effect<ReadonlyArray<StoredRow>> =>
      Effect.map(view.get, (tables) =>
        [...HashMap.values(rowsOf(tables, table).byKey)]
          .toSorted((a, b) => a.place - b.place)
          .map(({ row }) => whole(table, row))
      )
  }
}

/** The tables of a `MemoryDatabase`. */
export const layer: Layer.Layer<ReadTables, never, MemoryDatabase.MemoryDatabase> = Layer.effect(
  ReadTables,
  Effect.map(MemoryDatabase.MemoryDatabase, (database) => {
    const view = viewOf(database)
    const found = (table: Table, key: Key) =>
      Effect.map(view.get, (tables) => HashMap.get(rowsOf(tables, table).byKey, keyText(table, key)))

    /** All rows or none. */
    const put = (table: Table, given: ReadonlyArray<StoredRow>) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        let rows = rowsOf(yield* view.get, table)
        for (const [n, row] of given.entries()) rows = yield* stored(table, rows, row, timeOf(now, n))
        yield* view.update((tables) => new Map(tables).set(table.name, rows))
      })

    return ReadTables.of({
      load: (table, keys) =>
        Effect.map(
          Effect.forEach([...new Map(keys.map((key) => [keyText(table, key), key])).values()], (key) =>
            found(table, key)
          ),
          (all) => all.flatMap(Option.match({ onNone: () => [], onSome: ({ row }) => [copied(whole(table, row))] }))
        ),
      add: Effect.fn("ReadTables.add")(function* (table, given) {
        const taken: Array<Key> = []
        const free: Array<StoredRow> = []
        const keys = new Set<string>()
        for (const row of given) {
          const key = keyText(table, row)
          const isFree = !keys.has(key) && Option.isNone(yield* found(table, keyOf(table, row)))
          if (isFree) free.push(row)
          else taken.push(keyOf(table, row))
          keys.add(key)
        }
        yield* put(table, free)
        return taken
      }),
      put,
      remove: (table, keys) =>
        view.update((tables) => {
          const rows = keys.reduce((rest, key) => without(table, rest, keyText(table, key)), rowsOf(tables, table))
          return new Map(tables).set(table.name, rows)
        }),
      page: (table, after, limit) =>
        Effect.map(view.rows(table), (rows) =>
          rows
            .toSorted((a, b) => compareKeys(table, a, b))
            .filter((row) => after === undefined || compareKeys(table, row, after) > 0)
            .slice(0, limit)
            .map(copied)
        )
    })
  })
)

const rowsOf = (tables: MemoryTables["Type"], { name }: Table): Rows => tables.get(name) ?? noRows

/** A row that was stored before its table had a column has none there: null, as in a database. */
const whole = ({ columns }: Table, row: StoredRow): StoredRow =>
  columns.every(({ name, nullable }) => nullable !== true || name in row)
    ? row
    : {
        ...Object.fromEntries(columns.flatMap(({ name, nullable }) => (nullable === true ? [[name, null]] : []))),
        ...row
      }

/** What is stored is nobody's to change. */
const copied = (row: StoredRow): StoredRow => structuredClone(row)

const timeOf = (now: number, n: number): string =>
  `${new Date(now).toISOString().slice(0, -1)}${`${n % 1000}`.padStart(3, "0")}Z`

const compareKeys = (table: Table, one: StoredRow, other: StoredRow): number => {
  const [a, b] = [keyOf(table, one), keyOf(table, other)]
  return (
    keyColumns(table)
      .map((column) => StoredValue.compare(column, a[column.name], b[column.name]))
      .find((order) => order !== 0) ?? 0
  )
}

/** The rows with this one in place of that with its key, which keeps the columns that are left out. */
const stored = (
  table: Table,
  rows: Rows,
  given: StoredRow,
  now: string
): Effect.Effect<Rows, UniqueTaken | DatabaseError> =>
  Effect.gen(function* () {
    const key = keyText(table, given)
    const before = Option.getOrUndefined(HashMap.get(rows.byKey, key))
    const row = yield* complete(table, given, before?.row, now)
    const rest = without(table, rows, key)
    const values = uniqueValues(table, row)
    for (const { columns, text } of values) {
      if (HashMap.has(rest.owners, text)) {
        return yield* new UniqueTaken({
          table: table.name,
          columns,
          values: columns.map((name) => String(row[name]))
        })
      }
    }
    const place = before?.place ?? rows.places
    return {
      byKey: HashMap.set(rest.byKey, key, { place, row }),
      owners: values.reduce((owners, { text }) => HashMap.set(owners, text, key), rest.owners),
      places: Math.max(rows.places, place + 1)
    }
  })

const without = (table: Table, rows: Rows, key: string): Rows =>
  Option.match(HashMap.get(rows.byKey, key), {
    onNone: () => rows,
    onSome: ({ row }) => ({
      byKey: HashMap.remove(rows.byKey, key),
      owners: uniqueValues(table, row).reduce((owners, { text }) => HashMap.remove(owners, text), rows.owners),
      places: rows.places
    })
  })

/** The unique values of a row. One with a null in it is nobody's. */
const uniqueValues = (table: Table, row: StoredRow) =>
  (table.unique ?? []).flatMap((columns) => {
    const values = columns.map((name) => row[name])
    return values.includes(null) ? [] : [{ columns, text: JSON.stringify([columns, values]) }]
  })

/** Every column with its value: the given one, that of before, its default, null. */
const complete = (
  table: Table,
  given: StoredRow,
  before: StoredRow | undefined,
  now: string
): Either.Either<StoredRow, DatabaseError> => {
  const unknown = Object.keys(given).find((name) => !table.columns.some((column) => column.name === name))
  if (unknown !== undefined) return Either.left(refused(table, `it has no column "${unknown}"`))
  const row: Record<string, unknown> = {}
  for (const column of table.columns) {
    const { name, nullable } = column
    const value = given[name] ?? (given[name] === undefined ? (before?.[name] ?? defaultOf(column, now)) : null)
    if (value === undefined && before === undefined && nullable !== true)
      return Either.left(refused(table, `column "${name}" is not given`))
    const kept = StoredValue.of(column, value ?? null)
    if (Either.isLeft(kept)) return Either.left(refused(table, kept.left))
    row[name] = kept.right
  }
  return Either.right(row)
}

const defaultOf = (column: Column, now: string): string | undefined => (column.default === "now" ? now : undefined)

const refused = (table: Table, reason: string): DatabaseError =>
  DatabaseError.because(`writing to ${table.name}`, reason)
