/**
 * The bulk of what is not folded by aggregate: events by id, the rows of their keys held in memory up to a bound.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Event } from "../../event/Event.js"
import type { Fold, Rows } from "../../event/FoldDefinition.js"
import type { BatchSize } from "../../operation/BatchSize.js"
import { KeyStates } from "../../projection/KeyFold.js"
import * as KeyFold from "../../projection/KeyFold.js"
import * as DeadLetters from "./DeadLetters.js"
import * as KeyFolding from "./KeyFolding.js"
import * as ReadAhead from "./ReadAhead.js"
import type { Shadow } from "./Shadow.js"
import { send } from "./Shadow.js"
import * as ShadowEvents from "./ShadowEvents.js"
import * as ShadowRows from "./ShadowRows.js"
import type { ShadowTable } from "./ShadowTable.js"
import * as ShadowTables from "./ShadowTable.js"

/** How many rows are held, and for how long, until they are written. */
const bound = { rows: 100_000, milliseconds: 30_000 } as const

/** Where the bulk stands: every event up to this one is in the rows of the shadow. */
export interface Standing {
  readonly at: bigint
  readonly isIndexed: boolean
}

/** How a place in the bulk is written down. */
export type CursorOf = (standing: Standing) => unknown

/** Folds the events up to an id, from where the bulk stands. What is held is written with the cursor, or begins again where it stood. */
export const fold = (
  shadow: Shadow,
  table: ShadowTable,
  work: Fold,
  upTo: bigint,
  from: Standing,
  cursorOf: CursorOf
) =>
  Effect.gen(function* () {
    const states = new KeyStates(work, yield* DeadLetters.keptKeys(table))
    const ahead = (after: bigint) => ReadAhead.begin(ShadowEvents.rowsOf(shadow, { after, upTo }, ReadAhead.together))
    let standing = from
    let read = from.at
    let events = 0
    let writtenAt = yield* Clock.currentTimeMillis
    let next = yield* ahead(read)
    for (let isDone = false; !isDone;) {
      const rows = yield* Fiber.join(next)
      isDone = rows.length < ReadAhead.together
      const [last] = yield* ShadowEvents.eventsOf(rows.slice(-1))
      read = last?.id ?? read
      events += rows.length
      if (!isDone) next = yield* ahead(read)
      const page = yield* ShadowEvents.eventsOf(rows)
      const now = yield* Clock.currentTimeMillis
      const isFull = isDone || states.size > bound.rows || now - writtenAt > bound.milliseconds
      const known = { isIndexed: standing.isIndexed, at: read, events, isDone }
      standing = yield* step(shadow, table, states, page, isFull, known, cursorOf, standing)
      if (isFull) {
        events = 0
        writtenAt = yield* Clock.currentTimeMillis
        states.clear()
      }
    }
  }).pipe(Effect.scoped)

/** Folds one page; where the bound is reached, the rows are written, and with them where the bulk stands. */
const step = (
  shadow: Shadow,
  table: ShadowTable,
  states: KeyStates,
  page: ReadonlyArray<Event>,
  isFull: boolean,
  known: Standing & { readonly events: number; readonly isDone: boolean },
  cursorOf: CursorOf,
  before: Standing
) =>
  isFull || shadow.policy.onPoison === "quarantine" || before.isIndexed
    ? shadow.run.batch(
        Effect.gen(function* () {
          yield* foldPage(shadow, table, states, page, known.isIndexed)
          if (!isFull) return { value: before }
          const rows = yield* KeyFolding.rowsOf(shadow, table, states, page.at(-1))
          if (known.isIndexed) yield* ShadowRows.put(table, rows)
          else yield* addAll(table, rows)
          // With everything in memory until its end, no row is looked for before.
          if (!known.isIndexed) yield* send("indexing the shadow", indexes(table))
          const value = { at: known.at, isIndexed: true }
          return { value, done: known.events, cursor: cursorOf(value), counters: { events: known.events } }
        })
      )
    : Effect.as(foldPage(shadow, table, states, page, false), before)

