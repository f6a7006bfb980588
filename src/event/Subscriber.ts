/**
 * A subscriber: what is done for events outside the database. It is given past events again by a replay.
 */
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Event } from "./Event.js"
import type { AnyEventType, EventUnreadable, Of, TypedEvent } from "./EventType.js"
import { undeclared } from "./EventType.js"
import type { WriteDispatcher } from "./WriteDispatcher.js"

/** The delivery of one event: `deliveryId` is the same for the same run, subscriber and event, whenever it is tried. */
export interface Replay {
  readonly runId: string
  readonly deliveryId: string
  readonly isReplay: boolean
}

/** A subscriber of any events, as a feature holds it. */
export interface Subscriber<out E = unknown, out R = unknown> {
  readonly name: string
  /** The event types that reach it. */
  readonly events: ReadonlyArray<AnyEventType>
  /** Whether past events may be given to it again. */
  readonly replay: "allowed" | "never"
  /** Reads a stored event, and says how it is handled. */
  readonly deliver: (event: Event, replay: Replay) => Either.Either<Effect.Effect<void, E, R>, EventUnreadable>
}

/** A replay only reads: a handler that requires to write must not be given past events. What it requires is unknown while it is inferred. */
type OnlyReads<R> = unknown extends R ? unknown : WriteDispatcher extends R ? { readonly replay: "never" } : unknown

/**
 * Makes a subscriber. `handle` is given events of the types in `events`, upcast, one after another in each stream; it has to bear the same event
 * twice, which `deliveryId` tells. One whose handler writes, through `WriteDispatcher`, compiles with `replay: "never"` only.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { EventType, Subscriber } from "effect-es-ops"
 *
 * const paid = EventType.make({ type: "invoice.paid", payload: Schema.Struct({ cents: Schema.Int }) })
 *
 * export const mail = Subscriber.make({
 *   name: "mail",
 *   events: [paid],
 *   handle: ({ aggregateId, payload }, { deliveryId }) =>
 *     Effect.log(`invoice ${aggregateId}: ${payload.cents} cents, delivery ${deliveryId}`)
 * })
 * ```
 */
export function make<const T extends ReadonlyArray<AnyEventType>, E, R>(
  options: {
    readonly name: string
    readonly events: T
    readonly handle: (event: Of<T[number]>, replay: Replay) => Effect.Effect<void, E, R>
    /** Default: allowed. */
    readonly replay?: "allowed" | "never" | undefined
  } & OnlyReads<NoInfer<R>>
): Subscriber<E, R>
export function make<E, R>(options: {
  readonly name: string
  readonly events: ReadonlyArray<AnyEventType>
  readonly handle: (event: TypedEvent<string, unknown>, replay: Replay) => Effect.Effect<void, E, R>
  readonly replay?: "allowed" | "never" | undefined
}): Subscriber<E, R> {
  const types = new Map(options.events.map((type) => [type.type, type]))
  return {
    name: options.name,
    events: options.events,
    replay: options.replay ?? "allowed",
    deliver: (event, replay) =>
      Either.map(types.get(event.type)?.read(event) ?? Either.left(undeclared(event)), (typed) =>
        options.handle(typed, replay)
      )
  }
}
