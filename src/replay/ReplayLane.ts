/**
 * A lane of a replay: the events of a range of aggregate ids, page by page, each stream in its order, in any process that has the subscriber.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import { streamKey } from "../event/AppendRules.js"
import type { Event, StreamId } from "../event/Event.js"
import { EventFeed } from "../event/EventFeed.js"
import type { Replay, Subscriber } from "../event/Subscriber.js"
import type { AttemptError } from "../operation/Attempt.js"
import { describe } from "../operation/ErrorDescription.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { RunRefused } from "../operation/RunLog.js"
import type { Turns } from "./Deliveries.js"
import { Deliveries } from "./Deliveries.js"
import type { DeliveryRecorder } from "./DeliveryRecorder.js"
import * as DeliveryRecorders from "./DeliveryRecorder.js"
import type { Pace } from "./Pace.js"
import * as Paces from "./Pace.js"
import type { ReadOnlyPorts } from "./ReadOnlyPorts.js"
import type { ReplayCut } from "./ReplayCut.js"
import { DeliveryFailed, StreamStopped } from "./ReplayError.js"

/** The last event of a lane behind which it goes on. */
const LaneCursor = Schema.Struct({ after: Schema.BigInt, isDone: Schema.Boolean })

/** How many events are read at a time. */
const pageSize = 2000

/** Delivers what is left of a lane. */
export const deliver = (
  subscriber: Subscriber<unknown, never>,
  ports: ReadOnlyPorts,
  handle: RunHandle,
  cut: ReplayCut,
  lane: string
): Effect.Effect<void, DeliveryFailed | DatabaseError | RunRefused, EventFeed | Deliveries> =>
  Effect.gen(function* () {
    const stands = standingOf(handle, lane)
    if (Option.exists(stands, ({ isDone }) => isDone)) return
    const feed = yield* EventFeed
    const deliveries = yield* Deliveries
    const blocked = new Set((yield* deliveries.failed(handle.id)).map((failure) => streamKey(failure)))
    const recorder = yield* DeliveryRecorders.make(handle, lane)
    const pace = cut.rate === undefined ? undefined : Paces.perSecond(cut.rate / (cut.boundaries.length + 1))
    const delivering: Delivering = { subscriber, cut, ports, handle, lane, recorder, pace, blocked }
    const selection = {
      ...cut.selection,
      fromAggregate: cut.boundaries[Number(lane) - 2],
      belowAggregate: cut.boundaries[Number(lane) - 1]
    }
    /** What a process before recorded is left out. */
    const pageBehind = (after: bigint) =>
      Effect.gen(function* () {
        const events = yield* feed.page({ ...selection, after }, pageSize)
        const end = events.at(-1)?.id ?? after
        if (!handle.lanes.has(lane)) return { end, isLast: events.length < pageSize, events }
        const recorded = yield* deliveries.recorded(handle.id, after, end)
        return { end, isLast: events.length < pageSize, events: events.filter(({ id }) => !recorded.has(id)) }
      })
    // The next page is read while one is delivered, and the place behind the one before is recorded.
    const pages = Effect.gen(function* () {
      const from = Option.match(stands, { onNone: () => cut.selection.after, onSome: ({ after }) => after })
      let next = yield* Effect.forkScoped(pageBehind(from))
      let passed = Effect.void
      for (let isDone = false; !isDone;) {
        const { end, events, isLast } = yield* Fiber.join(next)
        if (!isLast) next = yield* Effect.forkScoped(pageBehind(end))
        yield* deliverPage(delivering, events)
        isDone = isLast
        yield* passed
        passed = yield* recorder.pass(Schema.encodeSync(LaneCursor)({ after: end, isDone }))
      }
      yield* passed
    }).pipe(Effect.scoped)
    yield* Effect.raceFirst(pages, recorder.keep)
  })

const standingOf = ({ lanes }: RunHandle, lane: string) =>
  Option.fromNullable(lanes.get(lane)).pipe(
    Option.flatMap(({ cursor }) => cursor),
    Option.flatMap(Schema.decodeUnknownOption(LaneCursor))
  )

/** What all deliveries of a run have in common. */
interface Delivering {
  readonly subscriber: Subscriber<unknown, never>
  readonly cut: ReplayCut
  readonly ports: ReadOnlyPorts
  readonly handle: RunHandle
  readonly lane: string
  readonly recorder: DeliveryRecorder
  /** None where it goes as fast as the subscriber takes them. */
  readonly pace: Pace | undefined
  /** The streams of which the rest is not delivered. */
  readonly blocked: Set<string>
}

