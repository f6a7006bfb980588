/**
 * The lanes of a rebuild of snapshots: ranges of aggregate ids, each folded stream by stream, in any process that has the aggregate.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { AnyAggregate } from "../event/Aggregate.js"
import { EventFeed } from "../event/EventFeed.js"
import * as BatchSize from "../operation/BatchSize.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { RunRefused } from "../operation/RunLog.js"
import * as RunLanes from "../operation/RunLanes.js"
import type { Found } from "./SnapshotFindings.js"
import * as SnapshotFold from "./SnapshotFold.js"
import { SnapshotRows } from "./SnapshotRows.js"
import * as SnapshotSuspects from "./SnapshotSuspects.js"
import { Suspects } from "./SnapshotSuspects.js"

/** Where a rebuild is cut, in the cursor of its run: the inner ends of its lanes. */
const Cut = Schema.Struct({ boundaries: Schema.Array(Schema.String) })

/** The last stream of a lane whose snapshots are right. */
const LaneCursor = Schema.Struct({
  after: Schema.NullOr(Schema.Struct({ aggregateId: Schema.String, tenantId: Schema.String, version: Schema.Number })),
  isDone: Schema.Boolean
})
type LaneCursor = typeof LaneCursor.Type

/** Folds every stream of the type, in so many lanes; they are cut once, by the process that begins. */
export const foldAll = (
  aggregate: AnyAggregate,
  lanes: number,
  handle: RunHandle,
  found: Found
): Effect.Effect<void, RunLanes.LaneFailed | DatabaseError | RunRefused, EventFeed | SnapshotRows> =>
  Effect.gen(function* () {
    const boundaries = yield* Option.match(cutOf(handle), {
      onNone: () => cut(aggregate, lanes, handle),
      onSome: Effect.succeed
    })
    const worker = {
      operationType,
      knows: () => Effect.succeed(true),
      work: (own: RunHandle, lane: string) => foldLane(aggregate, own, boundaries, lane, found)
    }
    yield* RunLanes.work(
      handle,
      worker,
      Array.from({ length: boundaries.length + 1 }, (_, at) => `${at + 1}`)
    )
  })

/** The type of these operations. */
export const operationType = "aggregate-rebuild"

/** Where a run was cut, once it was. */
export const cutOf = ({ cursor }: Pick<RunHandle, "cursor">): Option.Option<ReadonlyArray<string>> =>
  Option.map(Option.flatMap(cursor, Schema.decodeUnknownOption(Cut)), ({ boundaries }) => boundaries)

const cut = ({ type }: AnyAggregate, lanes: number, handle: RunHandle) =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const total = yield* feed.count({ aggregateTypes: [type] })
    const boundaries = yield* feed.boundaries({ aggregateTypes: [type] }, lanes)
    const cursor = Schema.encodeSync(Cut)({ boundaries })
    return yield* handle.batch(Effect.succeed({ value: boundaries, phase: "folding", cursor, total }))
  })

/** Folds the streams of one lane, from where its cursor stands. */
export const foldLane = (
  aggregate: AnyAggregate,
  handle: RunHandle,
  boundaries: ReadonlyArray<string>,
  lane: string,
  found: Found
): Effect.Effect<void, DatabaseError | RunRefused, EventFeed | SnapshotRows> =>
  Effect.gen(function* () {
    const stands = standingOf(handle, lane)
    if (stands.isDone) return
    const rows = yield* SnapshotRows
    const size = yield* BatchSize.make({ initial: 2000, max: 20_000, min: 100 })
    const fold = yield* SnapshotFold.make(aggregate, {
      from: Option.fromNullable(boundaries[Number(lane) - 2]),
      to: Option.fromNullable(boundaries[Number(lane) - 1]),
      after: Option.fromNullable(stands.after)
    })
    const suspects = new Suspects()
    let after = stands.after
    // What is done are whole streams: who goes on with the lane reads the last one again.
    let read = 0
    const batchSize: BatchSize.BatchSize = { get: size.get, took: (_, milliseconds) => size.took(read, milliseconds) }
    for (let isLast = false; !isLast;) {
      const limit = yield* size.get
      isLast = yield* handle.batch(
        Effect.gen(function* () {
          const page = yield* fold.next(limit, (folded) => rows.mend(found.type, folded))
          after = Option.getOrElse(page.after, () => after)
          const cursor: LaneCursor = { after, isDone: page.isLast }
          read = page.read
          suspects.note(page.differing)
          return { value: page.isLast, lane, cursor, done: page.events, counters: found.add(page) }
        }),
        { size: batchSize }
      )
    }
    yield* SnapshotSuspects.clear(aggregate, handle, lane, found, suspects)
  })

const standingOf = ({ lanes }: RunHandle, lane: string): LaneCursor =>
  Option.fromNullable(lanes.get(lane)).pipe(
    Option.flatMap(({ cursor }) => cursor),
    Option.flatMap(Schema.decodeUnknownOption(LaneCursor)),
    Option.getOrElse((): LaneCursor => ({ after: null, isDone: false }))
  )
