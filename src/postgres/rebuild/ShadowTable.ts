/**
 * The shadow of one read table: where its rows are computed, what the live rows of some keys are to be, and the statements over both. Pure.
 */
import type { Column } from "../../event/Table.js"
import { literal, quote } from "../client/SqlText.js"
import { shadowSchema } from "../schema/ShadowSchema.js"
import type { LiveTable } from "./LiveTable.js"

/** A table beside the live ones, by a name that knows the run. */
export const nameOf = (runId: string, part: string): string =>
  `${quote(shadowSchema)}.${quote(`${prefixOf(runId)}${part}`)}`

/** How the names of a run begin. */
export const prefixOf = (runId: string): string => `r${runId.replaceAll("-", "").slice(0, 12)}_`

/** The shadow of one table. */
export interface ShadowTable {
  readonly live: LiveTable
  /** Quoted names: the rows as computed, those that keys are to have, and the keys that keep their live rows. */
  readonly rows: string
  readonly want: string
  readonly kept: string
  /** Where statements do not know of a shadow: the keys that were written since it was compared, and the function that notes them. */
  readonly touched: string
  readonly touch: string
  /** The columns that are written: the declared ones, without those that the server generates. */
  readonly columns: ReadonlyArray<Column>
  /** Those of them that have a default: where the events give no value, the live one stays. */
  readonly defaulted: ReadonlySet<string>
  readonly keys: ReadonlyArray<string>
  /** Whether the rows have the name, the columns and the indexes of the live table, for statements that do not know of a shadow. */
  readonly isNamed: boolean
}

/** The shadow of the `at`-th table of a run. `named`: it has the table's own name, for statements that do not know of it. */
export const make = (runId: string, at: number, live: LiveTable, named: boolean): ShadowTable => {
  const generated = new Set(live.columns.filter(({ isGenerated }) => isGenerated).map(({ name }) => name))
  const there = new Set(live.columns.map(({ name }) => name))
  const columns = live.table.columns.filter(({ name }) => there.has(name) && !generated.has(name))
  return {
    live,
    rows: named ? `${quote(shadowSchema)}.${quote(live.table.name)}` : nameOf(runId, `${at}_rows`),
    want: nameOf(runId, `${at}_want`),
    kept: nameOf(runId, `${at}_kept`),
    touched: nameOf(runId, `${at}_touched`),
    touch: nameOf(runId, `${at}_touch`),
    columns,
    defaulted: new Set(columns.filter((column) => column.default !== undefined).map(({ name }) => name)),
    keys: live.table.primaryKey,
    isNamed: named
  }
}

/** Names of columns, each behind its table where one is given. */
export const list = (names: ReadonlyArray<string>, of?: string): string =>
  names.map((name) => (of === undefined ? quote(name) : `${of}.${quote(name)}`)).join(", ")

export const namesOf = ({ columns }: ShadowTable): ReadonlyArray<string> => columns.map(({ name }) => name)

/** Whether two rows have one key. */
export const sameKey = ({ keys }: ShadowTable, a: string, b: string): string =>
  keys.map((name) => `${a}.${quote(name)} = ${b}.${quote(name)}`).join(" AND ")

/** The value that a live row is to have: where the events give none for a column with a default, the one that it has. */
const wanted = ({ defaulted }: ShadowTable, name: string, want: string, live: string): string =>
  defaulted.has(name) ? `coalesce(${want}.${quote(name)}, ${live}.${quote(name)})` : `${want}.${quote(name)}`

/** Whether the bytes of a live row are others than are wanted. */
export const differs = (shadow: ShadowTable, want: string, live: string): string => {
  const names = namesOf(shadow)
  // The operator would take rows apart, and compare column by column.
  return `record_image_ne(ROW(${list(names, live)}), ROW(${names.map((name) => wanted(shadow, name, want, live)).join(", ")}))`
}

/** The assignments of an update; a column that is always an identity takes none, and is the same where it is in the key. */
export const assignments = (shadow: ShadowTable, want: string, live: string): string =>
  namesOf(shadow)
    .filter((name) => !shadow.keys.includes(name))
    .map((name) => `${quote(name)} = ${wanted(shadow, name, want, live)}`)
    .join(", ")

