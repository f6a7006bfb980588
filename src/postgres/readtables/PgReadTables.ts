/**
 * `ReadTables` on PostgreSQL: the tables that the search path finds; statements join the transaction of their fiber.
 */
import type { SqlError } from "@effect/sql/SqlError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { keyOf, keyText, ReadTables, UniqueTaken } from "../../event/ReadTables.js"
import type { Column, Key, StoredRow, Table } from "../../event/Table.js"
import { columnsNamed } from "../../event/Table.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as LateTriggers from "../client/LateTriggers.js"
import * as PatientStatement from "../client/PatientStatement.js"
import { databaseError, notStored, ruleInTheWay, sqlState } from "../client/PgError.js"
import type { FoundTables } from "../client/PgSql.js"
import { decodeRows, PgSql, tablesFound } from "../client/PgSql.js"
import { quote } from "../client/SqlText.js"
import * as UniqueViolation from "../client/UniqueViolation.js"
import type { Given } from "./ReadTableText.js"
import * as ReadTableText from "./ReadTableText.js"

const Columns = Schema.Record({ key: Schema.String, value: Schema.Unknown })

const Row = Schema.Struct({ row: Schema.parseJson(Columns) })

/** What an INSERT of many rows wrote; their keys, where some were not written. */
const Inserted = Schema.Struct({
  count: Schema.NumberFromString,
  watched: Schema.NullOr(Schema.String),
  keys: Schema.NullOr(Schema.parseJson(Schema.Array(Columns)))
})

/** What a statement wrote: how many rows, which of them, and what triggers of their table are to be looked behind. */
interface Written {
  readonly count: number
  readonly watched: ReadonlyArray<string>
  readonly keys: Either.Either<ReadonlyArray<StoredRow>, DatabaseError>
}

const Reason = Schema.Struct({ place: Schema.NumberFromString, reason: Schema.String })

const decodeRead = decodeRows("reading rows", Row)
const decodeInserted = decodeRows("writing rows", Inserted)
const decodeReasons = decodeRows("reading why rows are not there", Reason)

type Rows = NonEmptyReadonlyArray<StoredRow>

