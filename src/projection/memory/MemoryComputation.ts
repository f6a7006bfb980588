/**
 * The rows of a target as its events give them, and how the live ones differ from them. Pure.
 */
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import type { Event } from "../../event/Event.js"
import type { Fold, FoldError, Rows } from "../../event/FoldDefinition.js"
import { keyOf, keyText } from "../../event/ReadTables.js"
import * as StoredValue from "../../event/StoredValue.js"
import type { Key, StoredRow, Table } from "../../event/Table.js"
import { DatabaseError } from "../../operation/OperationError.js"
import { isSameJson } from "../../operation/Run.js"
import * as KeyFold from "../KeyFold.js"
import type { DifferingRows, TableDiff } from "../RebuildReport.js"

/** A row as events give it, and the date of the first of them. */
export interface Computed {
  readonly row: StoredRow
  readonly first: string | undefined
}

/** What the events of a table give. */
export interface Computation {
  readonly rows: ReadonlyMap<string, Computed>
  /** The keys that keep their live rows. */
  readonly kept: ReadonlySet<string>
  readonly poison: ReadonlyArray<KeyFold.Poison>
}

/** Folds all events. Those of `kept` keys are left out; so are those that cannot be read or folded, and what follows for their keys. */
export const compute = (work: Fold | Rows, events: ReadonlyArray<Event>, kept: Set<string>): Computation => {
  const found = KeyFold.partsOf(work, events)
  const poison = found.poison.map((one) => ({
    ...one,
    key: Option.orElse(one.key, () => aggregateKey(work, one.event))
  }))
  for (const { key } of poison) if (Option.isSome(key)) kept.add(keyText(work.table, key.value))
  const states = new KeyFold.KeyStates(work, kept)
  const unfolded = states.add(found.parts)
  const { failed, rows } = states.rows()
  const refused = failed.flatMap(([{ at, key }, error]) => {
    const event = events.find(({ id }) => id === at)
    return event === undefined ? [] : [{ event, key: Option.some(key), error }]
  })
  return {
    rows: new Map(
      rows.flatMap(({ first, key, row }) =>
        Option.isSome(row) ? [[keyText(work.table, key), { row: row.value, first }] as const] : []
      )
    ),
    kept,
    poison: [...poison, ...unfolded, ...refused]
  }
}

/** The keys of events, as far as they can be told, by their texts. */
export const keysOf = (work: Fold | Rows, events: ReadonlyArray<Event>): Set<string> => {
  const keys = KeyFold.keysOf(KeyFold.partsOf(work, events))
  return new Set([
    ...keys.keys(),
    ...events.flatMap((event) => Option.toArray(aggregateKey(work, event))).map((key) => keyText(work.table, key))
  ])
}

/** Computed rows that a table does not take together. */
export const notStored = (table: Table, reason: string): DatabaseError =>
  DatabaseError.because(`rebuilding ${table.name}`, reason)

/** The key of an event that cannot be read is known where it is the aggregate. */
const aggregateKey = (work: Fold | Rows, { aggregateId }: Event): Option.Option<Key> => {
  const [column] = work.table.primaryKey
  return work._tag === "Fold" && work.byAggregate && column !== undefined
    ? Option.some({ [column]: aggregateId })
    : Option.none()
}

/** The first failure, which ends a rebuild that leaves nothing out. */
export const firstFailure = ({ poison }: Computation): Option.Option<FoldError> =>
  Option.map(
    Option.fromNullable(poison.toSorted((a, b) => (a.event.id < b.event.id ? -1 : 1))[0]),
    ({ error }) => error
  )

/** How live rows differ. */
export interface Differences {
  readonly missing: ReadonlyArray<StoredRow>
  readonly different: ReadonlyArray<StoredRow>
  /** Live rows that the events do not give, and whether there is no event at all of their keys. */
  readonly surplus: ReadonlyArray<{ readonly key: Key; readonly isGhost: boolean }>
}

/** Compares; `hasEvents` tells of a key without a row whether there are events of it. */
export const compare = (
  table: Table,
  live: ReadonlyArray<StoredRow>,
  { kept, rows }: Computation,
  hasEvents: (key: Key) => boolean
): Differences => {
  const there = new Map(live.map((row) => [keyText(table, row), row]))
  const computed = [...rows].filter(([text]) => !kept.has(text))
  return {
    missing: computed.flatMap(([text, { first, row }]) => (there.has(text) ? [] : [complete(table, row, first)])),
    different: computed.flatMap(([text, { row }]) => {
      const before = there.get(text)
      return before === undefined || isSame(table, row, before) ? [] : [{ ...before, ...row }]
    }),
    surplus: [...there].flatMap(([text, row]) => {
      const key = keyOf(table, row)
      return rows.has(text) || kept.has(text) ? [] : [{ key, isGhost: !hasEvents(key) }]
    })
  }
}

/** A column with a default that the events do not give has the date of the first event in a new row. */
const complete = (table: Table, row: StoredRow, first: string | undefined): StoredRow => {
  const dated = table.columns.filter((column) => column.default !== undefined && row[column.name] === undefined)
  return { ...Object.fromEntries(dated.map(({ name }) => [name, first])), ...row }
}

/** The columns that the events give, as they would be stored; null where a nullable one is left out. */
const isSame = (table: Table, row: StoredRow, live: StoredRow): boolean =>
  table.columns.every((column) => {
    const value = row[column.name]
    if (value === undefined && column.default !== undefined) return true
    const stored = StoredValue.of(column, value)
    return (
      Either.isRight(stored) &&
      (Equal.equals(stored.right, live[column.name]) || isSameJson(stored.right, live[column.name]))
    )
  })

/** The differences as a report has them. */
export const ofTable = (table: Table, { different, missing, surplus }: Differences): TableDiff => ({
  table: table.name,
  missing: first(missing.map((row) => keyOf(table, row))),
  surplus: first(surplus.map(({ key }) => key)),
  different: first(different.map((row) => keyOf(table, row)))
})

const shown = 20

const first = (keys: ReadonlyArray<Key>): DifferingRows => ({ count: keys.length, keys: keyTexts(keys) })

/** The first keys, each as JSON. */
export const keyTexts = (keys: ReadonlyArray<Key>): ReadonlyArray<string> =>
  keys
    .map((key) => JSON.stringify(key))
    .toSorted()
    .slice(0, shown)
