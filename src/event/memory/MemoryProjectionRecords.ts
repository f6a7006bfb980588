/**
 * The record of projections in memory. Tables are there with the first layer that has them, so that this is when they are recorded.
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as MemoryDatabase from "../../operation/memory/MemoryDatabase.js"
import type { AskedProjection, ProjectionRecord } from "../ProjectionRecords.js"
import { ProjectionRecords } from "../ProjectionRecords.js"
import { MemoryEvents } from "./MemoryEvents.js"
import { MemoryProjections } from "./MemoryProjections.js"

/** The records of a `MemoryDatabase` that has the tables of these projections from here on. */
export const layer = (
  projections: ReadonlyArray<AskedProjection>
): Layer.Layer<ProjectionRecords, never, MemoryDatabase.MemoryDatabase> =>
  Layer.effect(
    ProjectionRecords,
    Effect.gen(function* () {
      const database = yield* MemoryDatabase.MemoryDatabase
      const records = MemoryDatabase.view(database, MemoryProjections, MemoryProjections.empty)
      const { events } = yield* MemoryDatabase.view(database, MemoryEvents, MemoryEvents.empty).get

      const created = ({ events: types, name, version }: AskedProjection): ProjectionRecord => ({
        ...found(name),
        version: events.some(({ type }) => types.includes(type)) ? 0 : version
      })
      yield* records.update((current) => byName(projections.map(created), current.values()))

      const change = (name: string, current: MemoryProjections["Type"], more: Partial<ProjectionRecord>) => ({
        ...(current.get(name) ?? found(name)),
        ...more
      })

      return ProjectionRecords.of({
        of: (asked) => Effect.map(records.get, (known) => asked.map(({ name }) => known.get(name) ?? found(name))),
        built: (of, runId) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const lastRebuild = Option.some({ runId, at: DateTime.unsafeMake(now) })
            return records.update((current) =>
              byName(
                current.values(),
                of.map(({ name, version }) => change(name, current, { version, lastRebuild }))
              )
            )
          }),
        outdate: (names) =>
          records.update((current) =>
            byName(
              current.values(),
              names.map((name) => change(name, current, { version: 0 }))
            )
          )
      })
    })
  )

/** A table that was there without a record. */
const found = (name: string): ProjectionRecord => ({ name, version: 1, lastRebuild: Option.none(), deadLetters: 0 })

/** Records by their names; of two of one name the later one stands. */
const byName = (...lists: ReadonlyArray<Iterable<ProjectionRecord>>): MemoryProjections["Type"] =>
  new Map(lists.flatMap((list) => [...list]).map((record) => [record.name, record]))
