/**
 * The streams whose snapshots are looked at again: one was wrong, or another one came while it was folded. Who had loaded a wrong snapshot before it
 * was mended stores one that is as wrong.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { AnyAggregate } from "../event/Aggregate.js"
import { streamKey } from "../event/AppendRules.js"
import type { StreamId } from "../event/Event.js"
import { EventFeed } from "../event/EventFeed.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { RunRefused } from "../operation/RunLog.js"
import type { Found } from "./SnapshotFindings.js"
import * as SnapshotFold from "./SnapshotFold.js"
import type { Folded, MendedKind } from "./SnapshotRows.js"
import { SnapshotRows } from "./SnapshotRows.js"
import { StreamFolder } from "./StreamFolder.js"

/** How many streams are kept in mind: where functions were changed, all snapshots are wrong, and writers have the new functions. */
const most = 5000

/** How many are folded in one batch. */
const together = 50

/** How often one has to be found right: who had loaded the wrong one has stored what came of it by then. */
const looks = 2

/** How often all of them are looked at. */
const rounds = 20

/** The streams of a lane, each with how often it was found right since. */
export class Suspects {
  private readonly streams = new Map<string, StreamId & { right: number }>()

  /** Notes the streams of which something was wrong, or came meanwhile. */
  note(mended: ReadonlyArray<readonly [StreamId, MendedKind]>): void {
    for (const [{ aggregateId, tenantId }, kind] of mended) {
      if (kind !== "different" && kind !== "newer") continue
      const key = streamKey({ aggregateId, tenantId })
      if (this.streams.size < most || this.streams.has(key)) this.streams.set(key, { aggregateId, tenantId, right: 0 })
    }
  }

  /** Those that are left, in parts. */
  get parts(): ReadonlyArray<ReadonlyArray<StreamId>> {
    return Arr.chunksOf(this.streams.values(), together)
  }

  /** These were looked at, and are right but for those that were mended. */
  seen(streams: ReadonlyArray<StreamId>, mended: ReadonlyArray<readonly [StreamId, MendedKind]>): void {
    for (const key of streams.map(streamKey)) {
      const known = this.streams.get(key)
      if (known === undefined) continue
      known.right++
      if (known.right >= looks) this.streams.delete(key)
    }
    this.note(mended)
  }
}

/** Looks at them again, until each was found right. */
export const clear = (
  aggregate: AnyAggregate,
  handle: RunHandle,
  lane: string,
  found: Found,
  suspects: Suspects
): Effect.Effect<void, DatabaseError | RunRefused, EventFeed | SnapshotRows> =>
  Effect.gen(function* () {
    for (let round = 0; round < rounds; round++) {
      const { parts } = suspects
      if (parts.length === 0) return
      for (const streams of parts) {
        const mended = yield* handle.batch(
          Effect.map(mendStored(aggregate, streams), (value) => ({ value, lane, counters: found.addMended(value) }))
        )
        suspects.seen(streams, mended)
      }
    }
  })

/** Mends what is stored of these streams; their ends are stored already. */
const mendStored = (
  aggregate: AnyAggregate,
  streams: ReadonlyArray<StreamId>
): Effect.Effect<ReadonlyArray<readonly [Folded, MendedKind]>, DatabaseError, EventFeed | SnapshotRows> =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const rows = yield* SnapshotRows
    const ids = Arr.dedupe(streams.map(({ aggregateId }) => aggregateId))
    if (!Arr.isNonEmptyReadonlyArray(ids)) return []
    const events = yield* feed.ofAggregates({ aggregateTypes: [aggregate.type] }, ids)
    const isStored = yield* SnapshotFold.storedAmong(aggregate, events)
    const folder = new StreamFolder(aggregate)
    for (const event of events) folder.add(event, isStored)
    const folded = folder.take().filter(isStored)
    const { snapshotVersion, type } = aggregate
    return Arr.isNonEmptyReadonlyArray(folded) ? yield* rows.mend({ aggregateType: type, snapshotVersion }, folded) : []
  })
