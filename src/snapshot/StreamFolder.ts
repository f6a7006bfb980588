/**
 * Folds events that come stream by stream, each from its first one: by the million, so that nothing is copied for each.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { AnyAggregate, StateFolding, StateInvalid } from "../event/Aggregate.js"
import type { Event, StreamId } from "../event/Event.js"
import type { StreamPosition } from "../event/EventFeed.js"
import type { EventUnreadable } from "../event/EventType.js"
import type { Folded } from "./SnapshotRows.js"

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

/** A stream whose end was not seen yet. */
interface Open extends StreamId {
  readonly folding: Either.Either<StateFolding<unknown>, StreamFailure>
  failure: StreamFailure | undefined
  last: Event | undefined
  /** The version after which its state was kept last. */
  kept: number
  events: number
}

/** What came of the streams that ended since it was asked before. */
interface Summary {
  readonly failed: ReadonlyArray<FailedStream>
  readonly streams: number
  readonly events: number
  readonly after: Option.Option<StreamPosition>
}

/** The position behind the last event that a stream can have. */
const lastVersion = 2_147_483_647

/** Whether a snapshot is stored at a version of a stream. */
export type IsStored = (at: StreamPosition) => boolean

/** Folds streams one after another; the last one stays open until another one begins, or it is said to be the last. */
export class StreamFolder {
  private open: Open | undefined
  private folded: Array<Folded> = []
  private failed: Array<FailedStream> = []
  private streams = 0
  private events = 0
  private after: Option.Option<StreamPosition> = Option.none()

  constructor(private readonly aggregate: AnyAggregate) {}

  /** How many states wait to be taken. */
  get waiting(): number {
    return this.folded.length
  }

  /** Folds an event. Its state is kept where a snapshot is stored at its version. */
  add(event: Event, isStored: IsStored): void {
    const open = this.openOf(event)
    open.events++
    if (open.failure !== undefined) return
    const added = addTo(open, event)
    open.last = event
    open.failure = Either.isLeft(added) ? added.left : isStored(event) ? this.keep(open, event, false) : undefined
  }

  /** There are no more events. */
  end(): void {
    if (this.open !== undefined) this.close(this.open)
    this.open = undefined
  }

  /** The states that were kept since they were taken before. */
  take(): ReadonlyArray<Folded> {
    const { folded } = this
    this.folded = []
    return folded
  }

  summary(): Summary {
    const { after, events, failed, streams } = this
    this.failed = []
    this.streams = 0
    this.events = 0
    this.after = Option.none()
    return { failed, streams, events, after }
  }

  private openOf({ aggregateId, tenantId }: Event): Open {
    const before = this.open
    if (before?.aggregateId === aggregateId && before.tenantId === tenantId) return before
    if (before !== undefined) this.close(before)
    const folding = this.aggregate.begin(Option.none())
    this.open = { aggregateId, tenantId, folding, failure: undefined, last: undefined, kept: 0, events: 0 }
    return this.open
  }

  private close(open: Open): void {
    const { aggregateId, last, tenantId } = open
    this.streams++
    this.events += open.events
    this.after = Option.some({ aggregateId, tenantId, version: lastVersion })
    const isKept = last === undefined || last.version === open.kept
    if (isKept) this.isHead(open)
    const failure = open.failure ?? (isKept ? undefined : this.keep(open, last, true))
    if (failure !== undefined) this.failed.push({ aggregateId, tenantId, error: failure })
  }

  /** What was kept last is the end of its stream. */
  private isHead({ aggregateId, tenantId }: Open): void {
    const at = this.folded.length - 1
    const last = this.folded[at]
    if (last?.aggregateId === aggregateId && last.tenantId === tenantId) this.folded[at] = { ...last, isHead: true }
  }

  /** Keeps the state as it is after an event. */
  private keep(open: Open, event: Event, isHead: boolean): StreamFailure | undefined {
    const state = Either.flatMap(open.folding, (folding) => folding.encoded())
    if (Either.isLeft(state)) return state.left
    const { aggregateId, id, tenantId, version } = event
    this.folded.push({ aggregateId, tenantId, version, eventId: id, isHead, state: state.right })
    open.kept = version
    return undefined
  }
}

const addTo = ({ folding, last }: Open, event: Event): Either.Either<void, StreamFailure> => {
  const expected = (last?.version ?? 0) + 1
  if (event.version !== expected) {
    const { aggregateId, tenantId, version } = event
    return Either.left(new StreamIncomplete({ aggregateId, tenantId, expected, version }))
  }
  return Either.isLeft(folding) ? Either.left(folding.left) : folding.right.add(event)
}
