/**
 * Events folded on from the rows of a shadow: in the bulk of keys that are not the aggregate, in rounds, and above them.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Event } from "../../event/Event.js"
import type { Fold, Rows } from "../../event/FoldDefinition.js"
import { keyText } from "../../event/ReadTables.js"
import type { Key } from "../../event/Table.js"
import type { KeyRow, KeyStates, Parts } from "../../projection/KeyFold.js"
import * as KeyFold from "../../projection/KeyFold.js"
import * as DeadLetters from "./DeadLetters.js"
import type { Shadow } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"

/** What becomes of events that cannot be folded. */
export type Noted = typeof DeadLetters.note

/** How many keys are asked for at once. */
const together = 5000

/** Begins those keys that have not begun with their rows of the shadow. */
const begin = (table: ShadowTable, states: KeyStates, keys: ReadonlyMap<string, Key>) =>
  Effect.gen(function* () {
    const missing = [...keys].filter(([text]) => !states.has(text) && !states.kept.has(text)).map(([, key]) => key)
    for (const some of Arr.chunksOf(missing, together)) {
      if (!Arr.isNonEmptyReadonlyArray(some)) continue
      const found = new Map(
        (yield* ShadowRows.load(table, some)).map((loaded) => [keyText(table.live.table, loaded.row), loaded])
      )
      for (const key of some) {
        const loaded = found.get(keyText(table.live.table, key))
        states.begin(key, Option.fromNullable(loaded?.row), loaded?.first)
      }
    }
  })

/** Folds events into `states`, on from the rows that the shadow has. Inside a batch, where poison may be noted. */
export const into = (shadow: Shadow, table: ShadowTable, states: KeyStates, events: ReadonlyArray<Event>) =>
  Effect.gen(function* () {
    const parts = KeyFold.partsOf(states.work, events)
    yield* begin(table, states, KeyFold.keysOf(parts))
    yield* DeadLetters.note(shadow, table, [...parts.poison, ...states.add(parts.parts)])
  })

/** The rows of all keys that have begun. Inside a batch, where poison may be noted. */
export const rowsOf = (
  shadow: Shadow,
  table: ShadowTable,
  states: KeyStates,
  last: Event | undefined,
  noted: Noted = DeadLetters.note
) =>
  Effect.gen(function* () {
    const { failed, rows } = states.rows()
    const poison = failed.flatMap(([{ key }, error]) =>
      last === undefined ? [] : [{ event: last, key: Option.some(key), error }]
    )
    yield* noted(shadow, table, poison)
    return rows
  })

/** What is wanted besides. */
export interface WantedOptions {
  /** Keys that begin with no row, and the events of theirs that come first. */
  readonly anew?: { readonly keys: ReadonlyArray<Key>; readonly events: ReadonlyArray<Event> } | undefined
  /** Keys that are wanted without an event. */
  readonly also?: ReadonlyArray<Key> | undefined
  readonly noted?: Noted | undefined
}

const nothing = { keys: [], events: [] }

/** Folds aggregates that are the keys from their first event up to `at`, into the shadow. Inside a batch. */
export const refold = (shadow: Shadow, table: ShadowTable, work: Fold | Rows, ids: ReadonlyArray<string>, at: bigint) =>
  Effect.forEach(
    Arr.chunksOf(Arr.dedupe(ids), 1000),
    (some) =>
      Effect.gen(function* () {
        if (!Arr.isNonEmptyReadonlyArray(some)) return
        const events = yield* ShadowEvents.ofAll(shadow, some, "known", at)
        const states = new KeyFold.KeyStates(work, yield* DeadLetters.keptKeys(table))
        for (const key of keysOfAggregates(table, some)) states.begin(key, Option.none())
        const { parts, poison } = KeyFold.partsOf(work, events)
        yield* DeadLetters.note(shadow, table, [...poison, ...states.add(parts)])
        yield* ShadowRows.put(table, yield* rowsOf(shadow, table, states, events.at(-1)))
      }),
    { discard: true }
  )

/** What the keys of events are to have, on from the rows of the shadow; and the keys of aggregates that are folded from their first event. */
export const wanted = (
  shadow: Shadow,
  table: ShadowTable,
  work: Fold | Rows,
  events: ReadonlyArray<Event>,
  { anew = nothing, noted = DeadLetters.note, also = [] }: WantedOptions = {}
) =>
  Effect.gen(function* () {
    const states = new KeyFold.KeyStates(work, yield* DeadLetters.keptKeys(table))
    for (const key of anew.keys) states.begin(key, Option.none())
    const textOf = (key: Key): readonly [string, Key] => [keyText(table.live.table, key), key]
    const isAnew = new Set(anew.keys.map((key) => keyText(table.live.table, key)))
    const parts = KeyFold.partsOf(work, events)
    const rest: Parts = { ...parts, parts: parts.parts.filter(({ text }) => !isAnew.has(text)) }
    yield* begin(table, states, new Map([...also.map(textOf), ...KeyFold.keysOf(rest)]))
    const again = KeyFold.partsOf(work, anew.events)
    yield* noted(shadow, table, [
      ...again.poison,
      ...rest.poison,
      ...states.add(again.parts),
      ...states.add(rest.parts)
    ])
    const rows: ReadonlyArray<KeyRow> = yield* rowsOf(shadow, table, states, events.at(-1) ?? anew.events.at(-1), noted)
    return rows
  })

/** The keys of aggregates, where those are the keys. */
export const keysOfAggregates = (table: ShadowTable, ids: ReadonlyArray<string>): ReadonlyArray<Key> =>
  [...new Set(ids)].map((id) => Object.fromEntries(table.keys.map((name): readonly [string, string] => [name, id])))
