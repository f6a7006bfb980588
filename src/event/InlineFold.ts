/**
 * The inline apply of a projection's pure functions: rows are loaded with their keys locked, folded, and written with one statement a kind.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { isDeepStrictEqual } from "node:util"
import { DatabaseError } from "../operation/OperationError.js"
import { streamKey } from "./AppendRules.js"
import type { Event, StreamId } from "./Event.js"
import { EventFeed } from "./EventFeed.js"
import type { Fold, FoldError, Folding, Rows } from "./FoldDefinition.js"
import type { UniqueTaken } from "./ReadTables.js"
import { keyText, ReadTables } from "./ReadTables.js"
import type { Column, Key, StoredRow, Table } from "./Table.js"
import type { Rejection } from "./WriteHandler.js"
import { reject } from "./WriteHandler.js"

/** Folds events, in the order of their append. */
type Apply<R> = (events: NonEmptyReadonlyArray<Event>) => Effect.Effect<void, Rejection | FoldError | DatabaseError, R>

/** The events of one key, in the order of their append. */
interface Group {
  readonly key: Key
  readonly events: NonEmptyReadonlyArray<Event>
}

/** Folds events into the rows of their keys. `keepsArchived`: whether the rows of archived streams stay. */
export const fold =
  (definition: Fold, keepsArchived: boolean): Apply<ReadTables | EventFeed> =>
  (events) =>
    Effect.gen(function* () {
      const groups = yield* groupsOf(definition, events)
      const [known, begun] = Arr.partition(groups, (group) => isNew(definition, group))
      // What other rows let go of, such as a unique value, is free for the new ones.
      let missing = [...begun, ...(yield* foldKnown(definition, keepsArchived, known))]
      for (let tries = 1; Arr.isNonEmptyReadonlyArray(missing); tries++) {
        if (tries > mostTries) return yield* hidden(definition)
        const taken = yield* foldNew(definition, missing)
        missing = [...(yield* foldKnown(definition, keepsArchived, taken))]
      }
    }).pipe(Effect.catchTag("UniqueTaken", conflict))

/** Puts the rows that events give. */
export const rows =
  (definition: Rows): Apply<ReadTables> =>
  (events) =>
    Effect.gen(function* () {
      const given: Array<StoredRow> = []
      for (const event of events) given.push(...(yield* definition.rowsOf(event)))
      if (Arr.isNonEmptyReadonlyArray(given)) yield* (yield* ReadTables).put(definition.table, given)
    }).pipe(Effect.catchTag("UniqueTaken", conflict))

/** How often a row may be another's when it is added, and gone when it is looked for. */
const mostTries = 10

/** A row that is there and cannot be locked: a policy on updates hides it. */
const hidden = ({ table }: Fold): DatabaseError =>
  DatabaseError.because(
    "projecting events",
    `${table.name} did not store the row as it was sent: look for a trigger, a rule or a row security policy on it`
  )

const conflict = (taken: UniqueTaken) => reject("conflict", taken.message)

/** The events by their keys. */
const groupsOf = (
  definition: Fold,
  events: NonEmptyReadonlyArray<Event>
): Either.Either<ReadonlyArray<Group>, FoldError> => {
  const [first, ...others] = events
  if (others.length === 0) return Either.map(definition.keyOf(first), (key) => [{ key, events }])
  const groups = new Map<string, { readonly key: Key; readonly events: [Event, ...Array<Event>] }>()
  for (const event of events) {
    const key = definition.keyOf(event)
    if (Either.isLeft(key)) return Either.left(key.left)
    const text = keyText(definition.table, key.right)
    const group = groups.get(text)
    if (group === undefined) groups.set(text, { key: key.right, events: [event] })
    else group.events.push(event)
  }
  return Either.right([...groups.values()])
}

/** Whether the row cannot be there yet: these are all events of an aggregate whose id is the key. */
const isNew = ({ byAggregate }: Fold, { events }: Group): boolean => byAggregate && events[0].version === 1

/** Adds the rows of new keys. Those that others had first are answered: their rows are to be loaded. */
const foldNew = (definition: Fold, groups: NonEmptyReadonlyArray<Group>) =>
  Effect.gen(function* () {
    const made: Array<StoredRow> = []
    for (const { events, key } of groups) {
      const row = yield* Either.flatMap(definition.begin(key, Option.none()), (folding) => folded(folding, events))
      if (Option.isSome(row)) made.push(row.value)
    }
    if (!Arr.isNonEmptyReadonlyArray(made)) return []
    const taken = yield* (yield* ReadTables).add(definition.table, made)
    if (taken.length === 0) return []
    const texts = new Set(taken.map((key) => keyText(definition.table, key)))
    return groups.filter(({ key }) => texts.has(keyText(definition.table, key)))
  })

