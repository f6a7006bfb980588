/**
 * A write handler: decides from a command which events happen.
 */
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as FieldErrors from "../operation/FieldErrors.js"
import type { Payload } from "./Event.js"

/** The user who acts: the streams of the tenant are written, and access rules are about the roles. */
export interface Actor {
  readonly id: string
  readonly tenantId: string
  readonly roles: ReadonlyArray<string>
}

/** The code of a refusal. The named ones are those that the core gives; a handler may use others. */
export type RejectionCode =
  | "validation_error"
  | "access_denied"
  | "version_conflict"
  | "not_found"
  | "conflict"
  | "unknown_handler"
  | "stream_archived"
  | (string & {})

/** The handler refuses. Nothing of the write remains. */
export class Rejection extends Schema.TaggedError<Rejection>()("Rejection", {
  code: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return this.reason
  }
}

/**
 * Makes a refusal, with its code and what a person should read. A handler returns it as the left of an `Either`, or fails with it.
 *
 * @example
 * ```ts
 * import { Either, Schema } from "effect"
 * import { WriteHandler } from "effect-es-ops"
 *
 * export const closeShop = WriteHandler.make({
 *   name: "shop:write:close",
 *   payload: Schema.Struct({ reason: Schema.String }),
 *   access: ["Owner"],
 *   handle: ({ reason }) => Either.left(WriteHandler.reject("conflict", `the shop is closed already: ${reason}`))
 * })
 * ```
 */
export const reject = (code: RejectionCode, reason: string): Rejection => new Rejection({ code, reason })

/** An event as a handler decides it: tenant and metadata are the write's, not the handler's. */
export interface DecidedEvent {
  readonly aggregateId: string
  readonly aggregateType: string
  /** The version that the stream will have with this event: 1 for the first of a new stream. */
  readonly version: number
  readonly type: string
  /** The version of the payload's shape. Default: 1. */
  readonly eventVersion?: number | undefined
  readonly payload: Payload
  readonly idempotencyKey?: string | undefined
}

/** The answer to a write: the aggregate's id, and whatever else its handler says, the row as a rule. */
export interface WriteData {
  readonly id: string
  readonly [key: string]: unknown
}

/** A decision: the events that happen, and the answer to the write. */
export interface Decision<out D extends WriteData = WriteData> {
  readonly events: NonEmptyReadonlyArray<DecidedEvent>
  /** The aggregate's id and whatever else the writer may want to know. */
  readonly data: D
}

/** The context of one write: what a handler knows besides the payload. */
export interface WriteContext {
  readonly actor: Actor
  /** A fresh UUID, for an aggregate whose id the payload does not give. */
  readonly newId: string
}

/**
 * A decision at once (a value or an `Either`), or an Effect of one. An Effect may read, so it is run only after every earlier write; writes
 * that are decided at once are appended in batches.
 */
export type Decided<E, R, D extends WriteData = WriteData> =
  Decision<D> | Either.Either<Decision<D>, Rejection> | Effect.Effect<Decision<D>, Rejection | E, R>

/** A handler of any payload, as a feature and a dispatcher hold it. */
export interface AnyWriteHandler<out E = unknown, out R = unknown> {
  /** `<feature>:write:<handler>`. */
  readonly name: string
  /** The roles of which the actor needs one. There is no role that passes every rule. */
  readonly access: ReadonlyArray<string>
  /** Decodes the payload, or refuses with `validation_error`; then decides. */
  readonly decide: (payload: unknown, context: WriteContext) => Decided<E, R>
}

/** A handler with its name and the types of its payload and its answer. */
export interface WriteHandler<
  out Name extends string,
  in out A,
  in out I,
  out E = never,
  out R = never,
  out D extends WriteData = WriteData
> extends AnyWriteHandler<E, R> {
  readonly name: Name
  readonly payload: Schema.Schema<A, I>
  readonly decide: (payload: unknown, context: WriteContext) => Decided<E, R, D>
}

/**
 * Makes a handler: `handle` sees a decoded payload only, and only actors with one of the roles in `access`. A payload that cannot be
 * decoded is rejected with `validation_error`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { WriteHandler } from "effect-es-ops"
 *
 * export const placeOrder = WriteHandler.make({
 *   name: "orders:write:place",
 *   payload: Schema.Struct({ sku: Schema.NonEmptyString, quantity: Schema.Int }),
 *   access: ["system", "Buyer"],
 *   handle: ({ quantity, sku }, { newId }) => {
 *     const order = { id: newId, sku, quantity }
 *     return {
 *       events: [
 *         { aggregateId: newId, aggregateType: "order", version: 1, type: "order.placed", payload: order }
 *       ],
 *       data: order
 *     }
 *   }
 * })
 * ```
 */
export const make = <const Name extends string, A, I, E = never, R = never, D extends WriteData = WriteData>(options: {
  readonly name: Name
  readonly payload: Schema.Schema<A, I>
  readonly access: ReadonlyArray<string>
  readonly handle: (payload: A, context: WriteContext) => Decided<E, R, D>
}): WriteHandler<Name, A, I, E, R, D> => {
  const decode = Schema.decodeUnknownEither(options.payload, { errors: "all" })
  return {
    name: options.name,
    payload: options.payload,
    access: options.access,
    decide: (payload, context) =>
      Either.match(decode(payload), {
        onLeft: (issue) => Either.left(reject("validation_error", FieldErrors.lines(issue.issue))),
        onRight: (decoded) => options.handle(decoded, context)
      })
  }
}
