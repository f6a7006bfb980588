/**
 * The dispatcher of handlers: takes writes to the handlers of features, appends what they decide to the `EventStore` and folds it into the
 * features' projections.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { isNonEmptyReadonlyArray } from "effect/Array"
import { SettingError } from "../operation/OperationConfig.js"
import { DatabaseError } from "../operation/OperationError.js"
import * as ServerLimit from "../operation/ServerLimit.js"
import { Transactor } from "../operation/Transactor.js"
import type { Event, EventMetadata, NewEvent, Payload } from "./Event.js"
import { NewId } from "./Event.js"
import type { AppendError } from "./EventStore.js"
import { EventStore } from "./EventStore.js"
import * as Feature from "./Feature.js"
import type { NotJson } from "./JsonValue.js"
import { noteJson, recordToJson, toJson } from "./JsonValue.js"
import type { WriteError, WriteRequest, Written } from "./WriteDispatcher.js"
import { WriteDispatcher, WriteFailed, WriteRejected } from "./WriteDispatcher.js"
import type { AnyWriteHandler, Decided, DecidedEvent, Decision, RejectionCode } from "./WriteHandler.js"
import { reject, Rejection } from "./WriteHandler.js"
import { WriteSavepoint } from "./WriteSavepoint.js"

/** Makes a dispatcher of the handlers and projections of features. Two handlers of one name are a `SettingError`. */
export const make = <F extends Feature.Feature>(
  features: ReadonlyArray<F>
): Effect.Effect<WriteDispatcher["Type"], SettingError, EventStore | Transactor | Feature.Context<F>> =>
  makeUnited(Feature.united(features))

/**
 * Provides the dispatcher of the handlers and projections of features, over the `EventStore`. `EsOps.layer` and `EsOps.layerMemory` have it
 * for the features in their settings.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { EsOps, HandlerDispatcher, Identity } from "effect-es-ops"
 *
 * export const Writes = HandlerDispatcher.layer([Identity.feature]).pipe(Layer.provide(EsOps.layerMemory({ seeds: {} })))
 * ```
 */
export const layer = <F extends Feature.Feature>(
  features: ReadonlyArray<F>
): Layer.Layer<WriteDispatcher, SettingError, EventStore | Transactor | Feature.Context<F>> =>
  Layer.effect(WriteDispatcher, make(features))

const makeUnited = <R>(
  features: ReadonlyArray<Feature.Feature<R>>
): Effect.Effect<WriteDispatcher["Type"], SettingError, EventStore | Transactor | R> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<R>()
    const handlers = yield* register(features)
    const append = appending(yield* EventStore, features)
    const transactor = yield* Transactor

    const decideAll = Effect.fnUntraced(function* (request: WriteAllRequest) {
      const handler = yield* admitted(handlers, request)
      const metadata = yield* metadataOf(request)
      const newId = yield* NewId
      const written: Array<Written> = []
      let batch: Array<Decision> = []
      const flush = Effect.gen(function* () {
        written.push(...(yield* append(batch, request.actor.tenantId, metadata)))
        batch = []
      })
      for (const given of request.payloads) {
        const payload = isFlat(given) || given === undefined ? given : yield* asJson(toJson(given, "payload"))
        const answer = handler.decide(payload, { actor: request.actor, newId: yield* newId })
        const atOnce = isDecidedAtOnce(answer)
        if (!atOnce) yield* flush
        batch.push(isDecision(answer) ? answer : yield* answer)
        if (!atOnce || batch.length >= batchSize) yield* flush
      }
      yield* flush
      return written
    })

    const decided = (request: WriteAllRequest) =>
      Effect.useSpan(
        "WriteDispatcher.writeAll",
        { attributes: { handler: request.handler }, captureStackTrace: false },
        (span) =>
          Effect.mapError(inStep(context, span, decideAll(request)), (error) => writeError(request.handler, error))
      )

    // A refusal, of a projection too, leaves nothing: in a seed the savepoint around the write undoes it.
    const writeAll = (request: WriteAllRequest) =>
      Effect.flatMap(Effect.serviceOption(WriteSavepoint), (savepoint) =>
        Option.isSome(savepoint) ? decided(request) : transactor.savepoint(decided(request))
      )

    return WriteDispatcher.of({
      names: [...handlers.keys()],
      writeAll,
      write: ({ payload, ...request }) =>
        Effect.flatMap(writeAll({ ...request, payloads: [payload] }), ([written]) =>
          written === undefined ? Effect.dieMessage("one payload gives one write") : Effect.succeed(written)
        )
    })
  })

type WriteAllRequest = WriteRequest & { readonly payloads: ReadonlyArray<unknown> }

/** Events of this many decided writes travel together. */
const batchSize = 1000

/** The handler's part may have colons of its own: `user:write:user:create`. */
const qualifiedName = /^[^:\s]+:write:[^:\s]+(?::[^:\s]+)*$/

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