/** Folds into the rows that are there. Those that are not are answered: nothing of them is locked, and another may add them meanwhile. */
const foldKnown = (
  definition: Fold,
  keepsArchived: boolean,
  groups: ReadonlyArray<Group>
): Effect.Effect<ReadonlyArray<Group>, FoldError | UniqueTaken | DatabaseError, ReadTables | EventFeed> =>
  Effect.gen(function* () {
    if (!Arr.isNonEmptyReadonlyArray(groups)) return []
    const { table } = definition
    const tables = yield* ReadTables
    const stored = yield* tables.load(
      table,
      Arr.map(groups, ({ key }) => key)
    )
    const byKey = new Map(stored.map((row) => [keyText(table, row), row]))
    const missing: Array<Group> = []
    const changed: Array<StoredRow> = []
    const gone: Array<Key> = []
    for (const group of groups) {
      const before = byKey.get(keyText(table, group.key))
      if (before === undefined) missing.push(group)
      else {
        const row = yield* refolded(definition, group, before)
        if (Option.isNone(row)) gone.push(group.key)
        else if (isChanged(row.value, before)) changed.push(row.value)
      }
    }
    if (Arr.isNonEmptyReadonlyArray(gone)) yield* tables.remove(table, gone)
    if (Arr.isNonEmptyReadonlyArray(changed)) yield* tables.put(table, changed)
    return keepsArchived ? missing : yield* unarchived(missing)
  })

/** Adds events to a row; gives the row then. */
const folded = (folding: Folding, events: ReadonlyArray<Event>): Either.Either<Option.Option<StoredRow>, FoldError> => {
  for (const event of events) {
    const added = folding.add(event)
    if (Either.isLeft(added)) return Either.left(added.left)
  }
  return folding.row()
}

/** The row that events make of a stored one. What they do not change stays as it is stored, which JavaScript may not be able to say. */
const refolded = (
  definition: Fold,
  { events, key }: Group,
  stored: StoredRow
): Either.Either<Option.Option<StoredRow>, FoldError> =>
  Either.flatMap(definition.begin(key, Option.some(stored)), (folding) => {
    const before = Option.flatten(Either.getRight(folding.row()))
    return Either.map(
      folded(folding, events),
      Option.map((row) =>
        unchangedKept(
          definition.table,
          row,
          Option.getOrElse(before, () => ({})),
          stored
        )
      )
    )
  })

const unchangedKept = (table: Table, row: StoredRow, before: StoredRow, stored: StoredRow): StoredRow =>
  Object.fromEntries(
    table.columns.flatMap((column) => {
      const { name } = column
      if (row[name] === undefined) return []
      if (!isDeepStrictEqual(row[name], before[name])) return [[name, row[name]]]
      return isExact(column) ? [[name, stored[name]]] : []
    })
  )

/** Whether a row says of each value what is stored. Numbers in JSON, and times, may have more digits than JavaScript has room for. */
const isExact = ({ type }: Column): boolean => type !== "jsonb" && type !== "timestamptz"

const isChanged = (row: StoredRow, stored: StoredRow): boolean =>
  Object.entries(row).some(([name, value]) => value !== stored[name])

/** The events of streams that are not archived: with its mark, a stream loses its rows, and an event of it that came too late makes none. */
const unarchived = (groups: ReadonlyArray<Group>): Effect.Effect<ReadonlyArray<Group>, DatabaseError, EventFeed> =>
  Effect.gen(function* () {
    const late = groups.flatMap(({ events }) => (events[0].version > 1 ? events : []))
    const streams = [...new Map(late.map((event) => [nameOf(event), streamOf(event)])).values()]
    if (!Arr.isNonEmptyReadonlyArray(streams)) return groups
    const archived = new Set((yield* (yield* EventFeed).archivedAmong(streams)).map(nameOf))
    return groups.flatMap(({ events, key }) => {
      const counted = events.filter((event) => !archived.has(nameOf(event)))
      return Arr.isNonEmptyReadonlyArray(counted) ? [{ key, events: counted }] : []
    })
  })

const streamOf = ({ aggregateId, tenantId }: StreamId): StreamId => ({ aggregateId, tenantId })

const nameOf = (stream: StreamId): string => streamKey(stream).toLowerCase()
