/**
 * The tables: what is there by the catalog, and the DDL for what is missing. Nothing is said about a table that exists.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Table } from "../../event/Feature.js"
import type { AskedProjection } from "../../event/ProjectionRecords.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import { TableMismatch } from "../../operation/DatabaseHealth.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { KindTable } from "../../operation/Run.js"
import { databaseError, sqlState } from "../client/PgError.js"
import { alone } from "../client/DecoratedConnection.js"
import { decodeRows, PgSql, rows } from "../client/PgSql.js"
import type { PgTable } from "./PgTable.js"
import * as CreatedTables from "./CreatedTables.js"
import * as Grants from "./Grants.js"
import * as KindTables from "./KindTables.js"
import * as Tables from "./PgTable.js"
import * as SchemaDifference from "./SchemaDifference.js"
import * as ShadowSchema from "./ShadowSchema.js"
import * as TableShape from "./TableShape.js"
import { literal, quote } from "../client/SqlText.js"
import * as TableLock from "../client/TableLock.js"

export class PgSchema extends Context.Tag("effect-es-ops/PgSchema")<
  PgSchema,
  {
    /** Quoted name of the marker table. */
    readonly markers: string
    /** Quoted name of the attempts table. */
    readonly attempts: string
    readonly tables: ReadonlyArray<PgTable>
    /** The tables of runs and of kinds of operations, which are there once a run needed them. */
    readonly kinds: KindTables.KindTables
    /** The quoted name of one of them. */
    readonly kind: (table: KindTables.RunTable | KindTable) => string
    /** Those of these tables that the search path does not find. */
    readonly missingOf: (tables: ReadonlyArray<PgTable>) => Effect.Effect<ReadonlyArray<PgTable>, DatabaseError>
    /** What keeps those of these tables that exist from being used. */
    readonly mismatchesOf: (
      tables: ReadonlyArray<PgTable>
    ) => Effect.Effect<ReadonlyArray<TableMismatch>, DatabaseError>
    /** Quoted names of all tables that statements of ours read or write. */
    readonly addressed: ReadonlyArray<string>
    /** The column that answers where the search path finds them: as JSON, in this order. */
    readonly addresses: string
    /**
     * What keeps tables that exist from being used: a column that is missing, of another type, or that must be given a value. Which exist is
     * noted.
     */
    readonly mismatches: Effect.Effect<ReadonlyArray<TableMismatch>, DatabaseError>
    /** The tables that the search path does not find, and the columns that are to be added to those it finds. Which are there is noted. */
    readonly missing: Effect.Effect<ReadonlyArray<PgTable>, DatabaseError>
    /** The statement that looks for them, to be sent together with others. */
    readonly look: string
    /** What its rows say. */
    readonly seen: (rows: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<PgTable>, DatabaseError>
    /** Creates them, under the operations lock, inside its transaction. One that this role may not create we do without, if we can. */
    readonly create: (tables: ReadonlyArray<PgTable>) => Effect.Effect<void, DatabaseError>
    /** Told when what was created is there to stay. */
    readonly created: () => void
    /** Whether a table is there, as far as is known: all were found, or created. */
    readonly has: (name: string) => boolean
    /** Whether none is wanted, so far as is known. */
    readonly isComplete: () => boolean
  }
>() {}

/** The marker and attempts tables; with `eventStore`, those of our own store as well; and the tables that features own. */
export const make = (options: TableOptions): Effect.Effect<PgSchema["Type"], never, OperationConfig | PgSql> =>
  Effect.gen(function* () {
    const config = yield* OperationConfig
    const sql = yield* PgSql
    const tables = tablesOf(config, options)
    const wanted = [...tables, ...tables.flatMap(Tables.additions)]
    /** What is known of the tables so far. */
    let complete = false
    let without: ReadonlyArray<PgTable> = []
    const kinds = KindTables.make(Option.getOrUndefined(config.schema))
    const [{ name: markers }, { name: attempts }] = tables
    const cursors = ["es_ops_runs", "es_ops_run_lanes"].flatMap((table) => kinds.get(table)?.name ?? [])
    const addressed = [...new Set([...tables.map(({ name }) => name), ...Tables.foundBy, ...cursors])]
    const noted = (missing: ReadonlyArray<PgTable>): ReadonlyArray<PgTable> => {
      const found = missing.filter(({ name }) => !without.some((table) => table.name === name))
      complete = found.length === 0
      return found
    }
    const records = kinds.get("es_ops_projections")
    /** Where the events are new as well, there are none: what is of version 1 needs no record. */
    const recordNew = (created: ReadonlyArray<PgTable>): Effect.Effect<void, DatabaseError> => {
      const names = new Set(created.map(({ name }) => name))
      const isEmpty = names.has(quote("kumiko_events"))
      const projections = (options.projections ?? []).filter(
        ({ tables: own, version }) => own.some((table) => names.has(quote(table))) && !(isEmpty && version === 1)
      )
      return projections.length === 0 || records === undefined
        ? Effect.void
        : CreatedTables.record(sql, projections, {
            name: records.name,
            create: Effect.asVoid(createTable(sql, records))
          })
    }
    return PgSchema.of({
      markers,
      attempts,
      tables,
      kinds,
      kind: (table) => kinds.get(table)?.name ?? quote(table),
      missingOf: (some) => missingOf(sql, some),
      mismatchesOf: (some) =>
        Effect.map(columnsOf(sql, some), (columns) =>
          TableShape.misfits(some, columns).map((misfit) => new TableMismatch(misfit))
        ),
      addressed,
      addresses: addressesOf(addressed),
      missing: Effect.tap(missingOf(sql, wanted), (absent) => Effect.sync(() => noted(absent))),
      look: lookFor(wanted),
      created: () => {
        complete = true
      },
      seen: (found) => Effect.map(missingAmong(wanted)(found), noted),
      has: (name) => complete && !without.some((table) => table.name === name),
      isComplete: () => complete,
      mismatches: Effect.map(columnsOf(sql, tables), (columns) => {
        const found = new Set(columns.map(({ table_name }) => table_name))
        const isAbsent = ({ added, name }: PgTable) =>
          added === undefined
            ? !found.has(name)
            : found.has(added.table) &&
              !columns.some((column) => column.table_name === added.table && column.name === added.column)
        noted(wanted.filter(isAbsent))
        return TableShape.misfits(tables, columns).map((misfit) => new TableMismatch(misfit))
      }),
      create: (missing) =>
        Effect.zipRight(
          // All in one message; where that fails, one by one shows which and why.
          Effect.orElse(createAll(sql, missing), () =>
            Effect.forEach(
              missing,
              (table) =>
                Effect.flatMap(createTable(sql, table), (created) =>
                  Effect.sync(() => {
                    if (!created) without = [...without, table]
                  })
                ),
              { discard: true }
            )
          ),
          recordNew(missing)
        )
    })
  })

