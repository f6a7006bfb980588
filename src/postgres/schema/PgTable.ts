/**
 * The tables, as columns and as the statements that create them. Pure.
 */
import type * as Feature from "../../event/Feature.js"
import { quote } from "../client/SqlText.js"

/** A column that is needed, as it is created; that of a table that exists may have another type that holds as much. */
export interface Column {
  readonly name: string
  readonly type: Feature.Column["type"]
  /** What follows its name where it is created. */
  readonly ddl: string
  /** How many characters a type of limited length must hold. */
  readonly length: number
  /** Whether two values are the same only where all their bytes are. */
  readonly isExact: boolean
  /** Whether our rows have a value for it, and do not leave it to its default. */
  readonly isFilled: boolean
  /** Whether that value may be null. */
  readonly isNullable: boolean
}

/** An index, or what a primary key or unique constraint makes one of, with the statement that adds it to a table that exists. */
export interface Index {
  /** The columns; an expression is what its definition must have. */
  readonly columns: ReadonlyArray<string>
  readonly isUnique: boolean
  /** Whether rows could be there twice, or a race be lost, without it. */
  readonly isNeeded: boolean
  readonly statement: string
}

/** A table by its quoted name, with what it must have and the statements that create it. */
export interface PgTable {
  readonly name: string
  /** The schema that the settings name; where they do not, the search path decides. */
  readonly schema: string | undefined
  readonly columns: ReadonlyArray<Column>
  readonly statements: ReadonlyArray<string>
  /** Where it is no table, but a column that is added to one. */
  readonly added?: { readonly table: string; readonly column: string }
  /** Whether we can do without it where it may not be created. */
  readonly optional: boolean
  /** Whether our rows have values for these columns only, so that another one must not demand a value. */
  readonly closed: boolean
  readonly indexes: ReadonlyArray<Index>
  /** The sequence that numbers its rows, as it is named where we create it, if a role needs a right on that. */
  readonly sequence?: string
  /** Whether it is a feature's: its values are the feature's to know, and it may be altered. */
  readonly isOwned: boolean
  /** What we do with it besides reading. */
  readonly writes: ReadonlyArray<"INSERT" | "UPDATE" | "DELETE">
  /** What is done with it besides that, but not by applying: markers are forgotten and renamed, streams moved and purged. */
  readonly changes?: ReadonlyArray<"INSERT" | "UPDATE" | "DELETE">
}

interface Needs {
  readonly length?: number
  readonly isExact?: boolean
}

/** A column of ours, as it is declared. */
export type Defined = readonly [name: string, type: Feature.Column["type"], ddl: string, needs?: Needs]

/** As long as the name of a file can be; what a person writes, or an application, may be of any length. */
const nameLength = 255

/** The columns of that declaration. */
export const columns = (defined: ReadonlyArray<Defined>): ReadonlyArray<Column> =>
  defined.map(([name, type, ddl, { isExact = false, length = nameLength } = {}]) => ({
    name,
    type,
    ddl,
    length,
    isExact,
    isFilled: !/serial|GENERATED|DEFAULT now/.test(ddl),
    isNullable: !/NOT NULL|PRIMARY KEY/.test(ddl)
  }))

/** A primary key, a unique constraint, or an index of a name. */
export const primaryKey = (table: string, names: ReadonlyArray<string>, isNeeded: boolean): Index => ({
  columns: names,
  isUnique: true,
  isNeeded,
  statement: `ALTER TABLE ${table} ADD PRIMARY KEY (${names.map(quote).join(", ")})`
})

/** An index, by the statement that creates it. */
export const indexed = (statement: string, names: ReadonlyArray<string>, isNeeded = false): Index => ({
  columns: names,
  isUnique: statement.startsWith("CREATE UNIQUE"),
  isNeeded,
  statement
})

const create = (quoted: string, defined: ReadonlyArray<Defined>): string =>
  `CREATE TABLE ${quoted} (\n${defined.map(([name, , ddl]) => `  ${name} ${ddl}`).join(",\n")}\n)`

