/**
 * The comparison of what was computed with the live rows: which keys differ, and what their rows are to be.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Key } from "../../event/Table.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { TableDiff } from "../../projection/RebuildReport.js"
import { isByAggregate } from "../../projection/RebuildTarget.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { quote } from "../client/SqlText.js"
import { KeyRow } from "./DeadLetters.js"
import type { Shadow } from "./Shadow.js"
import { send } from "./Shadow.js"
import { typeIn } from "./ShadowEvents.js"
import type { ShadowTable } from "./ShadowTable.js"
import * as Touched from "./Touched.js"
import { differs, givenKeys, keyJson, list, namesOf, sameKey } from "./ShadowTable.js"

/** How many keys differ, and in which way. */
export interface Differences {
  /** Rows that the live table lacks. */
  readonly missing: number
  /** Rows with other values. */
  readonly different: number
  /** Rows that the events do not give. */
  readonly surplus: number
  /** Those of them without any event. */
  readonly ghosts: number
}

/**
 * Writes down the keys that differ with what their rows are to be; keys that keep their live rows are none of them. `most`: some of them are
 * enough where there are more. Inside a batch.
 */
export const compare = (shadow: Shadow, table: ShadowTable, most?: number): Effect.Effect<void, DatabaseError, PgSql> =>
  send(`comparing ${table.live.table.name}`, [
    `TRUNCATE ${table.want}`,
    `INSERT INTO ${table.want} (${writtenDown(table)}) ${differing(shadow, table)}${most === undefined ? "" : ` LIMIT ${most}`}`,
    `ANALYZE ${table.want}`
  ])

const writtenDown = (table: ShadowTable): string =>
  `${list(namesOf(table))}, es_ops_first, es_ops_present, es_ops_there, es_ops_ghost, es_ops_done`

/** Counts what differs, and writes down no more of it than the live rows without any event. Inside a batch. */
export const compareCounting = (
  shadow: Shadow,
  table: ShadowTable
): Effect.Effect<Omit<Differences, "ghosts">, DatabaseError, PgSql> => {
  const all = `(${differing(shadow, table)}) AS d (${writtenDown(table)})`
  return Effect.gen(function* () {
    yield* send(`comparing ${table.live.table.name}`, [
      `TRUNCATE ${table.want}`,
      `INSERT INTO ${table.want} (${writtenDown(table)}) SELECT * FROM ${all} WHERE es_ops_ghost`
    ])
    const { different, missing, surplus } = yield* countIn(all)
    return { different, missing, surplus }
  })
}

/** Compares those keys again that were written since all were compared, and leaves out those that keep their live rows now. Inside a batch. */
export const compareTouched = (shadow: Shadow, table: ShadowTable): Effect.Effect<void, DatabaseError, PgSql> =>
  send(`comparing ${table.live.table.name}`, [
    `DELETE FROM ${table.want} w USING ${table.touched} t WHERE ${sameKey(table, "w", "t")}`,
    `DELETE FROM ${table.want} w USING ${table.kept} k WHERE ${sameKey(table, "w", "k")}`,
    // An event wrote them: none is a ghost.
    `INSERT INTO ${table.want} (${writtenDown(table)}) ${differing(shadow, table, Touched.from(table), "false")}`
  ])

/** The statement that answers with them. `from`: where the computed rows `s` and the live rows `l` are. */
const differing = (
  shadow: Shadow,
  table: ShadowTable,
  from = everything(table),
  ghost = ghostOf(shadow, table)
): string => {
  const [key = ""] = table.keys
  const columns = namesOf(table).map((name) =>
    table.keys.includes(name) ? `coalesce(s.${quote(name)}, l.${quote(name)})` : `s.${quote(name)}`
  )
  const kept = table.keys.map((name) => `k.${quote(name)} = coalesce(s.${quote(name)}, l.${quote(name)})`)
  return `SELECT ${columns.join(", ")}, s.es_ops_first, s.${quote(key)} IS NOT NULL, l.${quote(key)} IS NOT NULL,
      ${ghost}, false
    FROM ${from}
    WHERE ((s.${quote(key)} IS NULL) <> (l.${quote(key)} IS NULL) OR (s.${quote(key)} IS NOT NULL AND ${differs(table, "s", "l")}))
      AND NOT EXISTS (SELECT FROM ${table.kept} k WHERE ${kept.join(" AND ")})`
}

/** Where the key is not the aggregate, every row that was not computed is one. */
const ghostOf = (shadow: Shadow, table: ShadowTable): string => {
  const [key = ""] = table.keys
  return `s.${quote(key)} IS NULL${isByAggregate(shadow.target) ? ` AND NOT ${hasEvents(shadow, table, key)}` : ""}`
}

const everything = (table: ShadowTable): string =>
  `${table.rows} s FULL JOIN ${table.live.name} l ON ${sameKey(table, "s", "l")}`