/** Adds the rows of keys that have one. */
const addAll = (table: ShadowTable, rows: ReadonlyArray<KeyFold.KeyRow>) =>
  Effect.forEach(
    Arr.chunksOf(
      rows.flatMap(({ at, first, row }) => (Option.isSome(row) ? [{ row: row.value, first, at }] : [])),
      ReadAhead.together
    ),
    (some) => ShadowRows.add(table, some),
    { discard: true }
  )

const foldPage = (
  shadow: Shadow,
  table: ShadowTable,
  states: KeyStates,
  page: ReadonlyArray<Event>,
  isIndexed: boolean
) => {
  if (isIndexed) return KeyFolding.into(shadow, table, states, page)
  const parts = KeyFold.partsOf(states.work, page)
  return DeadLetters.note(shadow, table, [...parts.poison, ...states.add(parts.parts)])
}

/** Adds the rows that events give, as they come; those of keys that are there twice are sorted out at the end. */
export const rows = (
  shadow: Shadow,
  table: ShadowTable,
  work: Rows,
  upTo: bigint,
  from: Standing,
  cursorOf: CursorOf,
  size: BatchSize
) =>
  Effect.gen(function* () {
    let at = from.at
    const each = {
      read: (after: bigint, folded: Option.Option<Given>) => {
        const { poison, rows } = Option.getOrElse(folded, () => nothing)
        const adding = ShadowRows.adding(table, rows)
        return Effect.zipRight(
          DeadLetters.note(shadow, table, poison),
          ShadowEvents.rowsOf(shadow, { after, upTo }, ReadAhead.together, adding)
        )
      },
      placeOf: ({ id }: Event) => id,
      fold: (events: ReadonlyArray<Event>) => Effect.succeed(given(table, work, events)),
      write: ({ poison, rows }: Given) =>
        Effect.zipRight(ShadowRows.add(table, rows), DeadLetters.note(shadow, table, poison))
    }
    for (let isDone = false; !isDone;) {
      const limit = yield* size.get
      const last = yield* shadow.run.batch(
        Effect.map(ReadAhead.pages(at, limit, each), (read) => ({
          value: read,
          done: read.count,
          cursor: cursorOf({ at: read.place, isIndexed: false }),
          counters: { events: read.count }
        })),
        { size }
      )
      at = last.place
      isDone = last.ends
    }
  })

/** What events give by themselves. */
interface Given {
  readonly rows: ReadonlyArray<ShadowRows.Added>
  readonly poison: ReadonlyArray<KeyFold.Poison>
}

const nothing: Given = { rows: [], poison: [] }

const given = (table: ShadowTable, work: Rows, events: ReadonlyArray<Event>): Given => {
  const rows: Array<ShadowRows.Added> = []
  const poison: Array<KeyFold.Poison> = []
  for (const event of events) {
    const found = work.rowsOf(event)
    if (Either.isLeft(found)) poison.push({ event, key: Option.none(), error: found.left })
    else for (const row of found.right) rows.push(ShadowRows.addedBy(table, row, event))
  }
  return { rows, poison }
}

/** What is made when the rows are loaded. */
export const indexes = (table: ShadowTable): ReadonlyArray<string> => [
  `ALTER TABLE ${table.rows} ADD PRIMARY KEY (${ShadowTables.list(table.keys)})`,
  `ANALYZE ${table.rows}`
]

/** Leaves of each key the row that the last event gave. */
export const distinct = ({ keys, rows }: ShadowTable): ReadonlyArray<string> => [
  `DELETE FROM ${rows} t USING (SELECT ctid, row_number() OVER (PARTITION BY ${ShadowTables.list(keys)} ORDER BY es_ops_at DESC, ctid DESC) AS n
    FROM ${rows}) d WHERE t.ctid = d.ctid AND d.n > 1`
]