/** Which tables there are to be. */
export interface TableOptions {
  /** Whether our own event store is used. */
  readonly eventStore: boolean
  /** Those that features own. */
  readonly tables: ReadonlyArray<Table>
  /** The projections of the features. */
  readonly projections?: ReadonlyArray<AskedProjection> | undefined
}

/** The marker table, the attempts table, then those of the event store and of the features. */
const tablesOf = (
  config: OperationConfig["Type"],
  options: TableOptions
): readonly [PgTable, PgTable, ...ReadonlyArray<PgTable>] => {
  const schema = Option.getOrUndefined(config.schema)
  return [
    Tables.markers(config.table, schema),
    Tables.attempts(config.attemptsTable, schema),
    ...(options.eventStore ? Tables.eventStore : []),
    ...options.tables.map(Tables.owned(options.eventStore))
  ]
}

/** The tables of runs and of kinds of operations. */
const kindsOf = (config: OperationConfig["Type"]): ReadonlyArray<PgTable> => [
  ...KindTables.make(Option.getOrUndefined(config.schema)).values()
]

/** The statements that create whatever is missing, for an administrator: they can be run again. */
export const ddl = (config: OperationConfig["Type"], options: TableOptions): ReadonlyArray<string> => [
  ...Option.toArray(Option.map(config.schema, (schema) => `CREATE SCHEMA IF NOT EXISTS ${quote(schema)}`)),
  ...[...tablesOf(config, options), ...kindsOf(config)].flatMap(({ statements }) =>
    statements.map((statement) => statement.replace(/^CREATE (TABLE|(?:UNIQUE )?INDEX) /, "CREATE $1 IF NOT EXISTS "))
  ),
  ShadowSchema.statement
]

/** The statements that give a role what applying and long operations need. */
export const grants = (config: OperationConfig["Type"], options: TableOptions, role: string): ReadonlyArray<string> => [
  ...Grants.grants([...tablesOf(config, options), ...kindsOf(config)], role),
  ShadowSchema.grant(role),
  Grants.elsewhere(role)
]

/** The statements that the database lacks; none where it is complete. A run creates what it needs: without one, its tables are not lacking. */
export const difference = (
  sql: PgSql["Type"],
  config: OperationConfig["Type"],
  options: TableOptions
): Effect.Effect<ReadonlyArray<string>, DatabaseError> =>
  Effect.gen(function* () {
    const [markers, ...others] = tablesOf(config, options)
    const isEmpty = (yield* missingOf(sql, [markers])).length > 0
    const names = [...Option.toArray(config.schema), ...(isEmpty ? [ShadowSchema.shadowSchema] : [])]
    const absent = yield* sql
      .unsafe(
        `SELECT name FROM jsonb_array_elements_text(${literal(JSON.stringify(names))}::jsonb) AS name WHERE to_regnamespace(quote_ident(name)) IS NULL`
      )
      .pipe(rows("looking for the schemas", Schema.Struct({ name: Schema.String })))
    const create = absent.map(({ name }) => `CREATE SCHEMA ${quote(name)}`)
    const kinds = kindsOf(config)
    const unneeded = isEmpty ? [] : yield* missingOf(sql, kinds)
    const needed = kinds.filter((table) => !unneeded.includes(table))
    const tables = [markers, ...others, ...needed]
    const watch = TableLock.watch(sql, {
      tables: tables.map(({ name }) => name),
      access: "read",
      bound: Option.some(config.lockTimeout)
    })
    const lacking = alone(sql, watch)(SchemaDifference.statements(sql, tables))
    return [...create, ...(yield* Effect.catchTag(lacking, "SqlError", databaseError("looking at the indexes")))]
  })

