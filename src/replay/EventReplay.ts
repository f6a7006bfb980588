/**
 * Replays events: chosen past events are given to a subscriber again, each stream in its order, and nothing is written but the run's own rows.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { createHash } from "node:crypto"
import { streamKey } from "../event/AppendRules.js"
import type { Event, StreamId } from "../event/Event.js"
import type { SettleTimeout } from "../event/EventFeed.js"
import { EventFeed } from "../event/EventFeed.js"
import type { EventStore } from "../event/EventStore.js"
import { Features } from "../event/Features.js"
import type { Snapshots } from "../event/Snapshots.js"
import type { Subscriber } from "../event/Subscriber.js"
import type { AttemptError } from "../operation/Attempt.js"
import { describe } from "../operation/ErrorDescription.js"
import type { AppliedBy } from "../operation/Operation.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunError, RunHandle, RunResult } from "../operation/OperationRun.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { Run } from "../operation/Run.js"
import type { RunLog, RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import type { Delivery } from "./Deliveries.js"
import { Deliveries } from "./Deliveries.js"
import type { DeliveryRecorder } from "./DeliveryRecorder.js"
import * as DeliveryRecorders from "./DeliveryRecorder.js"
import type { Pace } from "./Pace.js"
import * as Paces from "./Pace.js"
import type { ReadOnlyPorts } from "./ReadOnlyPorts.js"
import * as ReadOnly from "./ReadOnlyPorts.js"
import type { ReplayBounds } from "./ReplayBounds.js"
import * as Bounds from "./ReplayBounds.js"
import type { ReplayBoundsInvalid } from "./ReplayError.js"
import { DeliveryFailed, ReplayForbidden, StreamStopped, UnknownSubscriber } from "./ReplayError.js"

/** Which events are meant, for which subscriber. */
export interface ReplaySelection {
  /** The name of the subscriber. */
  readonly subscriber: string
  readonly bounds: ReplayBounds
}

/** A replay, and how it goes. */
export interface ReplayOptions extends ReplaySelection {
  /** How many events a second at most. Default: as many as the subscriber takes. */
  readonly rate?: number | undefined
  /** How many streams side by side. Default: 1. */
  readonly concurrency?: number | undefined
  /** Default: stop at the first failure. Else only the rest of its stream is left out. */
  readonly onError?: "stop" | "continue" | undefined
  readonly appliedBy: AppliedBy
  readonly restart?: boolean | undefined
  readonly observer?: RunObserver | undefined
}

/** What a replay would deliver. */
export interface ReplayPlan {
  readonly subscriber: string
  readonly events: number
  readonly types: ReadonlyArray<string>
  /** The ids between which they are, both included. */
  readonly fromId: bigint
  readonly toId: bigint
}

/** What a replay has delivered. */
export interface ReplayReport {
  readonly runId: string
  readonly subscriber: string
  readonly delivered: number
  readonly failed: number
  /** The events that were left out, as their stream had failed. */
  readonly skipped: number
  readonly failures: ReadonlyArray<Delivery>
}

/** Why a replay is not begun. */
export type ReplayRefused = UnknownSubscriber | ReplayBoundsInvalid | ReplayForbidden

type WorkError = DeliveryFailed | SettleTimeout | DatabaseError | RunRefused

type Requirements = Features | EventFeed | Deliveries | EventStore | Snapshots | OperationConfig

/** The number of events that a replay with these bounds delivers, once all that was appended so far is settled. Nothing is written. */
export const plan = (
  selected: ReplaySelection
): Effect.Effect<ReplayPlan, ReplayRefused | SettleTimeout | DatabaseError, Features | EventFeed | OperationConfig> =>
  Effect.gen(function* () {
    const subscriber = yield* subscriberOf(selected)
    const feed = yield* EventFeed
    const { lockTimeout } = yield* OperationConfig
    const selection = Bounds.selection(selected.bounds, subscriber, yield* feed.settled(lockTimeout))
    return {
      subscriber: subscriber.name,
      events: yield* feed.count(selection),
      types: selection.types ?? [],
      fromId: selection.after + 1n,
      toId: selection.upTo
    }
  })

/**
 * Gives past events to a subscriber again. Its handler runs in a transaction that only reads, and its `EventStore` refuses appends. What was delivered is
 * recorded: after a crash the same call goes on behind it, and what was under way may be given twice, with the same `deliveryId`. With `onError: "stop"` the
 * first failure is `DeliveryFailed`.
 *
 * @example
 * ```ts
 * import { EventReplay } from "effect-es-ops"
 *
 * export const replay = EventReplay.run({
 *   subscriber: "mail",
 *   bounds: { since: new Date("2026-11-01"), types: ["invoice.paid"] },
 *   rate: 50,
 *   appliedBy: "cli"
 * })
 * ```
 */