/** The tables that the search path finds. */
export const make: Effect.Effect<ReadTables["Type"], never, PgSql | OperationConfig> = Effect.gen(function* () {
  const sql = yield* PgSql
  const config = yield* OperationConfig
  const waits = new Map<string, ReturnType<typeof PatientStatement.make>>()

  /** A statement waits for its table no longer than `lockTimeout`. */
  const patient = (name: string) => {
    const known = waits.get(name) ?? PatientStatement.make(sql, config, "write", [name])
    waits.set(name, known)
    return known
  }

  /** Sends a text of this table, which is named as the claim found it where there was one. */
  const send = (table: Table, text: string, params: ReadonlyArray<unknown>) =>
    Effect.flatMap(tablesFound, (claimed) => {
      const name = quote(table.name)
      const { plain, tables } = Option.getOrElse(claimed, () => outside)
      const found = tables.get(name)
      if (found === undefined) return patient(name)(sql.unsafe(text, params))
      const qualified = ["FROM", "UPDATE", "INTO"].reduce(
        (all, word) => all.replaceAll(`${word} ${name} `, `${word} ${found} `),
        text
      )
      const statement = sql.unsafe(
        plain?.has(found) === true ? qualified.replace(ReadTableText.watched, ReadTableText.unwatched) : qualified,
        params
      )
      return patient(found)(statement)
    })

  /** Notes that what is written to this table stays as it is sent. */
  const isPlain = (table: Table) =>
    Effect.map(tablesFound, (claimed) => {
      const { plain, tables } = Option.getOrElse(claimed, () => outside)
      const found = tables.get(quote(table.name))
      if (found !== undefined) plain?.add(found)
      return []
    })

  const read = (table: Table, text: string, params: ReadonlyArray<unknown>) =>
    send(table, text, params).pipe(
      Effect.mapError(databaseError(`reading rows of ${table.name}`)),
      Effect.flatMap(decodeRead),
      Effect.map((found) => found.map(({ row }) => row))
    )

  /** Writes rows of the same columns in one statement; answers with those that it did not write. */
  const write = (of: "add" | "put" | "update", shape: Shape, rows: Rows) =>
    send(shape.table, textOf(of, shape), paramsOf(shape, rows)).pipe(
      Effect.mapError(writeError(shape)),
      Effect.flatMap(of === "update" || shape.isOne ? writtenEach : writtenTogether),
      Effect.flatMap(({ count, keys, watched }) => {
        if (count !== rows.length) return Effect.map(keys, (found) => without(shape.table, rows, found))
        if (watched.every((each) => each === "false")) return isPlain(shape.table)
        const missing = takenAway(shape.table, rows)
        return watched.includes("late") ? Effect.zipLeft(missing, noteLate(shape.table, rows)) : missing
      })
    )

  /** Notes rows that deferred triggers may still take away: at the end of the step they are looked for again. */
  const noteLate = (table: Table, rows: Rows) =>
    Effect.map(tablesFound, (claimed) => {
      const { late, tables } = Option.getOrElse(claimed, () => outside)
      const found = tables.get(quote(table.name))
      if (late === undefined || found === undefined) return
      const keys = rows.map((row) => keyOf(table, row))
      LateTriggers.note(late, found, ReadTableText.sameness(table), keys)
    })

  /** Those of the rows that are not there once the statement is through. */
  const takenAway = (table: Table, rows: Rows) => {
    const [shape, distinct] = ofKeys(
      table,
      Arr.map(rows, (row) => keyOf(table, row))
    )
    return Effect.map(read(table, textOf("find", shape), paramsOf(shape, distinct)), (found) =>
      without(table, rows, found)
    )
  }

  /** Why rows could not be added: a unique value that another has is a failure, a key is not. Of the rest nothing is known. */
  const explained = (shape: Shape, rows: Rows) =>
    Effect.gen(function* () {
      const found = yield* send(shape.table, textOf("reasons", shape), paramsOf(shape, rows)).pipe(
        Effect.mapError(databaseError(`reading rows of ${shape.table.name}`)),
        Effect.flatMap(decodeReasons)
      )
      const reasons = new Map(found.map(({ place, reason }) => [place, reason]))
      for (const [at, row] of rows.entries()) {
        const columns = ReadTableText.uniques(shape)[Number(reasons.get(at) || "none")]
        if (columns !== undefined) return yield* uniqueTaken(shape.table, columns, row)
      }
      const [rest, others] = Arr.partition(rows, (_, at) => reasons.get(at) === "key")
      return { others: others.map((row) => keyOf(shape.table, row)), rest }
    })

  /** Adds rows. Those that were in the way may be gone when they are looked for: then it is tried once more. */
  const add = (
    shape: Shape,
    rows: Rows,
    isLast = false
  ): Effect.Effect<ReadonlyArray<Key>, UniqueTaken | DatabaseError> =>
    Effect.gen(function* () {
      const missing = yield* write("add", shape, rows)
      if (!Arr.isNonEmptyReadonlyArray(missing)) return []
      const all = many(shape)
      const { others, rest } = yield* explained(all, missing)
      if (!Arr.isNonEmptyReadonlyArray(rest)) return others
      return isLast ? yield* swallowed(shape.table) : [...others, ...(yield* add(all, rest, true))]
    })

  const put = (shape: Shape, rows: Rows): Effect.Effect<void, UniqueTaken | DatabaseError> => {
    if (ReadTableText.isWhole(shape)) return Effect.flatMap(write("put", shape, rows), allWritten(shape.table))
    // A row that is not there has to be refused for the column that it lacks.
    return Effect.flatMap(write("update", shape, rows), (missing) =>
      Arr.isNonEmptyReadonlyArray(missing)
        ? Effect.flatMap(write("put", many(shape), missing), () => swallowed(shape.table))
        : Effect.void
    )
  }

  return ReadTables.of({
    load: (table, keys) => {
      const [shape, distinct] = ofKeys(table, keys)
      return read(table, textOf("load", shape), paramsOf(shape, distinct))
    },
    add: (table, rows) =>
      Effect.map(
        ofEachShape(table, rows, (shape, same) => Effect.zipRight(refuseTwice(shape, same), add(shape, same))),
        Arr.flatten
      ),
    put: (table, rows) => Effect.asVoid(ofEachShape(table, lastOfEach(table, rows), put)),
    remove: (table, keys) => {
      const [shape, distinct] = ofKeys(table, keys)
      const params = paramsOf(shape, distinct)
      return send(table, textOf("remove", shape), params).pipe(
        Effect.mapError(databaseError(`writing to ${table.name}`)),
        Effect.flatMap((gone) => (gone.length === distinct.length ? none : read(table, textOf("find", shape), params))),
        Effect.flatMap(allWritten(table))
      )
    },
    page: (table, after, limit) =>
      read(table, ReadTableText.page(table, after === undefined), [
        limit,
        ...(after === undefined ? [] : paramsOf(shapeOf(table, table.primaryKey, true), [after]))
      ])
  })
})

