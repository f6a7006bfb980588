/**
 * Refolding computes the rows of aggregates anew, from all events that count, and writes those that differ: after what changed events without
 * appending any, or may have been overtaken.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { isDeepStrictEqual } from "node:util"
import type { DatabaseError } from "../operation/OperationError.js"
import * as RecordedTime from "../operation/RecordedTime.js"
import type { Event } from "./Event.js"
import { EventFeed } from "./EventFeed.js"
import type { Definition, Fold, FoldError, FoldFailed } from "./FoldDefinition.js"
import type { Projection } from "./Projection.js"
import type { UniqueTaken } from "./ReadTables.js"
import { keyText, ReadTables } from "./ReadTables.js"
import type { Key, StoredRow, Table } from "./Table.js"

/** A projection, as far as its rows can be computed without `apply`. */
export type Declared = Pick<Projection<unknown, unknown>, "name" | "events" | "archived" | "tables" | "definition">

/** A projection whose rows are refolded: the key of each is the id of its aggregate. */
export interface Refoldable extends Declared {
  readonly definition: Fold
}

/** How many rows were written, and how many removed. */
export interface Refolded {
  readonly written: number
  readonly removed: number
}

/** What refolding can fail with: an event cannot be folded, or another row has what a row is to have. */
export type RefoldError = FoldError | UniqueTaken | DatabaseError

/** Whether the events of an aggregate are all that its row needs. */
export const isRefoldable = (projection: Declared): projection is Refoldable =>
  isByAggregate(projection.definition) && projection.definition.byAggregate

const isByAggregate = (definition: Definition | undefined): definition is Fold => definition?._tag === "Fold"

/**
 * Refolds the rows of these aggregates, in the transaction of the fiber. Rows are locked first and events read after that, so that what a writer
 * did before it let go of a row is counted. Events of archived streams are left out, unless the projection keeps them.
 */
export const refold = (
  projection: Refoldable,
  aggregateIds: NonEmptyReadonlyArray<string>
): Effect.Effect<Refolded, RefoldError, EventFeed | ReadTables> =>
  Effect.gen(function* () {
    const { definition, events: types } = projection
    const { table } = definition
    const tables = yield* ReadTables
    const feed = yield* EventFeed
    const ids = Arr.dedupe(Arr.map(aggregateIds, (id) => id.toLowerCase()))
    const keys = Arr.map(ids, (id) => keyOfAggregate(table, id))
    const stored = new Map((yield* tables.load(table, keys)).map((row) => [keyText(table, row), row]))
    const events = byAggregate(
      yield* feed.ofAggregates({ types, withoutArchived: projection.archived !== "keep" }, ids)
    )
    const changed: Array<StoredRow> = []
    const missing: Array<StoredRow> = []
    const gone: Array<Key> = []
    for (const id of ids) {
      const key = keyOfAggregate(table, id)
      const found = stored.get(keyText(table, key))
      const row = yield* folded(definition, key, events.get(id) ?? [])
      if (Option.isNone(row)) {
        if (found !== undefined) gone.push(key)
      } else if (found === undefined) missing.push(row.value)
      else if (!isSame(definition, key, found, row.value)) changed.push(row.value)
    }
    if (Arr.isNonEmptyReadonlyArray(gone)) yield* tables.remove(table, gone)
    if (Arr.isNonEmptyReadonlyArray(changed)) yield* tables.put(table, changed)
    const taken = Arr.isNonEmptyReadonlyArray(missing)
      ? yield* tables.add(
          table,
          Arr.map(missing, (row) => withDefaults(table, row, events.get(keyId(table, row))))
        )
      : []
    const again = taken.map((key) => keyId(table, key))
    // Another writer added these rows meanwhile: they are locked, and folded with what it appended.
    const rest = Arr.isNonEmptyReadonlyArray(again) ? yield* refold(projection, again) : nothing
    return {
      written: changed.length + missing.length - taken.length + rest.written,
      removed: gone.length + rest.removed
    }
  })

/** Nothing was written. */
export const nothing: Refolded = { written: 0, removed: 0 }

const keyOfAggregate = (table: Table, aggregateId: string): Key =>
  Object.fromEntries(table.primaryKey.map((column): readonly [string, string] => [column, aggregateId]))

/** The aggregate whose row it is. */
const keyId = ({ primaryKey: [column = ""] }: Table, row: StoredRow): string => String(row[column]).toLowerCase()

/** The events by their aggregates: those of one stream in the order of its versions, those of several by their ids, as they were appended. */
const byAggregate = (events: ReadonlyArray<Event>): ReadonlyMap<string, ReadonlyArray<Event>> => {
  const groups = new Map<string, Array<Event>>()
  for (const event of events) {
    const id = event.aggregateId.toLowerCase()
    const group = groups.get(id) ?? []
    group.push(event)
    groups.set(id, group)
  }
  for (const group of groups.values()) {
    const isOneStream = group.every(({ tenantId }) => tenantId === group[0]?.tenantId)
    group.sort((a, b) => (isOneStream ? a.version - b.version : a.id < b.id ? -1 : 1))
  }
  return groups
}

/** The row that the events make of none. */
const folded = (
  definition: Fold,
  key: Key,
  events: ReadonlyArray<Event>
): Either.Either<Option.Option<StoredRow>, FoldError> =>
  Either.flatMap(definition.begin(key, Option.none()), (folding) => {
    for (const event of events) {
      const added = folding.add(event)
      if (Either.isLeft(added)) return Either.left(added.left)
    }
    return events.length === 0 ? Either.right(Option.none<StoredRow>()) : widened(folding.row())
  })

const widened = (
  row: Either.Either<Option.Option<StoredRow>, FoldFailed>
): Either.Either<Option.Option<StoredRow>, FoldError> => row

/** Whether a stored row has what the fold gives, both as the Schema of the rows writes it; other columns are not the fold's. */
const isSame = (definition: Fold, key: Key, stored: StoredRow, row: StoredRow): boolean => {
  const again = Either.flatMap(definition.begin(key, Option.some(stored)), (folding) => folding.row())
  if (Either.isLeft(again) || Option.isNone(again.right)) return false
  const kept = again.right.value
  return Object.keys(row).every((column) => isDeepStrictEqual(row[column], kept[column]))
}

/** A column that has a default and that the fold does not give has, in a new row, the date of the first event. */
const withDefaults = (table: Table, row: StoredRow, events: ReadonlyArray<Event> = []): StoredRow => {
  const [first] = events
  if (first === undefined) return row
  const dates = table.columns
    .filter((column) => column.default === "now" && row[column.name] === undefined)
    .map(({ name }) => [name, RecordedTime.format(first.createdAt)])
  return { ...row, ...Object.fromEntries(dates) }
}
