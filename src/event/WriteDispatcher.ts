/**
 * Takes writes to their handlers: the one of our own, over features, or an application's.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { isNonEmptyReadonlyArray } from "effect/Array"
import { SettingError } from "../operation/OperationConfig.js"
import { DatabaseError } from "../operation/OperationError.js"
import type { Event, EventMetadata, NewEvent } from "./Event.js"
import { NewId } from "./Event.js"
import type { AppendError } from "./EventStore.js"
import { EventStore } from "./EventStore.js"
import * as Feature from "./Feature.js"
import type { Actor, AnyWriteHandler, Decided, Decision, RejectionCode } from "./WriteHandler.js"
import { complete, reject, Rejection } from "./WriteHandler.js"

/** The handler, or the core on its behalf, refused the write; nothing of it remains. */
export class WriteRejected extends Schema.TaggedError<WriteRejected>()("WriteRejected", {
  handler: Schema.String,
  code: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.handler} rejected the write (${this.code}): ${this.reason}`
  }
}

/** The write failed for a reason that is no refusal: a projection's statement, a service of the application. */
export class WriteFailed extends Schema.TaggedError<WriteFailed>()("WriteFailed", {
  handler: Schema.String,
  cause: Schema.Unknown
}) {
  override get message(): string {
    return `${this.handler} failed`
  }
}

/** How a write can fail. */
export type WriteError = WriteRejected | WriteFailed | DatabaseError

/** Writes for one handler. */
export interface WriteRequest {
  readonly handler: string
  readonly actor: Actor
  /** Which operation writes; every event carries it as `headers.operationId`, and `correlationId` for its step. */
  readonly operationId: string
  readonly correlationId: string
}

/** What a writer is told: the aggregate's id and the row. */
export interface WriteData {
  readonly id: string
  readonly [key: string]: unknown
}

/** What a write gave. */
export interface Written {
  /** What the handler tells the writer: the aggregate's id and the row. */
  readonly data: WriteData
  /** The events that were appended, where the dispatcher tells. */
  readonly events: ReadonlyArray<Event>
}

/** The port of writes: `layerHandlers(features)`, or an application's own. */
export class WriteDispatcher extends Context.Tag("effect-es-ops/WriteDispatcher")<
  WriteDispatcher,
  {
    /** Writes one payload. Runs in the transaction of the step that calls it. */
    readonly write: (request: WriteRequest & { readonly payload: unknown }) => Effect.Effect<Written, WriteError>
    /** Writes many payloads for one handler, all or none; without it they are written one by one. */
    readonly writeAll?:
      | ((
          request: WriteRequest & { readonly payloads: ReadonlyArray<unknown> }
        ) => Effect.Effect<ReadonlyArray<Written>, WriteError>)
      | undefined
    /** The names of its handlers, if they can be listed: names that a seed has as literals are then checked before the first write. */
    readonly names?: ReadonlyArray<string> | undefined
    /** `pg_current_xact_id()` of the connection that it writes through, by which a writer outside the step's transaction is found. */
    readonly transactionId?: Effect.Effect<string, DatabaseError> | undefined
  }
>() {}

/** Events of this many decided writes travel together. */
const batchSize = 1000

/** The dispatcher of our own: handlers and projections of features over the `EventStore`. Two handlers of one name are a `SettingError`. */
export const makeHandlers = <F extends Feature.Feature>(
  features: ReadonlyArray<F>
): Effect.Effect<WriteDispatcher["Type"], SettingError, EventStore | Feature.Context<F>> =>
  makeUnited(Feature.united(features))

/** The dispatcher of our own. */
export const layerHandlers = <F extends Feature.Feature>(
  features: ReadonlyArray<F>
): Layer.Layer<WriteDispatcher, SettingError, EventStore | Feature.Context<F>> =>
  Layer.effect(WriteDispatcher, makeHandlers(features))

/** A dispatcher that has no handlers and does not list any: every write is refused. For what looks at seeds without running them. */
export const layerNameless: Layer.Layer<WriteDispatcher> = Layer.succeed(WriteDispatcher, {
  write: ({ handler }) => new WriteRejected({ handler, code: "unknown_handler", reason: "there are no handlers here" })
})

const makeUnited = <R>(
  features: ReadonlyArray<Feature.Feature<R>>
): Effect.Effect<WriteDispatcher["Type"], SettingError, EventStore | R> =>
  Effect.gen(function* () {
    const store = yield* EventStore
    const context = yield* Effect.context<R>()
    const handlers = yield* register(features)

    const project = (events: ReadonlyArray<Event>): Effect.Effect<void, unknown, R> =>
      Effect.forEach(
        features.flatMap((feature) => feature.projections),
        (projection) => {
          const folded = events.filter((event) => projection.events.includes(event.type))
          return isNonEmptyReadonlyArray(folded) ? projection.apply(folded) : Effect.void
        },
        { discard: true }
      )

    const append = Effect.fnUntraced(function* (events: ReadonlyArray<NewEvent>) {
      if (!isNonEmptyReadonlyArray(events)) return []
      const stored = yield* store.append(events)
      yield* project(stored)
      return stored
    })

    const decideAll = Effect.fnUntraced(function* (
      request: WriteRequest & { readonly payloads: ReadonlyArray<unknown> }
    ) {
      const handler = yield* admitted(handlers, request)
      const metadata = metadataOf(request)
      const written: Array<Written> = []
      const decided: Array<{ readonly data: WriteData; readonly events: ReadonlyArray<NewEvent> }> = []
      const flush = Effect.suspend(() => append(decided.flatMap(({ events }) => events))).pipe(
        Effect.map((stored) => {
          let from = 0
          for (const { data, events } of decided.splice(0)) {
            written.push({ data, events: stored.slice(from, from + events.length) })
            from += events.length
          }
        })
      )
      for (const payload of request.payloads) {
        const answer = handler.decide(payload, { actor: request.actor, newId: yield* yield* NewId })
        const atOnce = isDecidedAtOnce(answer)
        if (!atOnce) yield* flush
        const decision = isDecision(answer) ? answer : yield* answer
        decided.push({
          data: decision.data,
          events: decision.events.map((event) => complete(event, request.actor.tenantId, metadata))
        })
        if (!atOnce || decided.length >= batchSize) yield* flush
      }
      yield* flush
      return written
    })

    /** The step's own context wins: the layer may have been built inside another transaction. One context for it and the span: each takes 25 µs. */
    const writeAll = (request: WriteRequest & { readonly payloads: ReadonlyArray<unknown> }) =>
      Effect.useSpan(
        "WriteDispatcher.writeAll",
        { attributes: { handler: request.handler }, captureStackTrace: false },
        (span) =>
          decideAll(request).pipe(
            Effect.mapInputContext((step: Context.Context<never>) =>
              Context.add(Context.merge(context, step), Tracer.ParentSpan, span)
            ),
            Effect.mapError((error) => writeError(request.handler, error))
          )
      )

    return WriteDispatcher.of({
      names: [...handlers.keys()],
      writeAll,
      write: ({ actor, correlationId, handler, operationId, payload }) =>
        Effect.flatMap(writeAll({ handler, actor, operationId, correlationId, payloads: [payload] }), ([written]) =>
          written === undefined ? Effect.dieMessage("one payload gives one write") : Effect.succeed(written)
        )
    })
  })

const qualifiedName = /^[^:\s]+:write:[^:\s]+$/

const register = <R>(
  features: ReadonlyArray<Feature.Feature<R>>
): Effect.Effect<ReadonlyMap<string, AnyWriteHandler<unknown, R>>, SettingError> =>
  Effect.gen(function* () {
    const handlers = new Map<string, AnyWriteHandler<unknown, R>>()
    for (const feature of features) {
      for (const handler of feature.handlers) {
        if (!qualifiedName.test(handler.name)) {
          const reason = `handler "${handler.name}" of feature "${feature.name}" is not named <feature>:write:<handler>`
          return yield* new SettingError({ key: "features", reason })
        }
        if (handlers.has(handler.name)) {
          return yield* new SettingError({ key: "features", reason: `two handlers are named "${handler.name}"` })
        }
        handlers.set(handler.name, handler)
      }
    }
    return handlers
  })

/** The handler of a request, if the actor may use it. */
const admitted = <E, R>(
  handlers: ReadonlyMap<string, AnyWriteHandler<E, R>>,
  { actor, handler: name }: WriteRequest
): Either.Either<AnyWriteHandler<E, R>, Rejection> => {
  const handler = handlers.get(name)
  if (handler === undefined) return Either.left(reject("unknown_handler", `no handler is named "${name}"`))
  if (handler.access.some((role) => actor.roles.includes(role))) return Either.right(handler)
  const needs = handler.access.length === 0 ? "no role may use it" : `it needs one of: ${handler.access.join(", ")}`
  return Either.left(reject("access_denied", `${needs}; the actor has: ${actor.roles.join(", ")} (see extraRoles)`))
}

const isDecision = <E, R>(answer: Decided<E, R>): answer is Decision => !Effect.isEffect(answer)

const isDecidedAtOnce = <E, R>(answer: Decided<E, R>): boolean => isDecision(answer) || Either.isEither(answer)

/** One for all events of a request. */
const metadataOf = (request: WriteRequest): EventMetadata => ({
  userId: request.actor.id,
  correlationId: request.correlationId,
  headers: { operationId: request.operationId }
})

const codes: { readonly [tag in AppendError["_tag"]]?: RejectionCode } = {
  VersionConflict: "version_conflict",
  StreamArchived: "stream_archived",
  IdempotencyConflict: "conflict"
}

/** Refusals of handler, store and projection are the write's; whatever else a handler fails with is kept as it is. */
const writeError = (handler: string, error: unknown): WriteError => {
  if (error instanceof Rejection) return new WriteRejected({ handler, code: error.code, reason: error.reason })
  if (error instanceof DatabaseError) return error
  const code = Object.entries(codes).find(([tag]) => Predicate.isTagged(error, tag))?.[1]
  return code !== undefined && error instanceof Error
    ? new WriteRejected({ handler, code, reason: error.message })
    : new WriteFailed({ handler, cause: error })
}
