/**
 * The tables, as columns and as the statements that create them. Pure.
 */
import type * as Feature from "../../event/Feature.js"
import { quote } from "../client/SqlText.js"

/** A column that is needed. `type` is one that we create; a table that exists may have another of the same kind. */
export interface Column {
  readonly name: string
  readonly type: Feature.Column["type"]
}

/** A table by its quoted name, with what it must have and the statements that create it. */
export interface PgTable {
  readonly name: string
  /** The schema that the settings name; where they do not, the search path decides. */
  readonly schema: string | undefined
  readonly columns: ReadonlyArray<Column>
  readonly statements: ReadonlyArray<string>
  /** Whether we can do without it where it may not be created. */
  readonly optional: boolean
  /** Whether our rows have values for these columns only, so that another one must not demand a value. */
  readonly closed: boolean
  /** What we do with it besides reading. */
  readonly writes: ReadonlyArray<"INSERT" | "UPDATE">
}

type Defined = readonly [name: string, type: Feature.Column["type"], ddl: string]

const columns = (defined: ReadonlyArray<Defined>): ReadonlyArray<Column> =>
  defined.map(([name, type]) => ({ name, type }))

const create = (quoted: string, defined: ReadonlyArray<Defined>): string =>
  `CREATE TABLE ${quoted} (\n${defined.map(([name, , ddl]) => `  ${name} ${ddl}`).join(",\n")}\n)`

/** The marker table of the system that we are drop-in for: never altered, never given another column. */
export const markers = (table: string, schema: string | undefined): PgTable => {
  const quoted = qualified(table, schema)
  return {
    name: quoted,
    schema,
    columns: columns(markerColumns),
    statements: [
      create(quoted, markerColumns),
      `CREATE INDEX ${quote(indexName(table, "type_idx"))} ON ${quoted} (operation_type)`
    ],
    optional: false,
    closed: true,
    writes: ["INSERT"]
  }
}

const qualified = (name: string, schema: string | undefined): string =>
  quote(schema === undefined ? name : `${schema}.${name}`)

const markerColumns: ReadonlyArray<Defined> = [
  ["id", "text", "text PRIMARY KEY"],
  ["operation_type", "text", "text NOT NULL"],
  ["applied_at", "timestamptz", "timestamptz NOT NULL DEFAULT now()"],
  ["duration_ms", "integer", "integer NOT NULL"],
  ["applied_by", "text", "text NOT NULL"],
  ["notes", "text", "text"]
]

/** Our own table: every attempt at every operation. */
export const attempts = (table: string, schema: string | undefined): PgTable => {
  const quoted = qualified(table, schema)
  return {
    name: quoted,
    schema,
    columns: columns(attemptColumns),
    statements: [
      create(quoted, attemptColumns),
      `CREATE INDEX ${quote(indexName(table, "operation_idx"))} ON ${quoted} (operation_id, id)`
    ],
    optional: true,
    closed: true,
    writes: ["INSERT"]
  }
}