/** `ReadTables` on PostgreSQL. */
export const layer: Layer.Layer<ReadTables, never, PgSql | OperationConfig> = Layer.effect(ReadTables, make)

const none: Effect.Effect<ReadonlyArray<StoredRow>> = Effect.succeed([])

/** Outside a step the search path finds the tables. */
const outside: FoundTables = { tables: new Map() }

const { add, find, load, put, reasons, remove, update } = ReadTableText
const statements = { add, find, load, put, reasons, remove, update }

type Statement = keyof typeof statements

/** Rows of the same columns, with the texts for them. */
interface Shape extends Given {
  readonly texts: Map<Statement, string>
}

const shapes = new WeakMap<Table, Map<string, Shape>>()

/** The shape of rows that have these columns. */
const shapeOf = (table: Table, names: ReadonlyArray<string>, isOne: boolean): Shape => {
  const known = shapes.get(table) ?? new Map<string, Shape>()
  shapes.set(table, known)
  const name = `${isOne ? "one" : "many"} ${names.join(" ")}`
  const shape = known.get(name) ?? { table, isOne, columns: columnsNamed(table, names), texts: new Map() }
  known.set(name, shape)
  return shape
}

/** The same columns, whatever the number of rows. */
const many = ({ columns, table }: Shape): Shape =>
  shapeOf(
    table,
    columns.map(({ name }) => name),
    false
  )

const textOf = (of: Statement, shape: Shape): string => {
  const text = shape.texts.get(of) ?? statements[of](shape)
  shape.texts.set(of, text)
  return text
}

const paramsOf = ({ columns, isOne }: Given, rows: Rows): ReadonlyArray<unknown> =>
  isOne
    ? columns.map((column) => paramOf(column, rows[0][column.name]))
    : [JSON.stringify(rows.map((row, at) => ({ ...row, [ReadTableText.place]: at })))]

const paramOf = ({ type }: Column, value: unknown): unknown =>
  value === null || value === undefined ? null : type === "jsonb" ? JSON.stringify(value) : String(value)

/** Writes rows of the same columns together, in the order of the first of each. */
const ofEachShape = <A, E>(
  table: Table,
  rows: Rows,
  writeSame: (shape: Shape, rows: Rows) => Effect.Effect<A, E>
): Effect.Effect<ReadonlyArray<A>, E> =>
  Effect.forEach(Object.values(Arr.groupBy(rows, (row) => namesOf(row).join(" "))), (same) =>
    writeSame(shapeOf(table, namesOf(same[0]), same.length === 1), same)
  )

