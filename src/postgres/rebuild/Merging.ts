/**
 * The merge: live rows are brought to what is wanted of them, with three statements. What is the same is not sent.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { keyText } from "../../event/ReadTables.js"
import type { Key } from "../../event/Table.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import type { KeyRow } from "../../projection/KeyFold.js"
import { NotRebuildable } from "../../projection/RebuildProblem.js"
import type { RowCounts } from "../../projection/RebuildReport.js"
import { PgSql, rows } from "../client/PgSql.js"
import { quote } from "../client/SqlText.js"
import { KeyRow as KeyJsonRow } from "./DeadLetters.js"
import { send } from "./Shadow.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"
import {
  assignments,
  differs,
  fresh,
  given,
  givenKeys,
  givenValues,
  keyJson,
  list,
  namesOf,
  sameKey
} from "./ShadowTable.js"
import * as Stuck from "./Stuck.js"

const extra = "es_ops_first timestamptz, es_ops_present boolean"

/** A row as it is sent: a key without a row has its key alone. */
const sent = (table: ShadowTable, each: KeyRow) => ({
  ...each.key,
  ...ShadowRows.sent(table, each),
  es_ops_present: Option.isSome(each.row)
})

/** Writes down what keys are to have, in place of what was written down of them. */
export const want = (table: ShadowTable, all: ReadonlyArray<KeyRow>): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.forEach(
    Arr.chunksOf(all, 10_000),
    (some) => {
      const columns = [...namesOf(table), "es_ops_first", "es_ops_present"]
      return count(
        `INSERT INTO ${table.want} (${list(columns)}, es_ops_there, es_ops_ghost, es_ops_done)
          SELECT ${givenValues(table)}, g.es_ops_first, g.es_ops_present, true, false, false FROM ${given(table, extra)}
          ON CONFLICT (${list(table.keys)}) DO UPDATE SET ${columns.map((name) => `${quote(name)} = EXCLUDED.${quote(name)}`).join(", ")}, es_ops_ghost = false
          RETURNING 1`,
        [JSON.stringify(some.map((each) => sent(table, each)))]
      )
    },
    { discard: true }
  )

/** Brings the live rows to what is written down. Nobody else may write meanwhile. */
export const merge = (projection: string, table: ShadowTable) =>
  Effect.gen(function* () {
    yield* refuseReferred(projection, table, `NOT w.es_ops_present`)
    const from = `${table.want} w WHERE ${sameKey(table, "l", "w")}`
    const deleted = yield* count(`DELETE FROM ${table.live.name} l USING ${from} AND NOT w.es_ops_present RETURNING 1`)
    const changed = `w.es_ops_present AND ${differs(table, "w", "l")}`
    const updated = yield* update(projection, table, changed)
    const inserted = yield* count(
      `INSERT INTO ${table.live.name} (${list(namesOf(table))}) OVERRIDING SYSTEM VALUE SELECT ${fresh(table, "w")} FROM ${table.want} w
        WHERE w.es_ops_present AND NOT EXISTS (SELECT FROM ${table.live.name} l WHERE ${sameKey(table, "l", "w")}) RETURNING 1`
    )
    const counts: RowCounts = {
      inserted: inserted - updated.replaced,
      updated: updated.inPlace + updated.replaced,
      deleted
    }
    return counts
  })

/** Changes rows in place; rows that exchange unique values cannot be, and are deleted, to be inserted with the new ones. */
const update = (projection: string, table: ShadowTable, changed: string) =>
  Effect.gen(function* () {
    const set = assignments(table, "w", "l")
    if (set === "") return { inPlace: 0, replaced: 0 }
    const inPlace = count(
      `UPDATE ${table.live.name} l SET ${set} FROM ${table.want} w WHERE ${sameKey(table, "l", "w")} AND ${changed} RETURNING 1`
    )
    const isUnique = table.live.uniques > 0
    if (isUnique || hasFixedIdentity(table)) {
      const tried = hasFixedIdentity(table) ? Option.none<number>() : yield* Stuck.unlessStuck(inPlace)
      if (Option.isNone(tried)) return { inPlace: 0, replaced: yield* replace(projection, table, changed) }
      return { inPlace: tried.value, replaced: 0 }
    }
    return { inPlace: yield* inPlace, replaced: 0 }
  })