/** Appends the events of decisions as one batch, folds them into the projections and gives each decision its stored events. */
const appending = <R>(store: EventStore["Type"], features: ReadonlyArray<Feature.Feature<R>>) => {
  const projections = features.flatMap((feature) => feature.projections)
  return (decisions: ReadonlyArray<Decision>, tenantId: string, metadata: EventMetadata) =>
    Effect.gen(function* () {
      const events = yield* completed(decisions, tenantId, metadata)
      const stored = isNonEmptyReadonlyArray(events) ? yield* store.append(events) : []
      for (const projection of projections) {
        const folded = stored.filter(({ type }) => projection.events.includes(type))
        if (isNonEmptyReadonlyArray(folded)) yield* projection.apply(folded)
      }
      return written(decisions, stored)
    })
}

/** The events of decisions, with everything that the write decides. */
const completed = (
  decisions: ReadonlyArray<Decision>,
  tenantId: string,
  metadata: EventMetadata
): Either.Either<ReadonlyArray<NewEvent>, Rejection> => {
  const events: Array<NewEvent> = []
  for (const decision of decisions) {
    for (const event of decision.events) {
      const one = complete(event, tenantId, metadata)
      if (Either.isLeft(one)) return Either.left(one.left)
      events.push(one.right)
    }
  }
  noteJson(events)
  return Either.right(events)
}

/** Everything of an event that the write decides; refused where it has something that JSON does not keep. */
const complete = (
  event: DecidedEvent,
  tenantId: string,
  metadata: EventMetadata
): Either.Either<NewEvent, Rejection> => {
  const { aggregateType, idempotencyKey, type } = event
  const isPlain = [aggregateType, type, idempotencyKey ?? ""].every(isKept) && isFlat(event.payload)
  const payload = isPlain ? Either.right({ ...event.payload }) : payloadOf(event)
  return Either.map(payload, (kept) => ({
    tenantId,
    aggregateId: event.aggregateId,
    aggregateType,
    version: event.version,
    type,
    eventVersion: event.eventVersion ?? 1,
    payload: kept,
    metadata: idempotencyKey === undefined ? metadata : { ...metadata, idempotencyKey }
  }))
}

const payloadOf = ({ aggregateType, idempotencyKey = "", payload, type }: DecidedEvent) =>
  asJson(
    Either.flatMap(toJson({ aggregateType, type, idempotencyKey }, "event"), () =>
      recordToJson(payload, `payload of ${JSON.stringify(type)}`)
    )
  )

/** Whether a value is plain at a glance, an object of texts and numbers: JSON keeps it as it is. The rest is looked at by `toJson`. */
const isFlat = (value: unknown): value is Payload =>
  Predicate.isRecord(value) &&
  Object.getPrototypeOf(value) === Object.prototype &&
  Object.getOwnPropertySymbols(value).length === 0 &&
  Object.keys(value).every((key) => isText(key) && isKept(value[key]))

const isKept = (value: unknown): boolean =>
  typeof value === "string"
    ? isText(value)
    : typeof value === "boolean" || value === null || (Number.isFinite(value) && !Object.is(value, -0))

const isText = (text: string): boolean => text.isWellFormed() && !text.includes("\u0000")

const asJson = <A>(json: Either.Either<A, NotJson>): Either.Either<A, Rejection> =>
  Either.mapLeft(json, ({ message }) => reject("validation_error", message))

const written = (decisions: ReadonlyArray<Decision>, stored: ReadonlyArray<Event>): ReadonlyArray<Written> => {
  let from = 0
  return decisions.map(({ data, events }): Written => {
    const first = from
    from += events.length
    return { data, events: stored.slice(first, from) }
  })
}

/**
 * Provides what features require, in this span. The step's own services win: the dispatcher may have been made inside another transaction. The savepoint
 * is that of the write, and not of what its handler writes.
 */
const inStep = <A, E, R>(
  context: Context.Context<R>,
  span: Tracer.Span,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E> =>
  Effect.mapInputContext(effect, (step: Context.Context<never>) =>
    Context.merge(context, Context.omit(WriteSavepoint)(step)).pipe(Context.add(Tracer.ParentSpan, span))
  )

/** The metadata of a request's events, one for all of them. */
const metadataOf = ({ actor, correlationId, operationId }: WriteRequest): Either.Either<EventMetadata, Rejection> => {
  const headers = operationId === undefined ? {} : { headers: { operationId } }
  const metadata = { userId: actor.id, correlationId, ...headers }
  return isText(actor.id) && isText(correlationId) && isText(operationId ?? "")
    ? Either.right(metadata)
    : Either.map(asJson(toJson(metadata, "metadata")), () => metadata)
}

const codes: { readonly [tag in AppendError["_tag"]]?: RejectionCode } = {
  VersionConflict: "version_conflict",
  StreamArchived: "stream_archived",
  StreamPurged: "stream_archived",
  IdempotencyConflict: "conflict"
}

/** Refusals of handler, store and projection are the write's; whatever else a handler fails with is kept as it is. */
const writeError = (handler: string, error: unknown): WriteError => {
  if (error instanceof Rejection) return new WriteRejected({ handler, code: error.code, reason: error.reason })
  if (error instanceof DatabaseError)
    return Option.contains(error.code, ServerLimit.untranslatable)
      ? new WriteRejected({ handler, code: "validation_error", reason: error.reason })
      : error
  const code = Object.entries(codes).find(([tag]) => Predicate.isTagged(error, tag))?.[1]
  return code !== undefined && error instanceof Error
    ? new WriteRejected({ handler, code, reason: error.message })
    : new WriteFailed({ handler, cause: error })
}
