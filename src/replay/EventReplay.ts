/**
 * Replays events: chosen past events are given to a subscriber again, each stream in its order, and nothing is written but the run's own rows.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"
import type { SettleTimeout } from "../event/EventFeed.js"
import { EventFeed } from "../event/EventFeed.js"
import type { EventStore } from "../event/EventStore.js"
import { Features } from "../event/Features.js"
import type { Snapshots } from "../event/Snapshots.js"
import type { Subscriber } from "../event/Subscriber.js"
import type { AppliedBy } from "../operation/Operation.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunError, RunHandle, RunResult } from "../operation/OperationRun.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { Run } from "../operation/Run.js"
import type { LaneFailed, LaneWorker } from "../operation/RunLanes.js"
import * as RunLanes from "../operation/RunLanes.js"
import type { RunLog, RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import type { Delivery } from "./Deliveries.js"
import { Deliveries } from "./Deliveries.js"
import * as Pace from "./Pace.js"
import type { ReadOnlyPorts } from "./ReadOnlyPorts.js"
import * as ReadOnly from "./ReadOnlyPorts.js"
import type { ReplayBounds } from "./ReplayBounds.js"
import * as Bounds from "./ReplayBounds.js"
import type { ReplayBoundsInvalid } from "./ReplayError.js"
import * as ReplayCut from "./ReplayCut.js"
import type { DeliveryFailed } from "./ReplayError.js"
import { ReplayForbidden, UnknownSubscriber } from "./ReplayError.js"
import * as ReplayLane from "./ReplayLane.js"

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
  /** In how many parts, of whole streams, each by the order of ids. With more than one, several processes can work on them. Default: 1. */
  readonly lanes?: number | undefined
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

const operationType = "event-replay"

const definitionOf = ({ events }: Pick<Subscriber<unknown, never>, "events">): string =>
  createHash("sha256")
    .update(JSON.stringify(events.map(({ type, version }) => [type, version])))
    .digest("hex")

type WorkError = LaneFailed | DeliveryFailed | SettleTimeout | DatabaseError | RunRefused

/** The services that replays require. */
export type Requirements = Features | EventFeed | Deliveries | EventStore | Snapshots | OperationConfig

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
    yield* Pace.problemOf(options) ?? Effect.void
    const deliveries = yield* Deliveries
    const ports = yield* ReadOnly.make
    return yield* OperationRun.run<ReplayReport, WorkError, EventFeed | Deliveries | OperationConfig>({
      operationType,
      name: subscriber.name,
      params: { ...Bounds.toJson(options.bounds), onError: options.onError ?? "stop" },
      definition: definitionOf(subscriber),
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

/** How many failures are listed. */
const listed = 20

const deliverAll = (
  subscriber: Subscriber<unknown, never>,
  options: ReplayOptions,
  ports: ReadOnlyPorts,
  handle: RunHandle
): Effect.Effect<ReplayReport, WorkError, EventFeed | Deliveries | OperationConfig> =>
  Effect.gen(function* () {
    const deliveries = yield* Deliveries
    const cut = yield* begin(subscriber, options, handle)
    const worker = {
      operationType,
      knows: () => Effect.succeed(true),
      work: (own: RunHandle, lane: string) => ReplayLane.deliver(subscriber, ports, own, cut, lane)
    }
    yield* RunLanes.work(
      handle,
      worker,
      Array.from({ length: cut.boundaries.length + 1 }, (_, at) => `${at + 1}`)
    )
    const failures = yield* deliveries.failed(handle.id)
    return reportOf(yield* handle.current, failures.slice(0, listed))
  })

/** How a process works on the lanes of replays that others have begun: with a subscriber of the same event types. */
export const laneWorker: LaneWorker<WorkError, Requirements> = {
  operationType,
  knows: (run) =>
    Effect.map(
      knownOf(run),
      Option.exists((known) => definitionOf(known) === run.definition)
    ),
  work: (handle, lane) =>
    Effect.gen(function* () {
      const [subscriber, cut] = [yield* knownOf(handle), ReplayCut.of(handle)]
      const ports = yield* ReadOnly.make
      // What is not known was refused before, and no lane is given away before the run is cut.
      if (Option.isSome(subscriber) && Option.isSome(cut))
        yield* ReplayLane.deliver(subscriber.value, ports, handle, cut.value, lane)
    })
}

const knownOf = ({ name }: Pick<Run, "name">) =>
  Effect.map(Features, ({ subscribers }) =>
    Option.fromNullable(subscribers.find((subscriber) => subscriber.name === name && subscriber.replay !== "never"))
  )

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

/** The end is fixed at the start: what is settled then. How fast it goes is for each start to say. */
const begin = (subscriber: Subscriber<unknown, never>, options: ReplayOptions, handle: RunHandle) =>
  Effect.gen(function* () {
    const pace = { rate: options.rate, concurrency: options.concurrency ?? 1, onError: options.onError ?? "stop" }
    const stored = ReplayCut.of(handle)
    if (Option.isSome(stored)) {
      const cut: ReplayCut.ReplayCut = { ...stored.value, ...pace }
      return yield* handle.batch(Effect.succeed({ value: cut, phase: "delivering", cursor: ReplayCut.cursorOf(cut) }))
    }
    const feed = yield* EventFeed
    const { lockTimeout } = yield* OperationConfig
    const selection = Bounds.selection(options.bounds, subscriber, yield* feed.settled(lockTimeout))
    const total = yield* feed.count(selection)
    const cut: ReplayCut.ReplayCut = {
      selection,
      boundaries: yield* feed.boundaries(selection, options.lanes ?? 1),
      ...pace
    }
    return yield* handle.batch(
      Effect.succeed({ value: cut, phase: "delivering", cursor: ReplayCut.cursorOf(cut), total })
    )
  })
