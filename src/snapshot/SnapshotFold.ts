/**
 * The fold of all streams of an aggregate type: page by page, each stream from its first event, in memory that does not grow with their number.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { streamKey } from "../event/AppendRules.js"
import type { AnyAggregate, StateFolding, StateInvalid } from "../event/Aggregate.js"
import type { Event, StreamId } from "../event/Event.js"
import type { StreamPosition } from "../event/EventFeed.js"
import { EventFeed } from "../event/EventFeed.js"
import type { EventUnreadable } from "../event/EventType.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Folded } from "./SnapshotRows.js"
import { SnapshotRows } from "./SnapshotRows.js"

/** The versions of a stream are not 1, 2, 3 …: no snapshot of it is stored. */
export class StreamIncomplete extends Schema.TaggedError<StreamIncomplete>()("StreamIncomplete", {
  tenantId: Schema.String,
  aggregateId: Schema.String,
  expected: Schema.Number,
  /** The version that came in its place. */
  version: Schema.Number
}) {
  override get message(): string {
    return `stream ${this.aggregateId} of tenant ${this.tenantId} is incomplete: version ${this.expected} was expected, and ${this.version} comes next`
  }
}

/** Why no snapshot of a stream is stored. */
export type StreamFailure = EventUnreadable | StateInvalid | StreamIncomplete

/** A stream of which no snapshot is stored, and why. */
export interface FailedStream extends StreamId {
  readonly error: StreamFailure
}

/** What one page gave. */
export interface Page {
  readonly folded: ReadonlyArray<Folded>
  readonly failed: ReadonlyArray<FailedStream>
  /** How many events it had. */
  readonly read: number
  /** How many events the streams have that ended in it. */
  readonly events: number
  /** How many streams ended in it. */
  readonly streams: number
  /** The end of the last stream that ended in it; none where none did. */
  readonly after: Option.Option<StreamPosition>
  /** Whether there are no more. */
  readonly isLast: boolean
}

/** A fold that goes on with each page. */
export interface SnapshotFold {
  readonly next: (limit: number) => Effect.Effect<Page, DatabaseError, EventFeed | SnapshotRows>
}

/** A stream whose end was not seen yet. */
interface Open extends StreamId {
  readonly folding: Either.Either<StateFolding<unknown>, StreamFailure>
  readonly failure: StreamFailure | undefined
  readonly last: Event | undefined
  readonly events: number
}

/** The streams whose aggregate ids are from `from` to below `to`, behind a place in their order. */
export interface StreamRange {
  readonly from: Option.Option<string>
  readonly to: Option.Option<string>
  readonly after: Option.Option<StreamPosition>
}

/** All of them. */
export const everything: StreamRange = { from: Option.none(), to: Option.none(), after: Option.none() }

/** Folds the streams of a range. */
export const make = (aggregate: AnyAggregate, { after, from, to }: StreamRange): SnapshotFold => {
  let position = after
  let open: Open | undefined
  return {
    next: (limit) =>
      Effect.gen(function* () {
        const feed = yield* EventFeed
        const events = yield* feed.pageByStream(
          { aggregateTypes: [aggregate.type] },
          { after: position, from, to },
          limit
        )
        const isStored = yield* storedAmong(aggregate, events)
        const isLast = events.length < limit
        const page = new PageBuilder(aggregate, isStored)
        for (const event of events) open = page.add(open, event)
        if (isLast && open !== undefined) {
          page.close(open)
          open = undefined
        }
        const last = events.at(-1)
        if (last !== undefined) position = Option.some(last)
        return page.page(events.length, isLast)
      })
  }
}

/** Tells whether a snapshot is stored at the version of an event. */
const storedAmong = (
  { snapshotVersion, type }: AnyAggregate,
  events: ReadonlyArray<Event>
): Effect.Effect<(event: Event) => boolean, DatabaseError, SnapshotRows> =>
  Effect.gen(function* () {
    const rows = yield* SnapshotRows
    const streams = [...new Map(events.map((event) => [streamKey(event), event])).values()]
    const none = () => false
    if (!Arr.isNonEmptyReadonlyArray(streams)) return none
    const versions = yield* rows.versions({ aggregateType: type, snapshotVersion }, streams)
    const stored = new Set(versions.map((one) => `${streamKey(one)}/${one.version}`))
    const isStored = (event: Event) => stored.has(`${streamKey(event)}/${event.version}`)
    return stored.size === 0 ? none : isStored
  })

/** The position behind the last event that a stream can have. */
const lastVersion = 2_147_483_647

class PageBuilder {
  private readonly folded: Array<Folded> = []
  private readonly failed: Array<FailedStream> = []
  private streams = 0
  private events = 0
  private after: Option.Option<StreamPosition> = Option.none()

  constructor(
    private readonly aggregate: AnyAggregate,
    private readonly isStored: (event: Event) => boolean
  ) {}

  /** Folds an event; answers with its stream as it stands then. */
  add(before: Open | undefined, event: Event): Open {
    const isSame = before?.aggregateId === event.aggregateId && before.tenantId === event.tenantId
    if (!isSame && before !== undefined) this.close(before)
    const { aggregateId, tenantId } = event
    const open: Open = isSame
      ? before
      : {
          aggregateId,
          tenantId,
          folding: this.aggregate.begin(Option.none()),
          failure: undefined,
          last: undefined,
          events: 0
        }
    const events = open.events + 1
    if (open.failure !== undefined) return { ...open, events }
    const added = addTo(open, event)
    const failure = Either.isLeft(added) ? added.left : this.isStored(event) ? this.keep(open, event, false) : undefined
    return { ...open, last: event, failure, events }
  }

  /** The stream has no more events. */
  close(open: Open): void {
    const { aggregateId, last, tenantId } = open
    this.streams++
    this.events += open.events
    this.after = Option.some({ aggregateId, tenantId, version: lastVersion })
    const failure = open.failure ?? (last === undefined ? undefined : this.keep(open, last, true))
    if (failure !== undefined) this.failed.push({ aggregateId, tenantId, error: failure })
  }

  page(read: number, isLast: boolean): Page {
    const { after, events, failed, folded, streams } = this
    return { folded, failed, read, events, streams, after, isLast }
  }

  /** Keeps the state as it is after an event; what is kept for the end of the stream was maybe kept before. */
  private keep(open: Open, event: Event, isHead: boolean): StreamFailure | undefined {
    const state = Either.flatMap(open.folding, (folding) => folding.encoded())
    if (Either.isLeft(state)) return state.left
    const { aggregateId, id, tenantId, version } = event
    const folded = { aggregateId, tenantId, version, eventId: id, isHead, state: state.right }
    const at = this.folded.length - 1
    const before = this.folded[at]
    const isKept = before?.version === version && before.aggregateId === aggregateId && before.tenantId === tenantId
    if (isKept) this.folded[at] = folded
    else this.folded.push(folded)
    return undefined
  }
}

const addTo = ({ folding, last }: Open, event: Event): Either.Either<void, StreamFailure> => {
  const expected = (last?.version ?? 0) + 1
  if (event.version !== expected) {
    const { aggregateId, tenantId, version } = event
    return Either.left(new StreamIncomplete({ aggregateId, tenantId, expected, version }))
  }
  return Either.flatMap(folding, (open) => open.add(event))
}
