/**
 * An aggregate: the state that the events of one stream are folded into, by pure functions.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { describe } from "../operation/ErrorDescription.js"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event, StreamId } from "./Event.js"
import type { AnyEventType, EventUnreadable, Of, TypedEvent } from "./EventType.js"
import { toJson } from "./JsonValue.js"
import type { SnapshotTail } from "./Snapshots.js"
import { Snapshots } from "./Snapshots.js"

/** A state that is stored does not fit the aggregate's Schema, or a function of the aggregate threw. */
export class StateInvalid extends Schema.TaggedError<StateInvalid>()("StateInvalid", {
  aggregateType: Schema.String,
  /** The event that was folded; none for a state that was stored. */
  eventId: Schema.Option(Schema.BigInt),
  reason: Schema.String
}) {
  override get message(): string {
    const at = Option.match(this.eventId, { onNone: () => "a stored state", onSome: (id) => `event ${id}` })
    return `${at} of aggregate type ${this.aggregateType} cannot be used: ${this.reason}`
  }
}

/** The state of a stream while its events are folded. */
export interface StateFolding<out S> {
  /** Folds one more event; one of a type that the aggregate has no function for leaves the state as it is. */
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
  /** The text of its functions: what was folded by another text is not gone on with. */
  readonly source: string
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
      encoded: () =>
        Either.flatMap(
          Either.mapLeft(encode(current), (issue) => invalid(Option.none(), FieldErrors.lines(issue))),
          (json) => Either.mapLeft(toJson(json, "state"), ({ message }) => invalid(Option.none(), message))
        ),
      add: (event) => {
        const known = functions.get(event.type)
        if (known === undefined) return Either.void
        const typed = known.event.read(event)
        if (Either.isLeft(typed)) return Either.left(typed.left)
        // By the million: nothing is made for each.
        try {
          current = known.next(current, typed.right)
          return Either.void
        } catch (error) {
          return Either.left(invalid(Option.some(event.id), describe(error).message))
        }
      }
    }
  }
  return {
    type,
    events: on.map(([event]) => event),
    snapshotVersion,
    snapshotEvery,
    source: on.map(([event, next]) => `${event.type} ${event.version} ${next}`).join("\n"),
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

/** The state of a stream, and the version of its last event: 0 where there is none. */
export interface Loaded<out S> {
  readonly state: S
  readonly version: number
}

/**
 * The state of a stream: folded from its newest snapshot of this `snapshotVersion` and the events behind it, in one round trip. Where
 * `snapshotEvery` events or more were folded, a snapshot of the result is stored. An event that cannot be read is `EventUnreadable`, a function that
 * throws `StateInvalid`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Aggregate, EventType } from "effect-es-ops"
 *
 * const paid = EventType.make({ type: "invoice.paid", payload: Schema.Struct({ cents: Schema.Int }) })
 *
 * const invoice = Aggregate.make({
 *   type: "invoice",
 *   state: Schema.Struct({ paidCents: Schema.Int }),
 *   initial: { paidCents: 0 },
 *   on: [[paid, (state, { payload }) => ({ paidCents: state.paidCents + payload.cents })]]
 * })
 *
 * export const paidSoFar = (tenantId: string, aggregateId: string) =>
 *   Effect.map(Aggregate.load(invoice, { tenantId, aggregateId }), ({ state }) => state.paidCents)
 * ```
 */
export const load = <S>(
  aggregate: Aggregate<S>,
  { aggregateId, tenantId }: StreamId
): Effect.Effect<Loaded<S>, EventUnreadable | StateInvalid | DatabaseError, Snapshots> =>
  Effect.gen(function* () {
    const snapshots = yield* Snapshots
    const { snapshotEvery, snapshotVersion, type } = aggregate
    const key = { tenantId, aggregateId, aggregateType: type, snapshotVersion }
    const found = yield* snapshots.load(key)
    const { folding, tail } = yield* Option.match(found.snapshot, {
      onNone: () => Effect.map(aggregate.begin(Option.none()), (folding) => ({ folding, tail: found })),
      onSome: ({ state }) =>
        Effect.catchAll(
          Effect.map(aggregate.begin(Option.some(state)), (folding) => ({ folding, tail: found })),
          (invalid) => fromTheFirst(aggregate, key, invalid)
        )
    })
    const from = Option.match(tail.snapshot, { onNone: () => 0, onSome: ({ version }) => version })
    for (const event of tail.events) yield* folding.add(event)
    const last = tail.events.at(-1)
    const version = last?.version ?? from
    const isDue = snapshotEvery !== undefined && tail.events.length >= snapshotEvery
    if (isDue && last !== undefined && version === from + tail.events.length) {
      yield* noted(
        Effect.flatMap(folding.encoded(), (state) => snapshots.save({ ...key, version, eventId: last.id, state }))
      )
    }
    return { state: folding.state(), version }
  }).pipe(
    Effect.withSpan("Aggregate.load", { attributes: { aggregateType: aggregate.type }, captureStackTrace: false })
  )

/** A snapshot of a version that no aggregate has: the stream is read whole. */
const noSnapshot = -1

/** A stored state that does not fit the Schema of its version is said, and not used. */
const fromTheFirst = <S>(
  aggregate: Aggregate<S>,
  key: StreamId & { readonly aggregateType: string },
  invalid: StateInvalid
) =>
  Effect.gen(function* () {
    yield* Effect.logWarning(
      `The snapshot of stream ${key.aggregateId} of tenant ${key.tenantId} is not used: ${invalid.message}. es-ops snapshot:rebuild ${aggregate.type} mends it`
    )
    const { load: loadTail } = yield* Snapshots
    const tail: SnapshotTail = yield* loadTail({ ...key, snapshotVersion: noSnapshot })
    return { folding: yield* aggregate.begin(Option.none()), tail }
  })

/** A snapshot only saves time: that it was not stored is said, and fails nothing. */
const noted = (save: Effect.Effect<void, StateInvalid | DatabaseError>): Effect.Effect<void> =>
  Effect.catchAll(save, ({ message }) => Effect.logWarning(`A snapshot was not stored: ${message}`))

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
