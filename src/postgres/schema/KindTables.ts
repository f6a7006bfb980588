/**
 * The tables of runs, and those that kinds of operations keep besides: created when a run begins that needs them, and not before. Pure.
 */
import type { KindTable } from "../../operation/Run.js"
import { quote } from "../client/SqlText.js"
import type { Defined, Index, PgTable } from "./PgTable.js"
import { columns, indexed, indexName, primaryKey, qualified } from "./PgTable.js"

/** The table of runs, and that of their lanes. */
export type RunTable = "es_ops_runs" | "es_ops_run_lanes"

/** The declaration of one table. */
interface Declared {
  readonly columns: ReadonlyArray<Defined>
  readonly primaryKey: ReadonlyArray<string>
  /** The columns of each further index. */
  readonly indexes?: ReadonlyArray<ReadonlyArray<string>>
  /** Whether its rows are deleted by us besides, and not only changed. */
  readonly isCleared?: boolean
}

/** A kind adds its tables here, under the names that it asks for when a run begins. */
const declared: { readonly [name in RunTable | KindTable]?: Declared } = {
  es_ops_runs: {
    columns: [
      ["id", "uuid", "uuid NOT NULL"],
      ["operation_type", "text", "text NOT NULL", { length: 32 }],
      ["name", "text", "text NOT NULL", { isExact: true }],
      ["params", "jsonb", "jsonb NOT NULL"],
      ["definition", "text", "text NOT NULL"],
      ["access", "jsonb", "jsonb NOT NULL"],
      ["phase", "text", "text NOT NULL", { length: 32 }],
      ["cursor", "jsonb", "jsonb"],
      ["done", "bigint", "bigint NOT NULL"],
      ["total", "bigint", "bigint"],
      ["counters", "jsonb", "jsonb NOT NULL"],
      ["epoch", "integer", "integer NOT NULL"],
      ["epoch_at", "timestamptz", "timestamptz NOT NULL"],
      ["epoch_done", "bigint", "bigint NOT NULL"],
      ["host", "text", "text NOT NULL"],
      ["pid", "integer", "integer NOT NULL"],
      ["lease_until", "timestamptz", "timestamptz"],
      ["started_at", "timestamptz", "timestamptz NOT NULL"],
      ["updated_at", "timestamptz", "timestamptz NOT NULL"],
      ["ended_at", "timestamptz", "timestamptz"],
      ["outcome", "text", "text NOT NULL", { length: 9 }],
      ["error", "jsonb", "jsonb"]
    ],
    primaryKey: ["id"],
    indexes: [["operation_type", "name", "started_at"]],
    isCleared: true
  },
  es_ops_run_lanes: {
    columns: [
      ["run_id", "uuid", "uuid NOT NULL"],
      ["lane", "text", "text NOT NULL", { isExact: true }],
      ["cursor", "jsonb", "jsonb"],
      ["done", "bigint", "bigint NOT NULL"],
      ["batches", "integer", "integer NOT NULL"],
      ["counters", "jsonb", "jsonb NOT NULL"],
      ["updated_at", "timestamptz", "timestamptz NOT NULL"]
    ],
    primaryKey: ["run_id", "lane"]
  },
  es_ops_projections: {
    columns: [
      ["projection", "text", "text NOT NULL", { isExact: true }],
      ["version", "integer", "integer NOT NULL"],
      ["built_at", "timestamptz", "timestamptz NOT NULL"],
      ["run_id", "uuid", "uuid"]
    ],
    primaryKey: ["projection"]
  },
  es_ops_purged_streams: {
    columns: [
      ["tenant_id", "uuid", "uuid NOT NULL"],
      ["aggregate_id", "uuid", "uuid NOT NULL"],
      ["aggregate_type", "text", "text NOT NULL", { isExact: true }],
      ["last_version", "integer", "integer NOT NULL"],
      ["events", "bigint", "bigint NOT NULL"],
      ["sha256", "text", "text NOT NULL", { length: 64 }],
      ["purged_at", "timestamptz", "timestamptz NOT NULL"],
      ["purged_by", "text", "text NOT NULL"],
      ["run_id", "uuid", "uuid NOT NULL"]
    ],
    primaryKey: ["tenant_id", "aggregate_id"],
    indexes: [["run_id"]]
  },
  es_ops_dead_letters: {
    columns: [
      ["id", "bigint", "bigint NOT NULL GENERATED ALWAYS AS IDENTITY"],
      ["run_id", "uuid", "uuid NOT NULL"],
      ["projection", "text", "text NOT NULL", { isExact: true }],
      ["table_name", "text", "text"],
      ["key", "jsonb", "jsonb"],
      ["event_id", "bigint", "bigint NOT NULL"],
      ["event_type", "text", "text NOT NULL"],
      ["tenant_id", "uuid", "uuid NOT NULL"],
      ["aggregate_id", "uuid", "uuid NOT NULL"],
      ["reason", "text", "text NOT NULL"],
      ["recorded_at", "timestamptz", "timestamptz NOT NULL DEFAULT now()"]
    ],
    primaryKey: ["id"],
    indexes: [["projection"]],
    isCleared: true
  },
  es_ops_snapshots: {
    columns: [
      ["tenant_id", "uuid", "uuid NOT NULL"],
      ["aggregate_type", "text", "text NOT NULL", { isExact: true }],
      ["aggregate_id", "uuid", "uuid NOT NULL"],
      ["snapshot_version", "integer", "integer NOT NULL"],
      ["version", "integer", "integer NOT NULL"],
      ["event_id", "bigint", "bigint"],
      ["state", "jsonb", "jsonb NOT NULL"],
      ["created_at", "timestamptz", "timestamptz NOT NULL DEFAULT now()"]
    ],
    primaryKey: ["tenant_id", "aggregate_type", "aggregate_id", "snapshot_version", "version"],
    isCleared: true
  },
  es_ops_deliveries: {
    columns: [
      ["run_id", "uuid", "uuid NOT NULL"],
      ["event_id", "bigint", "bigint NOT NULL"],
      ["tenant_id", "uuid", "uuid NOT NULL"],
      ["aggregate_id", "uuid", "uuid NOT NULL"],
      ["error", "jsonb", "jsonb"],
      ["created_at", "timestamptz", "timestamptz NOT NULL DEFAULT now()"]
    ],
    primaryKey: ["run_id", "event_id"],
    isCleared: true
  }
}