/** Deletes the rows that change, and keeps of them the values that the events do not give. */
const replace = (projection: string, table: ShadowTable, changed: string) =>
  Effect.gen(function* () {
    yield* refuseReferred(projection, table, changed)
    const gone = `DELETE FROM ${table.live.name} l USING ${table.want} w WHERE ${sameKey(table, "l", "w")} AND ${changed}`
    const kept = [...table.defaulted].filter((name) => !table.keys.includes(name))
    if (kept.length === 0) return yield* count(`${gone} RETURNING 1`)
    return yield* count(
      `UPDATE ${table.want} w SET ${kept.map((name) => `${quote(name)} = coalesce(w.${quote(name)}, g.${quote(name)})`).join(", ")}
      FROM g WHERE ${sameKey(table, "w", "g")} RETURNING 1`,
      [],
      `g AS (${gone} RETURNING ${list([...table.keys, ...kept], "l")}), `
    )
  })

/** A column that is always an identity takes no value in an update. */
const hasFixedIdentity = ({ columns, keys, live }: ShadowTable): boolean =>
  live.columns.some(
    ({ identity, name }) => identity === "a" && !keys.includes(name) && columns.some((column) => column.name === name)
  )

/** Fails where rows would be deleted that another table points at: they would go with them, or keep them. */
const refuseReferred = (projection: string, table: ShadowTable, condition: string) =>
  Effect.forEach(
    table.live.referrers,
    ({ columns, name, ours, table: other }) =>
      Effect.gen(function* () {
        const points = ours.map((column, at) => `r.${quote(columns[at] ?? "")} = l.${quote(column)}`).join(" AND ")
        const found = yield* count(
          `SELECT 1 FROM ${table.live.name} l JOIN ${table.want} w ON ${sameKey(table, "l", "w")} JOIN ${other} r ON ${points}
          WHERE ${condition}`
        )
        if (found > 0)
          return yield* new NotRebuildable({
            projection,
            reasons: [
              `a merge would delete ${found} row${found === 1 ? "" : "s"} of ${table.live.table.name} that the foreign key ${name} of ${other} points at`
            ]
          })
      }),
    { discard: true }
  )

/** What is done to rows that are corrected one by one, while others write. */
export interface Corrections {
  /** Whether missing rows are added, and those that the events do not give removed. */
  readonly isComplete: boolean
}

/** Locks the live rows of keys until the transaction ends, and answers with the keys of those that are there. */
export const lock = (table: ShadowTable, keys: NonEmptyReadonlyArray<Key>) =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(
        `SELECT ${keyJson(table, "l")} AS key FROM ${table.live.name} l JOIN ${givenKeys(table)} ON ${sameKey(table, "l", "g")}
        ORDER BY ${list(table.keys, "l")} FOR UPDATE OF l`,
        [JSON.stringify(keys)]
      )
      .pipe(rows("locking rows", KeyJsonRow))
  ).pipe(Effect.map((found) => new Set(found.map(({ key }) => keyText(table.live.table, key)))))

