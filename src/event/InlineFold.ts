/**
 * The inline apply of a projection's pure functions: rows are loaded with their keys locked, folded, and written with one statement a kind.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event } from "./Event.js"
import type { Fold, FoldError, Rows } from "./FoldDefinition.js"
import type { UniqueTaken } from "./ReadTables.js"
import { keyText, ReadTables } from "./ReadTables.js"
import type { Key, StoredRow } from "./Table.js"
import type { Rejection } from "./WriteHandler.js"
import { reject } from "./WriteHandler.js"

type Apply = (
  events: NonEmptyReadonlyArray<Event>
) => Effect.Effect<void, Rejection | FoldError | DatabaseError, ReadTables>

/** The events of one key, in the order of their append. */
interface Group {
  readonly key: Key
  readonly events: ReadonlyArray<Event>
}

/** Folds events into the rows of their keys. */
export const fold =
  (definition: Fold): Apply =>
  (events) =>
    Effect.gen(function* () {
      const tables = yield* ReadTables
      const groups = yield* groupsOf(definition, events)
      const [begun, loaded] = Arr.partition(groups, (group) => !isNew(definition, group))
      const taken = yield* foldNew(tables, definition, begun)
      const rest = [...loaded, ...taken]
      if (Arr.isNonEmptyReadonlyArray(rest)) yield* foldLoaded(tables, definition, rest)
    }).pipe(Effect.catchTag("UniqueTaken", conflict))

/** Puts the rows that events give. */
export const rows =
  (definition: Rows): Apply =>
  (events) =>
    Effect.gen(function* () {
      const given: Array<StoredRow> = []
      for (const event of events) given.push(...(yield* definition.rowsOf(event)))
      if (Arr.isNonEmptyReadonlyArray(given)) yield* (yield* ReadTables).put(definition.table, given)
    }).pipe(Effect.catchTag("UniqueTaken", conflict))

const conflict = (taken: UniqueTaken) => reject("conflict", taken.message)

const groupsOf = (definition: Fold, events: ReadonlyArray<Event>): Either.Either<ReadonlyArray<Group>, FoldError> => {
  const groups = new Map<string, { readonly key: Key; readonly events: Array<Event> }>()
  for (const event of events) {
    const key = definition.keyOf(event)
    if (Either.isLeft(key)) return Either.left(key.left)
    const text = keyText(definition.table, key.right)
    const group = groups.get(text) ?? { key: key.right, events: [] }
    group.events.push(event)
    groups.set(text, group)
  }
  return Either.right([...groups.values()])
}

/** Whether the row cannot be there yet: these are all events of an aggregate whose id is the key. */
const isNew = ({ byAggregate }: Fold, { events }: Group): boolean => byAggregate && events[0]?.version === 1

/** The row that a key's events make of `row`. */
const folded = (
  definition: Fold,
  { events, key }: Group,
  row: Option.Option<StoredRow>
): Either.Either<Option.Option<StoredRow>, FoldError> =>
  Either.flatMap(definition.begin(key, row), (folding): Either.Either<Option.Option<StoredRow>, FoldError> => {
    for (const event of events) {
      const added = folding.add(event)
      if (Either.isLeft(added)) return Either.left(added.left)
    }
    return folding.row()
  })

/** Adds the rows of new keys. Those that others had first are answered: they are to be loaded and folded. */
const foldNew = (tables: ReadTables["Type"], definition: Fold, groups: ReadonlyArray<Group>) =>
  Effect.gen(function* () {
    const made: Array<StoredRow> = []
    for (const group of groups) {
      const row = yield* folded(definition, group, Option.none())
      if (Option.isSome(row)) made.push(row.value)
    }
    if (!Arr.isNonEmptyReadonlyArray(made)) return []
    const taken = yield* tables.add(definition.table, made)
    const texts = new Set(taken.map((key) => keyText(definition.table, key)))
    return groups.filter(({ key }) => texts.has(keyText(definition.table, key)))
  })

/** Folds into rows that are there, or that another may add meanwhile: a row that is missing has nothing to lock. */
const foldLoaded = (
  tables: ReadTables["Type"],
  definition: Fold,
  groups: NonEmptyReadonlyArray<Group>
): Effect.Effect<void, FoldError | UniqueTaken | DatabaseError> =>
  Effect.gen(function* () {
    const { table } = definition
    const stored = yield* tables.load(
      table,
      Arr.map(groups, ({ key }) => key)
    )
    const byKey = new Map(stored.map((row) => [keyText(table, row), row]))
    const [missing, found] = Arr.partition(groups, ({ key }) => byKey.has(keyText(table, key)))
    const changed: Array<StoredRow> = []
    const gone: Array<Key> = []
    for (const group of found) {
      const row = yield* folded(definition, group, Option.fromNullable(byKey.get(keyText(table, group.key))))
      if (Option.isSome(row)) changed.push(row.value)
      else gone.push(group.key)
    }
    if (Arr.isNonEmptyReadonlyArray(gone)) yield* tables.remove(table, gone)
    if (Arr.isNonEmptyReadonlyArray(changed)) yield* tables.put(table, changed)
    const again = yield* foldNew(tables, definition, missing)
    if (Arr.isNonEmptyReadonlyArray(again)) yield* foldLoaded(tables, definition, again)
  })
