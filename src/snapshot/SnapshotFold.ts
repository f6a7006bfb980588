/**
 * The fold of all streams of an aggregate type: page by page, each stream from its first event, in memory that does not grow with their number.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { streamKey } from "../event/AppendRules.js"
import type { AnyAggregate } from "../event/Aggregate.js"
import type { Event, StreamId } from "../event/Event.js"
import type { StreamPosition } from "../event/EventFeed.js"
import { EventFeed } from "../event/EventFeed.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Folded, MendedKind } from "./SnapshotRows.js"
import { SnapshotRows } from "./SnapshotRows.js"
import type { FailedStream, IsStored } from "./StreamFolder.js"
import { StreamFolder } from "./StreamFolder.js"

export { StreamIncomplete } from "./StreamFolder.js"
export type { FailedStream, StreamFailure } from "./StreamFolder.js"

/** What some pages gave. */
export interface Page {
  /** How what is stored differs from what was folded. */
  readonly differing: ReadonlyArray<readonly [Folded, MendedKind]>
  readonly failed: ReadonlyArray<FailedStream>
  /** How many events were read. */
  readonly read: number
  /** How many events the streams have that ended in them. */
  readonly events: number
  /** How many streams ended in them. */
  readonly streams: number
  /** The end of the last stream that ended in them; none where none did. */
  readonly after: Option.Option<StreamPosition>
  /** Whether there are no more. */
  readonly isLast: boolean
}

/** What is done with states that were folded: they are compared with what is stored, which may be mended. */
export type Write = (
  folded: NonEmptyReadonlyArray<Folded>
) => Effect.Effect<ReadonlyArray<readonly [Folded, MendedKind]>, DatabaseError>

/** A fold that goes on with each call: as many pages as have so many events. */
export interface SnapshotFold {
  readonly next: (most: number, write: Write) => Effect.Effect<Page, DatabaseError, EventFeed | SnapshotRows>
}

/** The streams whose aggregate ids are from `from` to below `to`, behind a place in their order. */
export interface StreamRange {
  readonly from: Option.Option<string>
  readonly to: Option.Option<string>
  readonly after: Option.Option<StreamPosition>
}

/** All of them. */
export const everything: StreamRange = { from: Option.none(), to: Option.none(), after: Option.none() }

/** How many events are read at once: enough that neither side waits for the other, few enough that they are not all of the memory. */
const together = 3000

/** How many states are written at once: enough that their statement, which is long, is not planned for a few. */
const enough = 250

/** After how many events the server's answers are let in: then the next statement is sent while the fold goes on. */
const atOnce = 100

/**
 * Folds the streams of a range. The next page is read while one is folded, and the states of the one before are written. Where nothing is stored when
 * it begins, pages are not asked about: what is stored meanwhile is a live writer's, from the first event, or of the fold.
 */
export const make = (
  aggregate: AnyAggregate,
  range: StreamRange
): Effect.Effect<SnapshotFold, DatabaseError, SnapshotRows> =>
  Effect.gen(function* () {
    const { snapshotVersion, type } = aggregate
    const areStored = yield* (yield* SnapshotRows).areStored({ aggregateType: type, snapshotVersion })
    return over(aggregate, range, areStored ? (events) => storedAmong(aggregate, events) : () => Effect.succeed(none))
  })

/** Events, stream by stream, and where their snapshots are. */
interface StreamPage {
  readonly events: ReadonlyArray<Event>
  readonly isStored: IsStored
}

/** Asks where snapshots of the streams of a page are stored. */
type Stored = (events: ReadonlyArray<Event>) => Effect.Effect<IsStored, DatabaseError, SnapshotRows>

const over = (aggregate: AnyAggregate, { after, from, to }: StreamRange, stored: Stored): SnapshotFold => {
  let position = after
  /** The page that was read beside the last one of a call. */
  let ahead: StreamPage | undefined
  const folder = new StreamFolder(aggregate)
  const read = Effect.suspend(() => pageBehind(aggregate, stored, { after: position, from, to }))
  return {
    next: (most, write) =>
      Effect.scoped(
        Effect.gen(function* () {
          const differing: Array<readonly [Folded, MendedKind]> = []
          const written = (folded: ReadonlyArray<Folded>) =>
            Arr.isNonEmptyReadonlyArray(folded)
              ? Effect.map(write(folded), (found) => void differing.push(...found))
              : Effect.void
          let page = ahead ?? (yield* read)
          let writing: Fiber.Fiber<void, DatabaseError> = Fiber.void
          let count = 0
          for (let isOver = false; !isOver;) {
            const { events, isStored } = page
            count += events.length
            position = Option.orElse(Option.fromNullable(events.at(-1)), () => position)
            const isLast = events.length < together
            isOver = isLast || count >= most
            // Also behind the last page of this call: the next call begins with it at hand.
            const next = isLast ? Fiber.succeed(page) : yield* begun(read)
            for (const some of Arr.chunksOf(events, atOnce)) {
              for (const event of some) folder.add(event, isStored)
              yield* turn
            }
            if (isLast) folder.end()
            if (isOver || folder.waiting >= enough) {
              yield* Fiber.join(writing)
              writing = yield* begun(written(folder.take()))
            }
            page = yield* Fiber.join(next)
            if (!isOver) continue
            yield* Fiber.join(writing)
            ahead = page
            return { ...folder.summary(), differing, read: count, isLast }
          }
          return yield* Effect.dieMessage("a fold ends with its last page")
        })
      )
  }
}

/** Begins what goes on beside the fiber; it has asked the server when the fiber goes on. */
const begun = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.zipLeft(Effect.forkScoped(effect), turn)

/** Lets in what came from the server, and the fibers that wait for it. */
const turn = Effect.async<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

const pageBehind = (
  aggregate: AnyAggregate,
  stored: Stored,
  range: StreamRange
): Effect.Effect<StreamPage, DatabaseError, EventFeed | SnapshotRows> =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const events = yield* feed.pageByStream({ aggregateTypes: [aggregate.type] }, range, together)
    return { events, isStored: yield* stored(events) }
  })

/** Tells whether a snapshot is stored at a version of a stream. */
export const storedAmong = (
  { snapshotVersion, type }: AnyAggregate,
  events: ReadonlyArray<Event>
): Effect.Effect<IsStored, DatabaseError, SnapshotRows> =>
  Effect.gen(function* () {
    const rows = yield* SnapshotRows
    const streams = streamsOf(events)
    if (!Arr.isNonEmptyReadonlyArray(streams)) return none
    const versions = yield* rows.versions({ aggregateType: type, snapshotVersion }, streams)
    const stored = new Set(versions.map((one) => `${streamKey(one)}/${one.version}`))
    const isStored: IsStored = (at) => stored.has(`${streamKey(at)}/${at.version}`)
    return stored.size === 0 ? none : isStored
  })

const none: IsStored = () => false

/** The streams of a page, in which events of one stand together. */
const streamsOf = (events: ReadonlyArray<Event>): ReadonlyArray<StreamId> => {
  const streams: Array<StreamId> = []
  let last: StreamId | undefined
  for (const { aggregateId, tenantId } of events) {
    if (last?.aggregateId === aggregateId && last.tenantId === tenantId) continue
    last = { aggregateId, tenantId }
    streams.push(last)
  }
  return streams
}
