/**
 * The tables: what is there by the catalog, and the DDL for what is missing. Nothing is said about a table that exists.
 */
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { defaultEscape } from "@effect/sql/Statement"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Column, Table } from "../event/Feature.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { databaseError, sqlState } from "./PgError.js"
import { PgSql, rows } from "./PgSql.js"

/** A table by its quoted name, with the statements that create it. */
export interface TableDdl {
  readonly name: string
  readonly statements: ReadonlyArray<string>
  /** Whether we can do without it where it may not be created. */
  readonly optional: boolean
}

export class PgSchema extends Context.Tag("effect-es-ops/PgSchema")<
  PgSchema,
  {
    /** Quoted name of the marker table. */
    readonly markers: string
    /** Quoted name of the attempts table. */
    readonly attempts: string
    readonly tables: ReadonlyArray<TableDdl>
    /** The tables that the search path does not find. */
    readonly missing: Effect.Effect<ReadonlyArray<TableDdl>, DatabaseError>
    /** Creates them, under the operations lock, inside its transaction; answers with those that we do without. */
    readonly create: (tables: ReadonlyArray<TableDdl>) => Effect.Effect<ReadonlyArray<TableDdl>, DatabaseError>
  }
>() {}

/** The marker and attempts tables; with `eventStore`, those of our own store as well; and the tables that features own. */
export const layer = (options: {
  readonly eventStore: boolean
  readonly tables: ReadonlyArray<Table>
}): Layer.Layer<PgSchema, never, OperationConfig | PgSql> =>
  Layer.effect(
    PgSchema,
    Effect.gen(function* () {
      const config = yield* OperationConfig
      const sql = yield* PgSql
      const qualified = (name: string) =>
        quote(Option.match(config.schema, { onNone: () => name, onSome: (schema) => `${schema}.${name}` }))
      const markers = qualified(config.table)
      const attempts = qualified(config.attemptsTable)
      const tables = [
        { name: markers, statements: markerDdl(markers, config.table), optional: false },
        { name: attempts, statements: attemptsDdl(attempts, config.attemptsTable), optional: true },
        ...(options.eventStore ? eventDdl : []),
        ...options.tables.map((table) => ({
          name: quote(table.name),
          statements: tableDdl(table),
          optional: false
        }))
      ]
      return PgSchema.of({
        markers,
        attempts,
        tables,
        missing: missingOf(sql, tables),
        create: (missing) =>
          Effect.map(
            Effect.forEach(missing, (table) =>
              Effect.map(createTable(sql, table), (created) => (created ? [] : [table]))
            ),
            (without) => without.flat()
          )
      })
    })
  )

const quote = defaultEscape('"')

/** The tables of `tables` that the search path does not find. */
const missingOf = (
  sql: SqlClient.SqlClient,
  tables: ReadonlyArray<TableDdl>
): Effect.Effect<ReadonlyArray<TableDdl>, DatabaseError> =>
  Effect.gen(function* () {
    const names = JSON.stringify(tables.map(({ name }) => name))
    const absent = yield* sql`
      SELECT name FROM jsonb_array_elements_text(${names}::jsonb) AS name WHERE to_regclass(name) IS NULL`.pipe(
      rows("looking for the tables", Schema.Struct({ name: Schema.String }))
    )
    return tables.filter((table) => absent.some(({ name }) => name === table.name))
  })

/** Another program creates the same table without the lock: unique_violation in the catalog, duplicate_table, duplicate_object. */
const createdByAnother = new Set(["23505", "42P07", "42710"])

const attemptsAtTable = 5

/** Whether it is there afterwards; false for one that we can do without and may not create. */
const createTable = (sql: SqlClient.SqlClient, table: TableDdl): Effect.Effect<boolean, DatabaseError> =>
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

const withoutHistory = (table: TableDdl): string =>
  `${table.name} is missing and this role may not create it: seeds are applied without history. Let an administrator create it, or grant CREATE on the schema.`