export const run = (
  options: ReplayOptions
): Effect.Effect<RunResult<ReplayReport>, ReplayRefused | RunError<WorkError>, Requirements | RunLog> =>
  Effect.gen(function* () {
    const subscriber = yield* subscriberOf(options)
    const deliveries = yield* Deliveries
    const ports = yield* ReadOnly.make
    return yield* OperationRun.run<ReplayReport, WorkError, EventFeed | Deliveries | OperationConfig>({
      operationType: "event-replay",
      name: subscriber.name,
      params: { ...Bounds.toJson(options.bounds), onError: options.onError ?? "stop" },
      definition: createHash("sha256")
        .update(JSON.stringify(subscriber.events.map(({ type, version }) => [type, version])))
        .digest("hex"),
      access: { reads: ["*"], changes: [] },
      tables: ["es_ops_deliveries"],
      restart: options.restart,
      appliedBy: options.appliedBy,
      observer: options.observer,
      pauses: ({ _tag }) => _tag === "SettleTimeout",
      work: (handle) => deliverAll(subscriber, options, ports, handle),
      last: ({ runId }) => deliveries.remove(runId),
      drop: ({ id }) => deliveries.remove(id)
    })
  })

const subscriberOf = ({
  bounds,
  subscriber: name
}: ReplaySelection): Effect.Effect<Subscriber<unknown, never>, ReplayRefused, Features> =>
  Effect.flatMap(Features, ({ subscribers }): Effect.Effect<Subscriber<unknown, never>, ReplayRefused> => {
    const found = subscribers.find((subscriber) => subscriber.name === name)
    if (found === undefined) return new UnknownSubscriber({ name, known: subscribers.map((known) => known.name) })
    if (found.replay === "never") return new ReplayForbidden({ subscriber: name })
    return Bounds.problemOf(bounds, found) ?? Effect.succeed(found)
  })

const Cursor = Schema.Struct({ after: Schema.BigInt, upTo: Schema.BigInt })

/** How many events are read at a time. */
const pageSize = 2000

/** How many failures are listed. */
const listed = 20

const deliverAll = (
  subscriber: Subscriber<unknown, never>,
  options: ReplayOptions,
  ports: ReadOnlyPorts,
  handle: RunHandle
): Effect.Effect<ReplayReport, WorkError, EventFeed | Deliveries | OperationConfig> =>
  Effect.gen(function* () {
    const feed = yield* EventFeed
    const deliveries = yield* Deliveries
    const { selection, after } = yield* begin(subscriber, options, handle)
    const failures = [...(yield* deliveries.failed(handle.id))]
    const blocked = new Set(failures.map((failure) => streamKey(failure)))
    const recorder = yield* DeliveryRecorders.make(handle)
    const pace = options.rate === undefined ? Paces.unbounded : Paces.perSecond(options.rate)
    const delivering: Delivering = { subscriber, options, ports, handle, recorder, pace, blocked, failures }
    const pages = Effect.gen(function* () {
      let at = after
      for (;;) {
        const events = yield* feed.page({ ...selection, after: at }, pageSize)
        const recorded: ReadonlySet<bigint> = handle.isResumed ? yield* deliveries.recorded(handle.id, at) : new Set()
        yield* deliverPage(
          delivering,
          events.filter(({ id }) => !recorded.has(id))
        )
        yield* recorder.flush
        const last = events.at(-1)
        if (last === undefined || events.length < pageSize) return
        at = last.id
        const cursor = Schema.encodeSync(Cursor)({ after: at, upTo: selection.upTo })
        yield* handle.batch(Effect.succeed({ value: undefined, phase: "delivering", cursor }))
      }
    })
    yield* Effect.raceFirst(pages, recorder.keep)
    return reportOf(yield* handle.current, failures.slice(0, listed))
  })

/** The report of a run, with its first failures. */
export const reportOf = (
  { counters, id, name }: Pick<Run, "counters" | "id" | "name">,
  failures: ReadonlyArray<Delivery>
): ReplayReport => ({
  runId: id,
  subscriber: name,
  delivered: counters["delivered"] ?? 0,
  failed: counters["failed"] ?? 0,
  skipped: counters["skipped"] ?? 0,
  failures
})

