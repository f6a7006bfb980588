/**
 * An event type: the name and version of what can happen, the Schema of its payload, and how older payloads are read.
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { describe } from "../operation/ErrorDescription.js"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { Event, Payload } from "./Event.js"
import type { DecidedEvent } from "./WriteHandler.js"
import { reject, type Rejection } from "./WriteHandler.js"

/** A stored event cannot be read: its version is above the known one, an upcast throws, or its payload does not fit the type. */
export class EventUnreadable extends Schema.TaggedError<EventUnreadable>()("EventUnreadable", {
  eventId: Schema.BigInt,
  type: Schema.String,
  eventVersion: Schema.Number,
  reason: Schema.String
}) {
  override get message(): string {
    return `event ${this.eventId} (${this.type}, version ${this.eventVersion}) cannot be read: ${this.reason}`
  }
}

/** An event with the payload of its type. */
export interface TypedEvent<out Type extends string, out A> extends Omit<Event, "type" | "payload"> {
  readonly type: Type
  readonly payload: A
}

/** An event type whose payload is not known, as registries and runners hold it. */
export interface AnyEventType {
  /** As it is stored, such as `order.placed`. */
  readonly type: string
  /** The version of the payload's shape that is written today. */
  readonly version: number
  /** How many upcasts there are: one less than `version`, or the type cannot be used. */
  readonly upcasts: number
  /** Decodes a payload of today's version. */
  readonly decode: (payload: unknown) => Either.Either<unknown, ParseResult.ParseIssue>
  /** The stored event, brought to today's version and decoded. */
  readonly read: (event: Event) => Either.Either<TypedEvent<string, unknown>, EventUnreadable>
}

/** An event type with the types of its payload, decoded (`A`) and as JSON (`I`). */
export interface EventType<out Type extends string, in out A, in out I> extends AnyEventType {
  readonly type: Type
  readonly payload: Schema.Schema<A, I>
  readonly decode: (payload: unknown) => Either.Either<A, ParseResult.ParseIssue>
  readonly read: (event: Event) => Either.Either<TypedEvent<Type, A>, EventUnreadable>
}

/** The event of an event type, as projections, subscribers and aggregates see it. */
export type Of<T> = T extends EventType<infer Type, infer A, infer _I> ? TypedEvent<Type, A> : never

/** Takes a stored payload of one version to the next. Throwing makes the event unreadable. */
export type Upcast = (payload: Payload) => Payload

/** As many upcasts as a version needs: one less. */
export type Upcasts<Version extends number, Chain extends ReadonlyArray<Upcast> = readonly []> = number extends Version
  ? ReadonlyArray<Upcast>
  : [...Chain, Upcast]["length"] extends Version
    ? Chain
    : Upcasts<Version, readonly [...Chain, Upcast]>

/**
 * Makes an event type. `upcasts[i]` takes a payload of version `i + 1` to `i + 2`: a type of version 3 needs two of them, or it does not
 * compile. What is stored is never changed.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { EventType } from "effect-es-ops"
 *
 * export const orderPlaced = EventType.make({
 *   type: "order.placed",
 *   version: 2,
 *   payload: Schema.Struct({ sku: Schema.String, currency: Schema.String }),
 *   upcasts: [(first) => ({ ...first, currency: "EUR" })]
 * })
 * ```
 */
export const make = <const Type extends string, A, I, const Version extends number = 1>(
  options: {
    readonly type: Type
    /** Default: 1. */
    readonly version?: Version | undefined
    readonly payload: Schema.Schema<A, I>
  } & ([Version] extends [1] ? { readonly upcasts?: readonly [] | undefined } : { readonly upcasts: Upcasts<Version> })
): EventType<Type, A, I> => {
  const version: number = options.version ?? 1
  const upcasts: ReadonlyArray<Upcast> = options.upcasts ?? []
  const decode = ParseResult.decodeUnknownEither(options.payload)
  return {
    type: options.type,
    version,
    upcasts: upcasts.length,
    payload: options.payload,
    decode,
    read: (event) => {
      const unreadable = (reason: string) =>
        new EventUnreadable({ eventId: event.id, type: event.type, eventVersion: event.eventVersion, reason })
      if (event.unreadable !== undefined) return Either.left(unreadable(event.unreadable))
      if (event.eventVersion > version) return Either.left(unreadable(`the newest known version is ${version}`))
      const current = event.eventVersion === version ? Either.right(event.payload) : upcast(event, upcasts)
      if (Either.isLeft(current)) return Either.left(unreadable(current.left))
      const decoded = decode(current.right)
      return Either.isLeft(decoded)
        ? Either.left(unreadable(FieldErrors.lines(decoded.left)))
        : Either.right({ ...event, type: options.type, payload: decoded.right })
    }
  }
}

/**
 * Makes an event for a handler to decide, of today's version. A payload that its Schema cannot encode is refused with `validation_error`.
 *
 * @example
 * ```ts
 * import { Either, Schema } from "effect"
 * import { EventType, WriteHandler } from "effect-es-ops"
 *
 * const renamed = EventType.make({ type: "shop.renamed", payload: Schema.Struct({ name: Schema.NonEmptyString }) })
 *
 * export const rename = WriteHandler.make({
 *   name: "shop:write:rename",
 *   payload: Schema.Struct({ id: Schema.UUID, version: Schema.Int, name: Schema.NonEmptyString }),
 *   access: ["system"],
 *   handle: ({ id, name, version }) =>
 *     Either.map(
 *       EventType.event(renamed, { aggregateId: id, aggregateType: "shop", version, payload: { name } }),
 *       (event) => ({ events: [event], data: { id } })
 *     )
 * })
 * ```
 */
export const event = <Type extends string, A, I>(
  type: EventType<Type, A, I>,
  decided: Omit<DecidedEvent, "type" | "eventVersion" | "payload"> & { readonly payload: A }
): Either.Either<DecidedEvent, Rejection> => {
  const encoded: Either.Either<unknown, ParseResult.ParseIssue> = ParseResult.encodeUnknownEither(type.payload)(
    decided.payload
  )
  if (Either.isLeft(encoded)) return Either.left(reject("validation_error", FieldErrors.lines(encoded.left)))
  return Predicate.isReadonlyRecord(encoded.right)
    ? Either.right({ ...decided, type: type.type, eventVersion: type.version, payload: encoded.right })
    : Either.left(reject("validation_error", `a payload of ${type.type} is no JSON object`))
}

/** What is wrong with a type, if anything is: its version, or the number of its upcasts. */
export const problemOf = ({ type, upcasts, version }: AnyEventType): string | undefined => {
  if (!Number.isSafeInteger(version) || version < 1) return `event type "${type}" has version ${version}: 1 or above`
  return upcasts === version - 1
    ? undefined
    : `event type "${type}" of version ${version} needs ${version - 1} upcasts and has ${upcasts}`
}

/** The answer to an event of a type that nothing was declared for. */
export const undeclared = ({ eventVersion, id, type }: Event): EventUnreadable =>
  new EventUnreadable({ eventId: id, type, eventVersion, reason: "nothing is declared for its type" })

/** Brings a payload from the event's version to the last, or says why that cannot be done. */
const upcast = (event: Event, upcasts: ReadonlyArray<Upcast>): Either.Either<Payload, string> =>
  Either.try({
    try: () =>
      upcasts.slice(Math.max(event.eventVersion, 1) - 1).reduce((payload, next) => next(payload), event.payload),
    catch: (error) => `its upcast failed: ${describe(error).message}`
  })