/** Whether there is an event of the aggregate that is the key of a live row. */
export const hasEvents = (
  { target }: Pick<Shadow, "target">,
  { live }: Pick<ShadowTable, "live">,
  key: string
): string => {
  const column = `l.${quote(key)}`
  const events = (id: string) =>
    `EXISTS (SELECT FROM kumiko_events e WHERE e.aggregate_id = ${id} AND ${typeIn(target.events)})`
  return live.columns.some(({ name, type }) => name === key && type === "uuid")
    ? events(column)
    : `CASE WHEN ${column}::text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN ${events(`${column}::text::uuid`)} ELSE false END`
}

/** Rows that look like ghosts, and have an event above those that were folded, are none. */
export const unghost = (table: ShadowTable, keys: ReadonlyArray<Key>): Effect.Effect<void, DatabaseError, PgSql> =>
  keys.length === 0
    ? Effect.void
    : Effect.flatMap(PgSql, (sql) =>
        sql
          .unsafe(
            `UPDATE ${table.want} w SET es_ops_ghost = false FROM ${givenKeys(table)} WHERE w.es_ops_ghost AND ${sameKey(table, "w", "g")}`,
            [JSON.stringify(keys)]
          )
          .pipe(Effect.mapError(databaseError("looking for rows without events")), Effect.asVoid)
      )

const Counted = Schema.Struct({
  missing: Schema.NumberFromString,
  different: Schema.NumberFromString,
  surplus: Schema.NumberFromString,
  ghosts: Schema.NumberFromString
})

/** What was written down. */
export const count = (table: ShadowTable): Effect.Effect<Differences, DatabaseError, PgSql> => countIn(table.want)

const countIn = (from: string): Effect.Effect<Differences, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(
        `SELECT (count(*) FILTER (WHERE NOT es_ops_there))::text AS missing,
          (count(*) FILTER (WHERE es_ops_present AND es_ops_there))::text AS different,
          (count(*) FILTER (WHERE NOT es_ops_present))::text AS surplus,
          (count(*) FILTER (WHERE es_ops_ghost))::text AS ghosts FROM ${from}`
      )
      .pipe(rows("counting the rows that differ", Counted))
  ).pipe(Effect.map(([found]) => found ?? { missing: 0, different: 0, surplus: 0, ghosts: 0 }))

/** The first keys that are written down and meet a condition, as texts for people. */
export const first = (
  table: ShadowTable,
  condition: string
): Effect.Effect<ReadonlyArray<string>, DatabaseError, PgSql> =>
  Effect.map(page(table, condition, 20), (keys) => keys.map((key) => JSON.stringify(key)))

/** A page of keys that are written down and meet a condition, behind one. */
export const page = (
  table: ShadowTable,
  condition: string,
  limit: number
): Effect.Effect<ReadonlyArray<Key>, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(
        `SELECT ${keyJson(table, "w")} AS key FROM ${table.want} w WHERE ${condition} ORDER BY ${list(table.keys, "w")} LIMIT ${limit}`
      )
      .pipe(rows("reading keys that differ", KeyRow))
  ).pipe(Effect.map((found) => found.map(({ key }) => key)))

/** Live rows without any event stay where they are. */
export const forgetGhosts = (table: ShadowTable): Effect.Effect<void, DatabaseError, PgSql> =>
  send("keeping rows without events", [`DELETE FROM ${table.want} WHERE es_ops_ghost`])

/** These keys are as they should be. */
export const forget = (table: ShadowTable, keys: ReadonlyArray<Key>): Effect.Effect<void, DatabaseError, PgSql> =>
  write(table, `DELETE FROM ${table.want} w USING ${givenKeys(table)} WHERE ${sameKey(table, "w", "g")}`, keys)

/** These keys wait for the cut-over. */
export const putOff = (table: ShadowTable, keys: ReadonlyArray<Key>): Effect.Effect<void, DatabaseError, PgSql> =>
  write(
    table,
    `UPDATE ${table.want} w SET es_ops_done = true FROM ${givenKeys(table)} WHERE ${sameKey(table, "w", "g")}`,
    keys
  )

const write = (table: ShadowTable, text: string, keys: ReadonlyArray<Key>): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(text, [JSON.stringify(keys)])
      .pipe(Effect.mapError(databaseError(`comparing ${table.live.table.name}`)), Effect.asVoid)
  )

/** What differs, with the first keys. */
export const tableDiff = (shadow: Shadow, table: ShadowTable): Effect.Effect<TableDiff, DatabaseError, PgSql> =>
  Effect.gen(function* () {
    yield* compare(shadow, table)
    const { different, missing, surplus } = yield* count(table)
    return {
      table: table.live.table.name,
      missing: { count: missing, keys: yield* first(table, "NOT w.es_ops_there") },
      surplus: { count: surplus, keys: yield* first(table, "NOT w.es_ops_present") },
      different: { count: different, keys: yield* first(table, "w.es_ops_present AND w.es_ops_there") }
    }
  })