const refusedDdl = (table: TableDdl, error: SqlError): DatabaseError =>
  databaseError(`creating the table ${table.name}`)(error)

/** The marker table of the system that we are drop-in for: never altered, never given another column. */
const markerDdl = (quoted: string, table: string): ReadonlyArray<string> => [
  `CREATE TABLE ${quoted} (
  id text PRIMARY KEY,
  operation_type text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  duration_ms integer NOT NULL,
  applied_by text NOT NULL,
  notes text
)`,
  `CREATE INDEX ${quote(indexName(table, "type_idx"))} ON ${quoted} (operation_type)`
]

const attemptsDdl = (quoted: string, table: string): ReadonlyArray<string> => [
  `CREATE TABLE ${quoted} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  operation_id text NOT NULL,
  operation_type text NOT NULL,
  attempt integer NOT NULL,
  outcome text NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at timestamptz,
  duration_ms integer,
  waited_ms integer,
  applied_by text NOT NULL,
  host text NOT NULL,
  pid integer NOT NULL,
  version text,
  source_hash text,
  reason text,
  error jsonb
)`,
  `CREATE INDEX ${quote(indexName(table, "operation_idx"))} ON ${quoted} (operation_id, id)`
]

const indexName = (table: string, suffix: string): string => `${table.slice(0, 62 - suffix.length)}_${suffix}`

const eventDdl: ReadonlyArray<TableDdl> = [
  {
    name: '"kumiko_events"',
    optional: false,
    statements: [
      `CREATE TABLE kumiko_events (
  id bigserial PRIMARY KEY,
  aggregate_id uuid NOT NULL,
  aggregate_type text NOT NULL,
  tenant_id uuid NOT NULL,
  version integer NOT NULL,
  type text NOT NULL,
  event_version integer NOT NULL DEFAULT 1,
  payload jsonb NOT NULL,
  metadata jsonb NOT NULL,
  created_at timestamp(3) with time zone NOT NULL DEFAULT now(),
  created_by text NOT NULL
)`,
      `CREATE UNIQUE INDEX events_aggregate_version_uq ON kumiko_events (tenant_id, aggregate_id, version)`,
      `CREATE INDEX events_load_idx ON kumiko_events (aggregate_id, version)`,
      `CREATE INDEX events_tenant_type_idx ON kumiko_events (tenant_id, aggregate_type, created_at)`,
      `CREATE UNIQUE INDEX events_idempotency_uq ON kumiko_events (tenant_id, ((metadata->>'idempotencyKey')))
  WHERE (metadata->>'idempotencyKey') IS NOT NULL`
    ]
  },
  {
    name: '"kumiko_archived_streams"',
    optional: false,
    statements: [
      `CREATE TABLE kumiko_archived_streams (
  tenant_id uuid NOT NULL,
  aggregate_id uuid NOT NULL,
  aggregate_type text NOT NULL,
  archived_at timestamp(3) with time zone NOT NULL DEFAULT now(),
  archived_by text NOT NULL,
  reason text
)`,
      `CREATE UNIQUE INDEX kumiko_archived_streams_pk ON kumiko_archived_streams (tenant_id, aggregate_id)`
    ]
  }
]

const tableDdl = (table: Table): ReadonlyArray<string> => {
  const list = (columns: ReadonlyArray<string>) => columns.map(quote).join(", ")
  const unique = (table.unique ?? []).map((columns) => `UNIQUE (${list(columns)})`)
  const primary = `PRIMARY KEY (${list(table.primaryKey)})`
  const body = [...table.columns.map(columnDdl), primary, ...unique].join(",\n  ")
  return [
    `CREATE TABLE ${quote(table.name)} (\n  ${body}\n)`,
    ...(table.indexes ?? []).map((columns) => `CREATE INDEX ON ${quote(table.name)} (${list(columns)})`)
  ]
}

const columnDdl = ({ name, nullable, type, ...column }: Column): string =>
  `${quote(name)} ${type}${nullable === true ? "" : " NOT NULL"}${column.default === "now" ? " DEFAULT now()" : ""}`