const attemptColumns: ReadonlyArray<Defined> = [
  ["id", "bigint", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"],
  ["operation_id", "text", "text NOT NULL"],
  ["operation_type", "text", "text NOT NULL"],
  ["attempt", "integer", "integer NOT NULL"],
  ["outcome", "text", "text NOT NULL"],
  ["started_at", "timestamptz", "timestamptz NOT NULL"],
  ["ended_at", "timestamptz", "timestamptz"],
  ["duration_ms", "integer", "integer"],
  ["waited_ms", "integer", "integer"],
  ["applied_by", "text", "text NOT NULL"],
  ["host", "text", "text NOT NULL"],
  ["pid", "integer", "integer NOT NULL"],
  ["version", "text", "text"],
  ["source_hash", "text", "text"],
  ["reason", "text", "text"],
  ["error", "jsonb", "jsonb"]
]

const indexName = (table: string, suffix: string): string => `${table.slice(0, 62 - suffix.length)}_${suffix}`

const eventColumns: ReadonlyArray<Defined> = [
  ["id", "bigint", "bigserial PRIMARY KEY"],
  ["aggregate_id", "uuid", "uuid NOT NULL"],
  ["aggregate_type", "text", "text NOT NULL"],
  ["tenant_id", "uuid", "uuid NOT NULL"],
  ["version", "integer", "integer NOT NULL"],
  ["type", "text", "text NOT NULL"],
  ["event_version", "integer", "integer NOT NULL DEFAULT 1"],
  ["payload", "jsonb", "jsonb NOT NULL"],
  ["metadata", "jsonb", "jsonb NOT NULL"],
  ["created_at", "timestamptz", "timestamp(3) with time zone NOT NULL DEFAULT now()"],
  ["created_by", "text", "text NOT NULL"]
]

const archivedColumns: ReadonlyArray<Defined> = [
  ["tenant_id", "uuid", "uuid NOT NULL"],
  ["aggregate_id", "uuid", "uuid NOT NULL"],
  ["aggregate_type", "text", "text NOT NULL"],
  ["archived_at", "timestamptz", "timestamp(3) with time zone NOT NULL DEFAULT now()"],
  ["archived_by", "text", "text NOT NULL"],
  ["reason", "text", "text"]
]

/** The tables of our own event store, those of the system that we are drop-in for. */
export const eventStore: ReadonlyArray<PgTable> = [
  {
    name: quote("kumiko_events"),
    schema: undefined,
    columns: columns(eventColumns),
    statements: [
      create("kumiko_events", eventColumns),
      `CREATE UNIQUE INDEX events_aggregate_version_uq ON kumiko_events (tenant_id, aggregate_id, version)`,
      `CREATE INDEX events_load_idx ON kumiko_events (aggregate_id, version)`,
      `CREATE INDEX events_tenant_type_idx ON kumiko_events (tenant_id, aggregate_type, created_at)`,
      `CREATE UNIQUE INDEX events_idempotency_uq ON kumiko_events (tenant_id, ((metadata->>'idempotencyKey')))
  WHERE (metadata->>'idempotencyKey') IS NOT NULL`
    ],
    optional: false,
    closed: true,
    writes: ["INSERT"]
  },
  {
    name: quote("kumiko_archived_streams"),
    schema: undefined,
    columns: columns(archivedColumns),
    statements: [
      create("kumiko_archived_streams", archivedColumns),
      `CREATE UNIQUE INDEX kumiko_archived_streams_pk ON kumiko_archived_streams (tenant_id, aggregate_id)`
    ],
    optional: false,
    closed: false,
    writes: []
  }
]

/** A table that a feature owns. */
export const owned = (table: Feature.Table): PgTable => {
  const name = quote(table.name)
  const list = (names: ReadonlyArray<string>) => names.map(quote).join(", ")
  const unique = (table.unique ?? []).map((names) => `UNIQUE (${list(names)})`)
  const primary = `PRIMARY KEY (${list(table.primaryKey)})`
  const body = [...table.columns.map(columnDdl), primary, ...unique].join(",\n  ")
  return {
    name,
    schema: undefined,
    columns: table.columns.map((column) => ({ name: column.name, type: column.type })),
    statements: [
      `CREATE TABLE ${name} (\n  ${body}\n)`,
      ...(table.indexes ?? []).map(
        (names) =>
          `CREATE INDEX ${quote(indexName([table.name, ...names].join("_"), "idx"))} ON ${name} (${list(names)})`
      )
    ],
    optional: false,
    closed: false,
    writes: ["INSERT", "UPDATE"]
  }
}

const columnDdl = ({ name, nullable, type, ...column }: Feature.Column): string =>
  `${quote(name)} ${type}${nullable === true ? "" : " NOT NULL"}${column.default === "now" ? " DEFAULT now()" : ""}`

/** A column as the catalog has it. `kind` is its type's category (pg_type.typcategory), or the type's name where that says too little. */
export interface FoundColumn {
  readonly name: string
  readonly type: string
  readonly kind: string
  /** Whether an INSERT that does not name it fails. */
  readonly demanded: boolean
}

/** Kinds by pg_type.typcategory (PostgreSQL manual, table 53.65): S text, N numbers, D dates and times, B boolean. */
const kinds: { readonly [type in Column["type"]]: string } = {
  uuid: "uuid",
  text: "S",
  integer: "N",
  bigint: "N",
  boolean: "B",
  jsonb: "jsonb",
  timestamptz: "D"
}

/** The tables that are among those found and cannot be used as they are, each by its name and with the reason. */
export const misfits = (
  tables: ReadonlyArray<PgTable>,
  found: ReadonlyMap<string, ReadonlyArray<FoundColumn>>
): ReadonlyArray<readonly [table: string, reason: string]> =>
  tables.flatMap((table) => {
    const columns = found.get(table.name)
    const reasons = columns === undefined ? [] : misfitsOf(table, columns)
    return reasons.length === 0 ? [] : [[table.name, reasons.join("; ")] as const]
  })

/** What keeps a table that exists from being used, one phrase for each column; none if it fits. */
const misfitsOf = (table: PgTable, found: ReadonlyArray<FoundColumn>): ReadonlyArray<string> => {
  const byName = new Map(found.map((column) => [column.name, column]))
  const needed = table.columns.flatMap(({ name, type }) => {
    const column = byName.get(name)
    if (column === undefined) return [`column "${name}" (${type}) is missing`]
    return column.kind === kinds[type] ? [] : [`column "${name}" is ${column.type}, not ${type}`]
  })
  const known = new Set(table.columns.map(({ name }) => name))
  const demanded = found.filter((column) => table.closed && column.demanded && !known.has(column.name))
  return [...needed, ...demanded.map(({ name }) => `column "${name}" must be given a value, which we do not have`)]
}
