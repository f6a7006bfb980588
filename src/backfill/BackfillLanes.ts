/**
 * The lanes of a backfill: ranges of the keys of a source in SQL, each on a connection of its own, in any process that has the backfill.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Backfill, SqlSource } from "../event/Backfill.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { LaneFailed } from "../operation/RunLanes.js"
import * as RunLanes from "../operation/RunLanes.js"
import type { RunRefused } from "../operation/RunLog.js"
import type { BackfillAppend } from "./BackfillAppend.js"
import type { BackfillReport } from "./BackfillProgress.js"
import { Progress } from "./BackfillProgress.js"
import { BackfillStore } from "./BackfillStore.js"
import * as BackfillWork from "./BackfillWork.js"

/** The type of these operations. */
export const operationType = "event-backfill"

/** Where a backfill is cut, in the cursor of its run: each lane has the keys above one boundary, up to the next. */
const Cut = Schema.Struct({ boundaries: Schema.Array(Schema.String) })

/** Where a run was cut, once it was. */
export const cutOf = ({ cursor }: Pick<RunHandle, "cursor">): Option.Option<ReadonlyArray<string>> =>
  Option.map(Option.flatMap(cursor, Schema.decodeUnknownOption(Cut)), ({ boundaries }) => boundaries)

/**
 * Whether the run is worked on in lanes: one that is gone on with stays as it was begun, since a cut would begin with the first row and count the
 * rows that are done again.
 */
export const isInLanes = (handle: Pick<RunHandle, "cursor">, lanes: number): boolean =>
  Option.match(handle.cursor, { onNone: () => lanes > 1, onSome: () => Option.isSome(cutOf(handle)) })

/** Works on all rows in so many lanes; they are cut once, by the process that begins. What each lists is in its cursor. */
export const backfillAll = (
  backfill: Backfill<unknown, never>,
  source: SqlSource,
  append: BackfillAppend,
  lanes: number,
  handle: RunHandle
): Effect.Effect<BackfillReport, LaneFailed | DatabaseError | RunRefused, BackfillStore> =>
  Effect.gen(function* () {
    const boundaries = yield* Option.match(cutOf(handle), {
      onNone: () => cut(source, lanes, handle),
      onSome: Effect.succeed
    })
    const worker = {
      operationType,
      knows: () => Effect.succeed(true),
      work: (own: RunHandle, lane: string) => backfillLane(backfill, source, append, own, boundaries, lane)
    }
    yield* RunLanes.work(
      handle,
      worker,
      Array.from({ length: boundaries.length + 1 }, (_, at) => `${at + 1}`)
    )
    const done = yield* handle.rejoined
    const progress = new Progress(
      backfill.name,
      [...done.lanes.values()].map(({ cursor }) => cursor)
    )
    return progress.report((yield* done.current).counters)
  })

const cut = (source: SqlSource, lanes: number, handle: RunHandle) =>
  Effect.gen(function* () {
    const store = yield* BackfillStore
    const total = yield* store.count(source)
    const boundaries = yield* store.boundaries(source, lanes)
    const cursor = Schema.encodeSync(Cut)({ boundaries })
    return yield* handle.batch(Effect.succeed({ value: boundaries, phase: "appending", cursor, total }))
  })

/** Works on the rows of one lane, from where its cursor stands. */
export const backfillLane = (
  backfill: Backfill<unknown, never>,
  source: SqlSource,
  append: BackfillAppend,
  handle: RunHandle,
  boundaries: ReadonlyArray<string>,
  lane: string
): Effect.Effect<void, DatabaseError | RunRefused, BackfillStore> => {
  const progress = new Progress(backfill.name, [
    Option.flatMap(Option.fromNullable(handle.lanes.get(lane)), ({ cursor }) => cursor)
  ])
  progress.after = Option.orElse(progress.after, () => Option.fromNullable(boundaries[Number(lane) - 2]))
  const work = BackfillWork.make(backfill, append, progress, lane)
  return BackfillWork.throughSql(source, progress, handle, work, boundaries[Number(lane) - 1])
}
