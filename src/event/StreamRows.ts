/**
 * The read rows of streams that change as a whole: archived, restored, moved or purged. Rows whose key is the aggregate are refolded in the same
 * transaction; the tables of all other projections are marked as outdated.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { EventFeed } from "./EventFeed.js"
import { ProjectionRecords } from "./ProjectionRecords.js"
import type { ReadTables } from "./ReadTables.js"
import type { Declared, RefoldError } from "./Refold.js"
import * as Refold from "./Refold.js"

/** A stream that changes, by its aggregate, with the types of its events. */
export interface ChangedStream {
  readonly aggregateId: string
  readonly types: ReadonlyArray<string>
}

/** The rows of one projection. */
export interface ChangedRows extends Refold.Refolded {
  readonly projection: string
  readonly table: string
}

/** What became of the read rows. */
export interface FollowedRows {
  /** By projection; those whose rows were right are left out. */
  readonly rows: ReadonlyArray<ChangedRows>
  /** The projections whose tables are outdated now: they are to be rebuilt. Of one that names no tables nothing is known. */
  readonly outdated: ReadonlyArray<string>
}

/** Nothing became of them. */
export const none: FollowedRows = { rows: [], outdated: [] }

/** Brings read rows to what the events of these streams say now, in the transaction of the fiber. */
export const follow = (
  projections: ReadonlyArray<Declared>,
  streams: ReadonlyArray<ChangedStream>
): Effect.Effect<FollowedRows, RefoldError, EventFeed | ReadTables | ProjectionRecords> =>
  Effect.gen(function* () {
    const rows: Array<ChangedRows> = []
    const outdated: Array<string> = []
    for (const projection of projections) {
      const ids = concerned(projection, streams)
      if (!Arr.isNonEmptyReadonlyArray(ids)) continue
      if (Refold.isRefoldable(projection)) {
        const refolded = yield* refoldAll(projection, ids)
        if (refolded.written + refolded.removed > 0) {
          rows.push({ projection: projection.name, table: projection.definition.table.name, ...refolded })
        }
      } else outdated.push(projection.name)
    }
    // One that names no tables is named, and not marked: no rebuild could take the mark back, and whoever waits for it would wait for ever.
    const marked = outdated.filter((name) => projections.some((one) => one.name === name && hasTables(one)))
    if (Arr.isNonEmptyReadonlyArray(marked)) yield* (yield* ProjectionRecords).outdate(marked)
    return { rows, outdated }
  })

const hasTables = ({ tables = [] }: Declared): boolean => tables.length > 0

/** Those that an archive mark changes something for: with `archived: "keep"`, rows stay as they are. */
export const dropping = (projections: ReadonlyArray<Declared>): ReadonlyArray<Declared> =>
  projections.filter(({ archived }) => archived !== "keep")

/** Puts together what became of the rows in several transactions. */
export const merged = (all: ReadonlyArray<FollowedRows>): FollowedRows => {
  const rows = new Map<string, ChangedRows>()
  for (const row of all.flatMap((followed) => followed.rows)) {
    const before = rows.get(row.projection)
    rows.set(row.projection, {
      ...row,
      written: row.written + (before?.written ?? 0),
      removed: row.removed + (before?.removed ?? 0)
    })
  }
  return { rows: [...rows.values()], outdated: Arr.dedupe(all.flatMap((followed) => followed.outdated)) }
}

/** The aggregates of which the projection folds an event. */
const concerned = ({ events }: Declared, streams: ReadonlyArray<ChangedStream>): ReadonlyArray<string> =>
  Arr.dedupe(
    streams.filter(({ types }) => types.some((type) => events.includes(type))).map(({ aggregateId }) => aggregateId)
  )

/** So many aggregates at a time: their events are held in memory. */
const chunk = 100

const refoldAll = (
  projection: Refold.Refoldable,
  ids: NonEmptyReadonlyArray<string>
): Effect.Effect<Refold.Refolded, RefoldError, EventFeed | ReadTables> =>
  Effect.reduce(Arr.chunksOf(ids, chunk), Refold.nothing, (sum, some) =>
    Effect.map(Refold.refold(projection, some), ({ removed, written }) => ({
      written: sum.written + written,
      removed: sum.removed + removed
    }))
  )
