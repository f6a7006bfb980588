/**
 * An aggregate: the state that the events of one stream are folded into, by pure functions.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { describe } from "../operation/ErrorDescription.js"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { Event } from "./Event.js"
import type { AnyEventType, EventUnreadable, Of, TypedEvent } from "./EventType.js"
import { undeclared } from "./EventType.js"

/** A state that is stored does not fit the aggregate's Schema, or a function of the aggregate threw. */
export class StateInvalid extends Schema.TaggedError<StateInvalid>()("StateInvalid", {
  aggregateType: Schema.String,
  /** The event that was folded; none for a state that was stored. */
  eventId: Schema.Option(Schema.BigIntFromSelf),
  reason: Schema.String
}) {
  override get message(): string {
    const at = Option.match(this.eventId, { onNone: () => "a stored state", onSome: (id) => `event ${id}` })
    return `${at} of aggregate type ${this.aggregateType} cannot be used: ${this.reason}`
  }
}

/** The state of a stream while its events are folded. */
export interface StateFolding<out S> {
  readonly add: (event: Event) => Either.Either<void, EventUnreadable | StateInvalid>
  readonly state: () => S
  /** The state as JSON, for a snapshot. */
  readonly encoded: () => Either.Either<unknown, StateInvalid>
}

/** An aggregate whose state is not known, as a feature holds it. */
export interface AnyAggregate {
  /** The aggregate type of its streams. */
  readonly type: string
  readonly events: ReadonlyArray<AnyEventType>
  /** The version of the state's shape and of the functions: raised, older snapshots are not used. */
  readonly snapshotVersion: number
  /** After how many events a load stores a snapshot; none where it stores none. */
  readonly snapshotEvery: number | undefined
  /** Begins with the initial state, or with one of a snapshot. */
  readonly begin: (snapshot: Option.Option<unknown>) => Either.Either<StateFolding<unknown>, StateInvalid>
}

/** An aggregate with the type of its state. */
export interface Aggregate<out S> extends AnyAggregate {
  readonly begin: (snapshot: Option.Option<unknown>) => Either.Either<StateFolding<S>, StateInvalid>
}

/**
 * Makes an aggregate: for each event type, the state so far and the event give the state that follows. Raise `snapshotVersion` with every change
 * of the state's shape or of the functions.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Aggregate, EventType } from "effect-es-ops"
 *
 * const paid = EventType.make({ type: "invoice.paid", payload: Schema.Struct({ cents: Schema.Int }) })
 *
 * export const invoice = Aggregate.make({
 *   type: "invoice",
 *   state: Schema.Struct({ paidCents: Schema.Int }),
 *   initial: { paidCents: 0 },
 *   on: [[paid, (state, { payload }) => ({ paidCents: state.paidCents + payload.cents })]],
 *   snapshotEvery: 100
 * })
 * ```
 */
export function make<S, I, const T extends ReadonlyArray<AnyEventType>>(
  options: Options<S, I> & {
    readonly on: { readonly [N in keyof T]: readonly [T[N], (state: S, event: Of<T[N]>) => S] }
  }
): Aggregate<S>
export function make<S, I>(
  options: Options<S, I> & {
    readonly on: ReadonlyArray<readonly [AnyEventType, (state: S, event: TypedEvent<string, unknown>) => S]>
  }
): Aggregate<S> {
  const { initial, on, snapshotEvery, snapshotVersion = 1, state, type } = options
  const functions = new Map(on.map(([event, next]) => [event.type, { event, next }]))
  const decode = ParseResult.decodeUnknownEither(state)
  const encode = ParseResult.encodeUnknownEither(state)
  const invalid = (eventId: Option.Option<bigint>, reason: string) =>
    new StateInvalid({ aggregateType: type, eventId, reason })
  const folding = (first: S): StateFolding<S> => {
    let current = first
    return {
      state: () => current,
      encoded: () => Either.mapLeft(encode(current), (issue) => invalid(Option.none(), FieldErrors.lines(issue))),
      add: (event) => {
        const known = functions.get(event.type)
        if (known === undefined) return Either.left(undeclared(event))
        return Either.flatMap(known.event.read(event), (typed) =>
          Either.try({
            try: () => {
              current = known.next(current, typed)
            },
            catch: (error) => invalid(Option.some(event.id), describe(error).message)
          })
        )
      }
    }
  }
  return {
    type,
    events: on.map(([event]) => event),
    snapshotVersion,
    snapshotEvery,
    begin: (snapshot) =>
      Option.match(snapshot, {
        onNone: () => Either.right(folding(initial)),
        onSome: (stored) =>
          Either.mapBoth(decode(stored), {
            onLeft: (issue) => invalid(Option.none(), FieldErrors.lines(issue)),
            onRight: folding
          })
      })
  }
}

interface Options<S, I> {
  /** The aggregate type of its streams. */
  readonly type: string
  readonly state: Schema.Schema<S, I>
  readonly initial: S
  /** Default: 1. */
  readonly snapshotVersion?: number | undefined
  /** Default: no snapshot is stored by a load. */
  readonly snapshotEvery?: number | undefined
}