/** Brings rows to what they are to be while others write: of those that are there, only locked ones are touched. */
export const correct = (
  table: ShadowTable,
  locked: ReadonlySet<string>,
  all: ReadonlyArray<KeyRow>,
  { isComplete }: Corrections
) =>
  Effect.gen(function* () {
    const isLocked = ({ key }: KeyRow) => locked.has(keyText(table.live.table, key))
    const rowsOf = (some: ReadonlyArray<KeyRow>) => [JSON.stringify(some.map((each) => sent(table, each)))]
    const source = `(SELECT ${givenColumns(table)}, g.es_ops_first FROM ${given(table, extra)}) w`
    const set = assignments(table, "w", "l")
    const changed = all.filter((each) => Option.isSome(each.row) && isLocked(each))
    const updated =
      changed.length === 0 || set === ""
        ? 0
        : yield* count(
            `UPDATE ${table.live.name} l SET ${set} FROM ${source} WHERE ${sameKey(table, "l", "w")} AND ${differs(table, "w", "l")} RETURNING 1`,
            rowsOf(changed)
          )
    const gone = all.filter((each) => Option.isNone(each.row) && isLocked(each))
    const deleted =
      gone.length === 0 || !isComplete
        ? 0
        : yield* count(
            `DELETE FROM ${table.live.name} l USING ${givenKeys(table)} WHERE ${sameKey(table, "l", "g")} RETURNING 1`,
            [JSON.stringify(gone.map(({ key }) => key))]
          )
    const missing = all.filter((each) => Option.isSome(each.row) && !isLocked(each))
    const inserted =
      missing.length === 0 || !isComplete
        ? 0
        : yield* count(
            `INSERT INTO ${table.live.name} (${list(namesOf(table))}) OVERRIDING SYSTEM VALUE SELECT ${fresh(table, "w")} FROM ${source}
            ON CONFLICT (${list(table.keys)}) DO NOTHING RETURNING 1`,
            rowsOf(missing)
          )
    return { inserted, updated, deleted }
  })

/** Brings locked rows to what they are to be as a merge does, which exchanges unique values: those are written down first. */
export const mergeOnly = (projection: string, table: ShadowTable, all: ReadonlyArray<KeyRow>) =>
  Effect.gen(function* () {
    yield* send("correcting rows", [`DELETE FROM ${table.want}`])
    yield* want(table, all)
    return yield* merge(projection, table)
  })

/** Those of these rows that differ from the live ones. */
export const wrong = (table: ShadowTable, all: ReadonlyArray<KeyRow>) =>
  Effect.gen(function* () {
    const sql = yield* PgSql
    const found: Array<Key> = []
    for (const some of Arr.chunksOf(all, 10_000)) {
      const [key = ""] = table.keys
      const source = `(SELECT ${givenColumns(table)}, g.es_ops_first, g.es_ops_present FROM ${given(table, extra)}) w`
      const differing = yield* sql
        .unsafe(
          `SELECT ${keyJson(table, "w")} AS key FROM ${source} LEFT JOIN ${table.live.name} l ON ${sameKey(table, "l", "w")}
          WHERE w.es_ops_present <> (l.${quote(key)} IS NOT NULL) OR (w.es_ops_present AND ${differs(table, "w", "l")})`,
          [JSON.stringify(some.map((each) => sent(table, each)))]
        )
        .pipe(rows("comparing rows", KeyJsonRow))
      found.push(...differing.map(({ key }) => key))
    }
    return found
  })

/** The given columns in the types that the live table has, so that their bytes can be compared. */
const givenColumns = (table: ShadowTable): string => {
  const values = givenValuesOf(table)
  return namesOf(table)
    .map((name, at) => {
      const type = table.live.columns.find((column) => column.name === name)?.type ?? "text"
      return `(${values[at]})::${type} AS ${quote(name)}`
    })
    .join(", ")
}

const givenValuesOf = (table: ShadowTable): ReadonlyArray<string> =>
  table.columns.map((column) => givenValues({ ...table, columns: [column] }))

const Counted = Schema.Struct({ count: Schema.NumberFromString })

/** How many rows a statement gives; `before`: what it reads from. */
const count = (
  statement: string,
  params: ReadonlyArray<unknown> = [],
  before = ""
): Effect.Effect<number, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(`WITH ${before}u AS (${statement}) SELECT count(*)::text AS count FROM u`, params)
      .pipe(rows("merging", Counted))
  ).pipe(Effect.map(([found]) => found?.count ?? 0))