/** The end is fixed at the start: what is settled then. */
const begin = (subscriber: Subscriber<unknown, never>, { bounds }: ReplayOptions, handle: RunHandle) =>
  Effect.gen(function* () {
    const stored = Option.flatMap(handle.cursor, Schema.decodeUnknownOption(Cursor))
    if (Option.isSome(stored)) {
      const selection = Bounds.selection(bounds, subscriber, stored.value.upTo)
      return { selection, after: stored.value.after }
    }
    const feed = yield* EventFeed
    const { lockTimeout } = yield* OperationConfig
    const upTo = yield* feed.settled(lockTimeout)
    const selection = Bounds.selection(bounds, subscriber, upTo)
    const total = yield* feed.count(selection)
    const cursor = Schema.encodeSync(Cursor)({ after: selection.after, upTo })
    yield* handle.batch(Effect.succeed({ value: undefined, phase: "delivering", cursor, total }))
    return { selection, after: selection.after }
  })

/** What all deliveries of a run have in common. */
interface Delivering {
  readonly subscriber: Subscriber<unknown, never>
  readonly options: ReplayOptions
  readonly ports: ReadOnlyPorts
  readonly handle: RunHandle
  readonly recorder: DeliveryRecorder
  readonly pace: Pace
  /** The streams of which the rest is not delivered. */
  readonly blocked: Set<string>
  readonly failures: Array<Delivery>
}

/** Streams side by side, each in the order of its events. */
const deliverPage = (
  delivering: Delivering,
  events: ReadonlyArray<Event>
): Effect.Effect<void, DeliveryFailed, Deliveries> => {
  const streams = Object.values(Arr.groupBy(events, streamKey))
  const open = new Set(events.map(({ id }) => id))
  return Effect.forEach(streams, (stream) => deliverStream(delivering, stream, open), {
    concurrency: delivering.options.concurrency ?? 1,
    discard: true
  })
}

const deliverStream = (
  delivering: Delivering,
  events: ReadonlyArray<Event>,
  open: Set<bigint>
): Effect.Effect<void, DeliveryFailed, Deliveries> =>
  Effect.gen(function* () {
    const { blocked, failures, options, recorder, subscriber } = delivering
    for (const event of events) {
      const isStopped = blocked.has(streamKey(event))
      const error = isStopped ? Option.some(new StreamStopped()) : yield* deliver(delivering, event)
      if (Option.isSome(error) && options.onError !== "continue" && !isStopped) {
        yield* recorder.flush
        return yield* failureOf(subscriber.name, event, error.value, open)
      }
      const delivery = { ...streamOf(event), eventId: event.id, error: Option.map(error, describe) }
      if (Option.isSome(error) && !isStopped) {
        blocked.add(streamKey(event))
        failures.push(delivery)
      }
      open.delete(event.id)
      yield* recorder.add(delivery)
    }
  })

const streamOf = ({ aggregateId, tenantId }: Event): StreamId => ({ aggregateId, tenantId })

/** Gives one event to the subscriber; answers with what it failed with. An interruption is no failure of it. */
const deliver = (
  { handle, pace, ports, subscriber }: Delivering,
  event: Event
): Effect.Effect<Option.Option<unknown>, never, Deliveries> =>
  Effect.gen(function* () {
    const deliveries = yield* Deliveries
    yield* pace
    const replay = { runId: handle.id, deliveryId: deliveryId(handle.id, subscriber.name, event.id), isReplay: true }
    const handled = Either.match(subscriber.deliver(event, replay), {
      onLeft: (unreadable) => Effect.fail<unknown>(unreadable),
      onRight: (handler) => deliveries.readOnly(ports(handler))
    })
    const exit = yield* Effect.exit(handled)
    if (Exit.isSuccess(exit)) return Option.none()
    if (Cause.isInterruptedOnly(exit.cause)) return yield* Effect.interrupt
    return Option.some(Cause.squash(exit.cause))
  })

/** A UUID that follows from run, subscriber and event. */
const deliveryId = (runId: string, subscriber: string, eventId: bigint): string => {
  const hash = createHash("sha256").update(`${runId}\n${subscriber}\n${eventId}`).digest("hex")
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}

const failureOf = (subscriber: string, event: Event, cause: unknown, open: ReadonlySet<bigint>): DeliveryFailed => {
  const { message }: AttemptError = describe(cause)
  const fromId = [...open].reduce((least, id) => (id < least ? id : least), event.id)
  return new DeliveryFailed({ subscriber, eventId: event.id, ...streamOf(event), fromId, reason: message, cause })
}