/** The columns of those tables that the search path finds. */
const columnsOf = (
  sql: PgSql["Type"],
  tables: ReadonlyArray<PgTable>
): Effect.Effect<ReadonlyArray<TableShape.FoundColumn>, DatabaseError> =>
  alone(sql)(sql.unsafe(TableShape.columnsQuery(literal(namesOf(tables))))).pipe(
    rows("looking at the tables", TableShape.ColumnRow)
  )

const namesOf = (tables: ReadonlyArray<PgTable>): string => JSON.stringify(tables.map(({ name }) => name))

/** Schema and name of each, or null: without a scan of the catalog, as a subquery would be. */
const addressesOf = (names: ReadonlyArray<string>): string =>
  `pg_catalog.json_build_array(${names
    .map(
      (name) =>
        `(pg_catalog.pg_identify_object_as_address('pg_catalog.pg_class'::pg_catalog.regclass, pg_catalog.to_regclass(${literal(name)}), 0)).object_names`
    )
    .join(", ")})::text AS addresses`

const lookFor = (wanted: ReadonlyArray<PgTable>): string => {
  const names = namesOf(wanted.filter(({ added }) => added === undefined))
  const absent = `SELECT name FROM jsonb_array_elements_text(${literal(names)}::jsonb) AS name WHERE to_regclass(name) IS NULL`
  const columns = wanted.flatMap(({ added, name }) => (added === undefined ? [] : [{ name, ...added }]))
  if (columns.length === 0) return absent
  return `${absent} UNION ALL SELECT c.name FROM jsonb_to_recordset(${literal(JSON.stringify(columns))}::jsonb)
      AS c (name text, "table" text, "column" text)
    WHERE to_regclass(c."table") IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute a
      WHERE a.attrelid = to_regclass(c."table") AND a.attname = c."column" AND NOT a.attisdropped)`
}

const missingAmong =
  (wanted: ReadonlyArray<PgTable>) =>
  (found: ReadonlyArray<unknown>): Effect.Effect<ReadonlyArray<PgTable>, DatabaseError> =>
    Effect.map(decodeNames(found), (absent) => {
      const names = new Set(absent.map(({ name }) => name))
      return wanted.filter(({ name }) => names.has(name))
    })

const decodeNames = decodeRows("looking for the tables", Schema.Struct({ name: Schema.String }))

/** Those of `wanted` that the search path does not find. */
const missingOf = (
  sql: SqlClient.SqlClient,
  wanted: ReadonlyArray<PgTable>
): Effect.Effect<ReadonlyArray<PgTable>, DatabaseError> =>
  sql
    .unsafe(lookFor(wanted))
    .pipe(Effect.mapError(databaseError("looking for the tables")), Effect.flatMap(missingAmong(wanted)))

/** Another program creates the same table without the lock: unique_violation in the catalog, duplicate_table, duplicate_object. */
const createdByAnother = new Set(["23505", "42P07", "42710"])

const attemptsAtTable = 5

const createAll = (sql: SqlClient.SqlClient, tables: ReadonlyArray<PgTable>): Effect.Effect<void, SqlError> => {
  const statements = tables.flatMap((table) => table.statements)
  const release = "RELEASE SAVEPOINT es_ops_tables"
  return sql.unsafe(["SAVEPOINT es_ops_tables", ...statements, release].join("; ")).pipe(
    Effect.tapError(() => sql.unsafe(`ROLLBACK TO SAVEPOINT es_ops_tables; ${release}`)),
    Effect.asVoid
  )
}

/** Whether it is there afterwards; false for one that we can do without and may not create. */
const createTable = (sql: SqlClient.SqlClient, table: PgTable): Effect.Effect<boolean, DatabaseError> =>
  Effect.gen(function* () {
    const create = Effect.either(sql.withTransaction(sql.unsafe(table.statements.join("; "))))
    let failure = yield* create
    for (let again = attemptsAtTable; Either.isLeft(failure); failure = yield* create) {
      const state = Option.getOrElse(sqlState(failure.left), () => "")
      if (table.optional && state === "42501") {
        yield* Effect.logWarning(withoutHistory(table))
        return false
      }
      if (again-- === 0 || !createdByAnother.has(state)) return yield* refusedDdl(table, failure.left)
      if ((yield* missingOf(sql, [table])).length === 0) return true
    }
    return true
  })

const withoutHistory = (table: PgTable): string =>
  `${table.name} is missing and this role may not create it: seeds are applied without history. Let an administrator create it, or grant CREATE on the schema.`

const refusedDdl = ({ added, name }: PgTable, error: SqlError): DatabaseError =>
  added === undefined
    ? databaseError(`creating the table ${name}`)(error)
    : databaseError(`adding the column ${name}`)(error).adding("es-ops schema --diff prints the statement")