/** The marker table of the system that we are drop-in for: never altered, never given another column. */
export const markers = (table: string, schema: string | undefined): PgTable => {
  const quoted = qualified(table, schema)
  const byType = `CREATE INDEX ${quote(indexName(table, "type_idx"))} ON ${quoted} (operation_type)`
  return {
    name: quoted,
    schema,
    columns: columns(markerColumns),
    statements: [create(quoted, markerColumns), byType],
    indexes: [primaryKey(quoted, ["id"], true), indexed(byType, ["operation_type"])],
    optional: false,
    closed: true,
    isOwned: false,
    writes: ["INSERT"],
    changes: ["DELETE"]
  }
}

/** A name between quotes, in a schema. */
export const qualified = (name: string, schema: string | undefined): string =>
  quote(schema === undefined ? name : `${schema}.${name}`)

const markerColumns: ReadonlyArray<Defined> = [
  ["id", "text", "text PRIMARY KEY", { isExact: true }],
  ["operation_type", "text", "text NOT NULL", { length: 32 }],
  ["applied_at", "timestamptz", "timestamptz NOT NULL DEFAULT now()"],
  ["duration_ms", "integer", "integer NOT NULL"],
  ["applied_by", "text", "text NOT NULL", { length: 11 }],
  ["notes", "text", "text", { length: Infinity }]
]

/** Our own table: every attempt at every operation. */
export const attempts = (table: string, schema: string | undefined): PgTable => {
  const quoted = qualified(table, schema)
  const byOperation = `CREATE INDEX ${quote(indexName(table, "operation_idx"))} ON ${quoted} (operation_id, id)`
  return {
    name: quoted,
    schema,
    columns: columns(attemptColumns),
    statements: [create(quoted, attemptColumns), byOperation],
    indexes: [primaryKey(quoted, ["id"], true), indexed(byOperation, ["operation_id", "id"])],
    optional: true,
    closed: true,
    isOwned: false,
    writes: ["INSERT"]
  }
}