const namesOf = (row: StoredRow): ReadonlyArray<string> => Object.keys(row).filter((name) => row[name] !== undefined)

const ofKeys = (table: Table, keys: Rows): readonly [Shape, Rows] => {
  const distinct = lastOfEach(table, keys)
  return [shapeOf(table, table.primaryKey, distinct.length === 1), distinct]
}

const lastOfEach = (table: Table, [first, ...others]: Rows): Rows => {
  if (others.length === 0) return [first]
  const rows = [...new Map([first, ...others].map((row) => [keyText(table, row), row])).values()]
  return Arr.isNonEmptyReadonlyArray(rows) ? rows : [first]
}

/** Fails where two of the rows have the same unique value: no index may be there to tell. */
const refuseTwice = (shape: Shape, rows: Rows): Effect.Effect<void, UniqueTaken> => {
  if (rows.length === 1) return Effect.void
  for (const columns of ReadTableText.uniques(shape)) {
    const seen = new Set<string>()
    for (const row of rows) {
      const values = columns.map(({ name }) => row[name])
      if (values.includes(null)) continue
      const text = JSON.stringify(values)
      if (seen.has(text)) return uniqueTaken(shape.table, columns, row)
      seen.add(text)
    }
  }
  return Effect.void
}

const uniqueTaken = (table: Table, columns: ReadonlyArray<Column>, row: StoredRow): UniqueTaken =>
  new UniqueTaken({
    table: table.name,
    columns: columns.map(({ name }) => name),
    values: columns.map(({ name }) => String(row[name]))
  })

/** A trigger, a rule or a row policy keeps rows from being written without an error of the server's. */
const swallowed = (table: Table): DatabaseError => notStored("writing rows", table.name)

const allWritten =
  (table: Table) =>
  (missing: ReadonlyArray<StoredRow>): Effect.Effect<void, DatabaseError> =>
    missing.length === 0 ? Effect.void : swallowed(table)

/** The rows whose keys are not among those that were found. */
const without = (table: Table, rows: Rows, found: ReadonlyArray<StoredRow>): ReadonlyArray<StoredRow> => {
  const keys = new Set(found.map((row) => keyText(table, row)))
  return rows.filter((row) => !keys.has(keyText(table, row)))
}

/** The answer of a statement that answers with each row. */
const writtenEach = (rows: ReadonlyArray<unknown>): Effect.Effect<Written> =>
  Effect.succeed({
    count: rows.length,
    watched: rows.map((row) => (Predicate.hasProperty(row, "watched") ? String(row.watched) : "false")),
    keys: Either.map(decodeRead(rows), (found) => found.map(({ row }) => row))
  })

/** The answer of a statement that answers with one row for all of them. */
const writtenTogether = (rows: ReadonlyArray<unknown>): Either.Either<Written, DatabaseError> =>
  Either.map(decodeInserted(rows), ([inserted]) => ({
    count: inserted?.count ?? 0,
    watched: inserted?.watched?.split(" ") ?? [],
    keys: Either.right(inserted?.keys ?? [])
  }))

/** A unique index of the table refuses a row: another commits it meanwhile, or it is not on what the statement asks for. */
const writeError =
  ({ table }: Given) =>
  (error: SqlError): UniqueTaken | DatabaseError => {
    const violation = Option.filter(UniqueViolation.of(error), ({ isNested }) => !isNested)
    if (Option.isSome(violation)) {
      const { columns, constraint, key } = violation.value
      const names = columns === "" ? [] : [...key.keys()]
      const values = [...key.values()]
      const isDeclared = (table.unique ?? []).some((unique) => unique.join() === names.join())
      return new UniqueTaken({
        table: table.name,
        columns: names,
        values: values.includes("") ? [] : values,
        constraint: isDeclared ? undefined : constraint
      })
    }
    return Option.contains(sqlState(error), ruleInTheWay)
      ? notStored("writing rows", table.name, error)
      : databaseError(`writing to ${table.name}`)(error)
  }
