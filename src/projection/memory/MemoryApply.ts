/**
 * The rows that projections by `Projection.make` give: their `apply` runs on empty tables, and everything that it did is put back.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { Event } from "../../event/Event.js"
import { EventStore } from "../../event/EventStore.js"
import * as MemoryReadTables from "../../event/memory/MemoryReadTables.js"
import { keyText } from "../../event/ReadTables.js"
import type { Table } from "../../event/Table.js"
import { describe } from "../../operation/ErrorDescription.js"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import { DatabaseError } from "../../operation/OperationError.js"
import type { RebuildPolicy } from "../RebuildOptions.js"
import { ApplyFailed, WroteOutsideShadow } from "../RebuildProblem.js"
import type { RebuildTarget } from "../RebuildTarget.js"
import type { Computation } from "./MemoryComputation.js"

/** What `apply` makes of events, each by itself, in the order of their ids. */
export const compute = (
  target: RebuildTarget,
  events: ReadonlyArray<Event>,
  _policy: RebuildPolicy
): Effect.Effect<
  ReadonlyArray<readonly [Table, Computation]>,
  ApplyFailed | WroteOutsideShadow,
  MemoryDatabase.MemoryDatabase
> =>
  Effect.gen(function* () {
    const database = yield* MemoryDatabase.MemoryDatabase
    const tables = MemoryReadTables.viewOf(database)
    const own = new Set(target.tables.map(({ name }) => name))
    const computing = Effect.gen(function* () {
      yield* tables.update((all) => new Map([...all].filter(([name]) => !own.has(name))))
      const before = yield* tables.get
      for (const event of events) yield* applied(target, event)
      const after = yield* tables.get
      for (const [name, rows] of after) {
        if (!own.has(name) && before.get(name) !== rows)
          return yield* new WroteOutsideShadow({ projection: target.name, table: name })
      }
      return yield* Effect.forEach(target.tables, (table) =>
        Effect.map(tables.rows(table), (rows): readonly [Table, Computation] => [
          table,
          {
            rows: new Map(rows.map((row) => [keyText(table, row), { row, first: undefined }] as const)),
            kept: new Set(),
            poison: []
          }
        ])
      )
    })
    return yield* Effect.acquireUseRelease(
      Ref.get(database.state),
      () => computing,
      (state) => Ref.set(database.state, state)
    )
  })

const applied = ({ projections }: RebuildTarget, event: Event): Effect.Effect<void, ApplyFailed> =>
  Effect.forEach(
    projections.filter(({ events }) => events.includes(event.type)),
    ({ apply, name }) => {
      const failed = (error: unknown) =>
        new ApplyFailed({ projection: name, eventId: event.id, reason: describe(error).message, cause: error })
      if (event.unreadable !== undefined) return failed(new Error(event.unreadable))
      return Effect.provideServiceEffect(Effect.mapError(apply([event]), failed), EventStore, readOnly)
    },
    { discard: true }
  )

/** A store that refuses to be written to; where there is none, there is nothing to refuse. */
const readOnly: Effect.Effect<EventStore["Type"]> = Effect.map(
  Effect.serviceOption(EventStore),
  (store): EventStore["Type"] =>
    Option.match(store, {
      onNone: () => ({ append: () => refused, archive: () => refused, load: () => refused, version: () => refused }),
      onSome: (of) => ({ ...of, append: () => refused, archive: () => refused })
    })
)

const refused = DatabaseError.because("appending events", "the event store is read-only in a rebuild")