const attemptColumns: ReadonlyArray<Defined> = [
  ["id", "bigint", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"],
  ["operation_id", "text", "text NOT NULL", { isExact: true }],
  ["operation_type", "text", "text NOT NULL", { length: 32 }],
  ["attempt", "integer", "integer NOT NULL"],
  ["outcome", "text", "text NOT NULL", { length: 11 }],
  ["started_at", "timestamptz", "timestamptz NOT NULL"],
  ["ended_at", "timestamptz", "timestamptz"],
  ["duration_ms", "integer", "integer"],
  ["waited_ms", "integer", "integer"],
  ["applied_by", "text", "text NOT NULL", { length: 11 }],
  ["host", "text", "text NOT NULL"],
  ["pid", "integer", "integer NOT NULL"],
  ["version", "text", "text"],
  ["source_hash", "text", "text"],
  ["reason", "text", "text", { length: Infinity }],
  ["error", "jsonb", "jsonb"]
]

/** The name of an index of a table, as long as a name may be. */
export const indexName = (table: string, suffix: string): string => `${table.slice(0, 62 - suffix.length)}_${suffix}`

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

const eventIndexes: ReadonlyArray<Index> = [
  indexed(
    `CREATE UNIQUE INDEX events_aggregate_version_uq ON kumiko_events (tenant_id, aggregate_id, version)`,
    ["tenant_id", "aggregate_id", "version"],
    true
  ),
  indexed(`CREATE INDEX events_load_idx ON kumiko_events (aggregate_id, version)`, ["aggregate_id", "version"]),
  indexed(`CREATE INDEX events_tenant_type_idx ON kumiko_events (tenant_id, aggregate_type, created_at)`, [
    "tenant_id",
    "aggregate_type",
    "created_at"
  ]),
  indexed(
    `CREATE UNIQUE INDEX events_idempotency_uq ON kumiko_events (tenant_id, ((metadata->>'idempotencyKey')))
  WHERE (metadata->>'idempotencyKey') IS NOT NULL`,
    ["tenant_id", "idempotencyKey"]
  )
]

const archivedIndex = indexed(
  `CREATE UNIQUE INDEX kumiko_archived_streams_pk ON kumiko_archived_streams (tenant_id, aggregate_id)`,
  ["tenant_id", "aggregate_id"]
)

/** The tables of our own event store, those of the system that we are drop-in for. */
export const eventStore: ReadonlyArray<PgTable> = [
  {
    name: quote("kumiko_events"),
    schema: undefined,
    columns: columns(eventColumns),
    statements: [create("kumiko_events", eventColumns), ...eventIndexes.map(({ statement }) => statement)],
    indexes: [primaryKey("kumiko_events", ["id"], false), ...eventIndexes],
    sequence: "kumiko_events_id_seq",
    optional: false,
    closed: true,
    isOwned: false,
    writes: ["INSERT"],
    changes: ["UPDATE", "DELETE"]
  },
  {
    name: quote("kumiko_archived_streams"),
    schema: undefined,
    columns: columns(archivedColumns),
    statements: [create("kumiko_archived_streams", archivedColumns), archivedIndex.statement],
    indexes: [archivedIndex],
    optional: false,
    closed: false,
    isOwned: false,
    writes: [],
    changes: ["UPDATE", "DELETE"]
  }
]

/** What the finders read, whoever owns it. */
export const foundBy: ReadonlyArray<string> = [
  "kumiko_events",
  "read_tenants",
  "read_users",
  "read_tenant_memberships"
].map(quote)

/** A table that a feature owns. `closed`: whether its rows are written by the feature's handlers, and by no others. */
export const owned =
  (closed: boolean) =>
  (table: Feature.Table): PgTable => {
    const name = quote(table.name)
    const list = (names: ReadonlyArray<string>) => names.map(quote).join(", ")
    const unique = (table.unique ?? []).map((names) => `UNIQUE (${list(names)})`)
    const primary = `PRIMARY KEY (${list(table.primaryKey)})`
    const body = [...table.columns.map(columnDdl), primary, ...unique].join(",\n  ")
    const indexes = (table.indexes ?? []).map((names) =>
      indexed(
        `CREATE INDEX ${quote(indexName([table.name, ...names].join("_"), "idx"))} ON ${name} (${list(names)})`,
        names
      )
    )
    return {
      name,
      schema: undefined,
      columns: table.columns.map((column) => ({
        name: column.name,
        type: column.type,
        ddl: columnDdl(column).slice(quote(column.name).length + 1),
        length: Infinity,
        isExact: false,
        isFilled: column.default === undefined,
        isNullable: column.nullable === true
      })),
      statements: [`CREATE TABLE ${name} (\n  ${body}\n)`, ...indexes.map(({ statement }) => statement)],
      indexes: [
        primaryKey(name, table.primaryKey, false),
        ...(table.unique ?? []).map((names) => ({
          columns: names,
          isUnique: true,
          isNeeded: false,
          statement: `ALTER TABLE ${name} ADD UNIQUE (${list(names)})`
        })),
        ...indexes
      ],
      optional: false,
      closed,
      isOwned: true,
      writes: ["INSERT", "UPDATE"]
    }
  }

/** The columns that are added to a feature's table where it is there without them: those that take null, as no row has a value yet. */
export const additions = (table: PgTable): ReadonlyArray<PgTable> =>
  table.columns
    .filter(({ isNullable }) => table.isOwned && isNullable)
    .map(({ ddl, name }) => ({
      ...table,
      name: `${table.name}.${quote(name)}`,
      added: { table: table.name, column: name },
      columns: [],
      indexes: [],
      statements: [`ALTER TABLE ${table.name} ADD COLUMN IF NOT EXISTS ${quote(name)} ${ddl}`],
      writes: []
    }))

const columnDdl = ({ name, nullable, type, ...column }: Feature.Column): string =>
  `${quote(name)} ${type}${nullable === true ? "" : " NOT NULL"}${column.default === "now" ? " DEFAULT now()" : ""}`
