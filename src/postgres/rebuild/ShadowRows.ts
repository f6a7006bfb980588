/**
 * Rows of a shadow: loaded, added and changed as they are computed.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Event } from "../../event/Event.js"
import type { Key, StoredRow } from "../../event/Table.js"
import type { DatabaseError } from "../../operation/OperationError.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import type { KeyRow } from "../../projection/KeyFold.js"
import { databaseError } from "../client/PgError.js"
import { PgSql, rows } from "../client/PgSql.js"
import { quote } from "../client/SqlText.js"
import * as RowArrays from "./RowArrays.js"
import type { Statement } from "./ShadowEvents.js"
import type { ShadowTable } from "./ShadowTable.js"
import { given, givenKeys, givenValues, list, namesOf, sameKey, shown } from "./ShadowTable.js"

const extra = "es_ops_first timestamptz, es_ops_at bigint"

const filled = (shadow: ShadowTable): string => `${list(namesOf(shadow))}, es_ops_first, es_ops_at`

/** A row as it is sent. */
export const sent = (shadow: ShadowTable, { at, first, row }: KeyRow): StoredRow => ({
  ...Option.getOrUndefined(row),
  ...(shadow.defaulted.size === 0 ? undefined : { es_ops_first: first }),
  ...(at === undefined ? undefined : { es_ops_at: `${at}` })
})

/** A row that is new, with what is known of its events. */
export interface Added {
  readonly row: StoredRow
  /** The date of the first event, where there are columns that the events do not give. */
  readonly first?: string | undefined
  /** The id of the last event. */
  readonly at?: bigint | undefined
}

/** A row that one event gives. */
export const addedBy = ({ defaulted }: ShadowTable, row: StoredRow, event: Event): Added => ({
  row,
  at: event.id,
  first: defaulted.size === 0 ? undefined : dateOf(event)
})

/** Adds rows of keys that are new. */
export const add = (shadow: ShadowTable, added: ReadonlyArray<Added>): Effect.Effect<void, DatabaseError, PgSql> => {
  const statement = adding(shadow, added)
  return statement === undefined ? Effect.void : send(statement.text, statement.params)
}

/** The statement that adds them; none where there are none. */
export const adding = (shadow: ShadowTable, added: ReadonlyArray<Added>): Statement | undefined => {
  if (added.length === 0) return undefined
  const columns = [
    ...shadow.columns.map(({ name, type }) => ({ name, type, of: ({ row }: Added): unknown => row[name] })),
    { name: "es_ops_at", type: "bigint" as const, of: ({ at }: Added): unknown => at },
    ...(shadow.defaulted.size === 0
      ? []
      : [{ name: "es_ops_first", type: "timestamptz" as const, of: ({ first }: Added): unknown => first }])
  ]
  const from = `unnest(${columns.map(({ type }, at) => `$${at + 1}::${type}[]`).join(", ")}) AS g (${list(columns.map(({ name }) => name))})`
  const first = shadow.defaulted.size === 0 ? "NULL" : "g.es_ops_first"
  return {
    text: `INSERT INTO ${shadow.rows} (${filled(shadow)}) SELECT ${givenValues(shadow)}, ${first}, g.es_ops_at FROM ${from}`,
    params: columns.map(({ of, type }) => RowArrays.text(type, added, of))
  }
}

/** Writes rows in place of those of the same keys, and removes those of keys that have none. */
export const put = (shadow: ShadowTable, all: ReadonlyArray<KeyRow>): Effect.Effect<void, DatabaseError, PgSql> => {
  const [gone, there] = Arr.partition(all, ({ row }) => Option.isSome(row))
  const set = [...namesOf(shadow), "es_ops_first", "es_ops_at"].map((name) =>
    shadow.defaulted.has(name)
      ? `${quote(name)} = coalesce(EXCLUDED.${quote(name)}, t.${quote(name)})`
      : `${quote(name)} = EXCLUDED.${quote(name)}`
  )
  const rows = there.map((each) => sent(shadow, each))
  const upsert = `INSERT INTO ${shadow.rows} AS t (${filled(shadow)})
    SELECT ${givenValues(shadow)}, g.es_ops_first, g.es_ops_at FROM ${given(shadow, extra)}
    ON CONFLICT (${list(shadow.keys)}) DO UPDATE SET ${set.join(", ")}`
  return Effect.zipRight(
    rows.length === 0 ? Effect.void : write(upsert, rows),
    remove(
      shadow,
      gone.map(({ key }) => key)
    )
  )
}

/** Removes the rows of keys. */
export const remove = (shadow: ShadowTable, keys: ReadonlyArray<Key>): Effect.Effect<void, DatabaseError, PgSql> =>
  keys.length === 0
    ? Effect.void
    : write(`DELETE FROM ${shadow.rows} t USING ${givenKeys(shadow)} WHERE ${sameKey(shadow, "t", "g")}`, keys)

const Loaded = Schema.Struct({
  row: Schema.parseJson(Schema.Record({ key: Schema.String, value: Schema.Unknown })),
  first: Schema.NullOr(Schema.String)
})

/** The rows of keys that were computed. */
export const load = (shadow: ShadowTable, keys: NonEmptyReadonlyArray<Key>) =>
  Effect.flatMap(PgSql, (sql) =>
    sql
      .unsafe(
        `SELECT row_to_json(r)::text AS row, r.es_ops_first::text AS first
        FROM (SELECT ${shown(shadow, "t")}, t.es_ops_first FROM ${shadow.rows} t JOIN ${givenKeys(shadow)} ON ${sameKey(shadow, "t", "g")}) r`,
        [JSON.stringify(keys)]
      )
      .pipe(
        rows("reading rows of the shadow", Loaded),
        Effect.map((found) =>
          found.map(({ first, row }) => ({ row: withoutUngiven(shadow, row), first: first ?? undefined }))
        )
      )
  )

/** A column with a default that the events did not give a value has none here. */
const withoutUngiven = ({ defaulted }: ShadowTable, row: StoredRow): StoredRow =>
  Object.fromEntries(
    Object.entries(row).filter(([name, value]) => !(name === "es_ops_first" || (value === null && defaulted.has(name))))
  )

/** Notes that keys keep their live rows, whatever was written down of them. */
export const keep = (shadow: ShadowTable, keys: ReadonlyArray<Key>): Effect.Effect<void, DatabaseError, PgSql> =>
  keys.length === 0
    ? Effect.void
    : write(
        `WITH k AS (DELETE FROM ${shadow.want} w USING ${givenKeys(shadow)} WHERE ${sameKey(shadow, "w", "g")})
        INSERT INTO ${shadow.kept} (${list(shadow.keys)}) SELECT ${list(shadow.keys, "g")} FROM ${givenKeys(shadow)} ON CONFLICT DO NOTHING`,
        keys
      )

const write = (text: string, rows: ReadonlyArray<unknown>): Effect.Effect<void, DatabaseError, PgSql> =>
  send(text, [JSON.stringify(rows)])

const send = (text: string, params: ReadonlyArray<string>): Effect.Effect<void, DatabaseError, PgSql> =>
  Effect.flatMap(PgSql, (sql) =>
    Effect.asVoid(Effect.mapError(sql.unsafe(text, params), databaseError("writing rows of the shadow")))
  )

/** The date of an event, as it is sent. */
export const dateOf = ({ createdAt }: Event): string => RecordedTime.format(createdAt)