/** Streams side by side, each in the order of its events. What is around handlers is made once for all that come one after another. */
const deliverPage = (
  delivering: Delivering,
  events: ReadonlyArray<Event>
): Effect.Effect<void, DeliveryFailed | RunRefused, Deliveries> => {
  const { blocked, cut, recorder } = delivering
  const streams = streamsOf(events)
  let next = 0
  const worker = delivering.ports((run) =>
    Effect.gen(function* () {
      for (let stream = streams[next++]; stream !== undefined; stream = streams[next++]) {
        const { key } = stream
        for (const event of stream.events) {
          const isStopped = blocked.has(key)
          const error = isStopped ? Option.some(new StreamStopped()) : yield* deliverOne(delivering, run, event)
          if (Option.isSome(error) && cut.onError !== "continue" && !isStopped) {
            yield* recorder.flush
            return yield* failureOf(delivering, event, error.value, streams)
          }
          if (Option.isSome(error)) blocked.add(key)
          stream.delivered++
          const { aggregateId, id: eventId, tenantId } = event
          recorder.add({ tenantId, aggregateId, eventId, error: Option.map(error, describe) })
        }
      }
    })
  )
  return Effect.all(
    Array.from({ length: Math.min(cut.concurrency, streams.length) }, () => worker),
    { concurrency: cut.concurrency, discard: true }
  )
}

/** The events of one stream in a page, and how many of them were given to the subscriber. */
interface PageStream {
  readonly key: string
  readonly events: Array<Event>
  delivered: number
}

/** The streams of a page, in the order of their first events. */
const streamsOf = (events: ReadonlyArray<Event>): ReadonlyArray<PageStream> => {
  const streams = new Map<string, PageStream>()
  for (const event of events) {
    const key = streamKey(event)
    const known = streams.get(key)
    if (known === undefined) streams.set(key, { key, events: [event], delivered: 0 })
    else known.events.push(event)
  }
  return [...streams.values()]
}

const streamOf = ({ aggregateId, tenantId }: Event): StreamId => ({ aggregateId, tenantId })

/** Gives one event to the subscriber; answers with what it failed with. An interruption is no failure of it. */
const deliverOne = (
  { handle, pace, subscriber }: Delivering,
  run: Turns["run"],
  event: Event
): Effect.Effect<Option.Option<unknown>> => {
  const { id: runId } = handle
  const replay: Replay = {
    runId,
    // A digest costs as much as all the rest: it is made for those who ask.
    get deliveryId() {
      return deliveryId(runId, subscriber.name, event.id)
    },
    isReplay: true
  }
  const given = Effect.suspend(() => Either.getOrElse(subscriber.deliver(event, replay), Effect.fail<unknown>))
  const outcome = Effect.flatMap(run(given), failureIn)
  return pace === undefined ? outcome : Effect.zipRight(pace, outcome)
}

const failureIn = Exit.match({
  onFailure: (cause: Cause.Cause<unknown>): Effect.Effect<Option.Option<unknown>> =>
    Cause.isInterruptedOnly(cause) ? Effect.interrupt : Effect.succeedSome(Cause.squash(cause)),
  onSuccess: () => Effect.succeedNone
})

/** A UUID that follows from run, subscriber and event. */
const deliveryId = (runId: string, subscriber: string, eventId: bigint): string => {
  const hash = createHash("sha256").update(`${runId}\n${subscriber}\n${eventId}`).digest("hex")
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}

/** It says from which id to go on: that of the first event that was not given, in whichever lane. */
const failureOf = (
  { cut, handle, lane, subscriber: { name: subscriber } }: Delivering,
  event: Event,
  cause: unknown,
  streams: ReadonlyArray<PageStream>
): Effect.Effect<never, DeliveryFailed | RunRefused> =>
  Effect.gen(function* () {
    const { message }: AttemptError = describe(cause)
    const open = streams.flatMap(({ delivered, events }) => events.slice(delivered, delivered + 1))
    const others = cut.boundaries.length === 0 ? [] : standsOf(yield* handle.rejoined, cut, lane)
    const fromId = [...open.map(({ id }) => id), ...others].reduce((least, id) => (id < least ? id : least), event.id)
    return yield* new DeliveryFailed({
      subscriber,
      eventId: event.id,
      ...streamOf(event),
      fromId,
      reason: message,
      cause
    })
  })

/** The ids from which the other lanes would go on, as far as that is recorded. */
const standsOf = (handle: RunHandle, cut: ReplayCut, lane: string): ReadonlyArray<bigint> =>
  [...cut.boundaries, undefined].flatMap((_, at) => {
    const other = `${at + 1}`
    const { after, isDone } = Option.getOrElse(standingOf(handle, other), () => ({
      after: cut.selection.after,
      isDone: false
    }))
    return other === lane || isDone ? [] : [after + 1n]
  })