/** The tables by their names, quoted and in the schema of the settings. */
export type KindTables = ReadonlyMap<string, PgTable>

/** All of them. */
export const make = (schema: string | undefined): KindTables =>
  new Map(Object.entries(declared).map(([name, declaration]) => [name, tableOf(name, schema, declaration)]))

const tableOf = (name: string, schema: string | undefined, declaration: Declared): PgTable => {
  const quoted = qualified(name, schema)
  const list = (names: ReadonlyArray<string>) => names.map(quote).join(", ")
  const body = [
    ...declaration.columns.map(([column, , ddl]) => `  ${quote(column)} ${ddl}`),
    `  PRIMARY KEY (${list(declaration.primaryKey)})`
  ]
  const indexes = (declaration.indexes ?? []).map((names): Index => {
    const index = quote(indexName([name, ...names.slice(0, 1)].join("_"), "idx"))
    return indexed(`CREATE INDEX ${index} ON ${quoted} (${list(names)})`, names)
  })
  return {
    name: quoted,
    schema,
    columns: columns(declaration.columns),
    statements: [`CREATE TABLE ${quoted} (\n${body.join(",\n")}\n)`, ...indexes.map(({ statement }) => statement)],
    indexes: [primaryKey(quoted, declaration.primaryKey, true), ...indexes],
    optional: false,
    closed: true,
    isOwned: false,
    writes: declaration.isCleared === true ? ["INSERT", "UPDATE", "DELETE"] : ["INSERT", "UPDATE"]
  }
}