/** The values of a new live row: a column with a default that the events do not give has the date of the first event. */
export const fresh = (shadow: ShadowTable, want: string): string =>
  namesOf(shadow)
    .map((name) =>
      shadow.defaulted.has(name) ? `coalesce(${want}.${quote(name)}, ${want}.es_ops_first)` : `${want}.${quote(name)}`
    )
    .join(", ")

/** Rows that are given as one JSON parameter, with the types of their columns. */
export const given = ({ columns }: ShadowTable, more: string): string =>
  `json_to_recordset($1::json) AS g (${columns.map(({ name, type }) => `${quote(name)} ${type}`).join(", ")}${more === "" ? "" : `, ${more}`})`

/** Their values. No value for a column of JSON that takes no null is the null of JSON. */
export const givenValues = ({ columns, defaulted }: ShadowTable): string =>
  columns
    .map(({ name, nullable, type }) =>
      type === "jsonb" && nullable !== true && !defaulted.has(name)
        ? `coalesce(g.${quote(name)}, 'null')`
        : `g.${quote(name)}`
    )
    .join(", ")

/** Keys that are given as one JSON parameter. */
export const givenKeys = ({ columns, keys }: ShadowTable): string =>
  `json_to_recordset($1::json) AS g (${columns
    .filter(({ name }) => keys.includes(name))
    .map(({ name, type }) => `${quote(name)} ${type}`)
    .join(", ")})`

/** A stored row of an alias as JSON: what JavaScript has another idea of is text. */
export const shown = ({ columns }: ShadowTable, of: string): string =>
  columns.map(({ name, type }) => `${shownValue(`${of}.${quote(name)}`, type)} AS ${quote(name)}`).join(", ")

const shownValue = (column: string, type: Column["type"]): string => {
  if (type === "bigint") return `${column}::text`
  if (type !== "timestamptz") return column
  return `CASE WHEN ${column} >= '0001-01-01 UTC' AND ${column} < '10000-01-01 UTC'
    THEN to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') ELSE ${column}::text END`
}

/** The key of a row as one JSON text. */
export const keyJson = (shadow: ShadowTable, of: string): string =>
  `json_build_object(${shadow.keys
    .map((name) => `${literal(name)}, ${shownValue(`${of}.${quote(name)}`, typeOf(shadow, name))}`)
    .join(", ")})::text`

const typeOf = ({ columns }: ShadowTable, name: string): Column["type"] =>
  columns.find((column) => column.name === name)?.type ?? "text"

/** What creates the tables beside a live one; nothing is there yet. The rows have no index before they are loaded. */
export const creation = (shadow: ShadowTable, comment: string): ReadonlyArray<string> => {
  const { keys, kept, live, rows, want } = shadow
  const columns = list(namesOf(shadow))
  const beside = (name: string, select: string) => [
    `CREATE UNLOGGED TABLE ${name} WITH (autovacuum_enabled = false) AS SELECT ${select} FROM ${live.name} WITH NO DATA`,
    `COMMENT ON TABLE ${name} IS ${literal(comment)}`
  ]
  return [
    ...(shadow.isNamed
      ? likeLive(shadow, comment)
      : beside(rows, `${columns}, NULL::timestamptz AS es_ops_first, NULL::bigint AS es_ops_at`)),
    ...beside(
      want,
      `${columns}, NULL::timestamptz AS es_ops_first, true AS es_ops_present, true AS es_ops_there, false AS es_ops_ghost, false AS es_ops_done`
    ),
    `ALTER TABLE ${want} ADD PRIMARY KEY (${list(keys)})`,
    ...beside(kept, list(keys)),
    `ALTER TABLE ${kept} ADD PRIMARY KEY (${list(keys)})`
  ]
}

/** A table that statements take for the live one: a column with a default shows whether it was given a value. */
const likeLive = ({ defaulted, live, rows }: ShadowTable, comment: string): ReadonlyArray<string> => [
  `CREATE UNLOGGED TABLE ${rows} (LIKE ${live.name} INCLUDING ALL)`,
  `COMMENT ON TABLE ${rows} IS ${literal(comment)}`,
  ...[...defaulted].flatMap((name) => [
    `ALTER TABLE ${rows} ALTER COLUMN ${quote(name)} DROP NOT NULL`,
    `ALTER TABLE ${rows} ALTER COLUMN ${quote(name)} DROP DEFAULT`
  ]),
  `ALTER TABLE ${rows} ADD COLUMN es_ops_first timestamptz DEFAULT now()`
]
