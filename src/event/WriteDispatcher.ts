/**
 * The port of writes, with its requests and errors. `HandlerDispatcher` takes writes to the handlers of features; an application may have a
 * dispatcher of its own.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { DatabaseError } from "../operation/OperationError.js"
import type { Event } from "./Event.js"
import { NewId } from "./Event.js"
import type * as Handler from "./WriteHandler.js"

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
  /** What the handler or the projection failed with, as it was; as JSON its name and message. */
  cause: Schema.Defect
}) {
  override get message(): string {
    return `${this.handler} failed`
  }
}

/** The failures of a write. */
export type WriteError = WriteRejected | WriteFailed | DatabaseError

/** A write: the user who writes, for which handler, and as a part of which operation. */
export interface WriteRequest {
  /** The handler's name, `<feature>:write:<handler>`. */
  readonly handler: string
  readonly actor: Handler.Actor
  /** The operation that writes; every event carries it as `headers.operationId`. None for a write that is no part of one. */
  readonly operationId?: string | undefined
  /** The id that all events of the operation's step share. */
  readonly correlationId: string
}

/** The answer to a write: the aggregate's id, and whatever else its handler says, the row as a rule. */
export type WriteData = Handler.WriteData

/** The result of one write. */
export interface Written {
  /** The handler's answer. */
  readonly data: WriteData
  /** The events that were appended; none where the dispatcher does not say. */
  readonly events: ReadonlyArray<Event>
}

/**
 * The port of writes: `HandlerDispatcher.layer(features)`, or an application's own, which its settings name in `dispatcher`.
 *
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { Effect, Layer } from "effect"
 * import { EsOps, WriteDispatcher } from "effect-es-ops"
 *
 * const { WriteFailed, WriteRejected } = WriteDispatcher
 *
 * const dispatcher = Layer.effect(
 *   WriteDispatcher.WriteDispatcher,
 *   Effect.map(SqlClient.SqlClient, (sql) => ({
 *     names: ["notes:write:add"],
 *     write: ({ handler, payload }) =>
 *       typeof payload === "string"
 *         ? sql`INSERT INTO notes (text) VALUES (${payload})`.pipe(
 *             Effect.as({ data: { id: payload }, events: [] }),
 *             Effect.mapError((cause) => new WriteFailed({ handler, cause }))
 *           )
 *         : new WriteRejected({ handler, code: "validation_error", reason: "a note is a text" })
 *   }))
 * )
 *
 * export const OpsLive = EsOps.layer({ seeds: "./seeds", dispatcher })
 * ```
 */
export class WriteDispatcher extends Context.Tag("effect-es-ops/WriteDispatcher")<
  WriteDispatcher,
  {
    /**
     * Writes one payload: in the transaction of the step that calls it, in a savepoint of one that is open otherwise, or in one of its own.
     * Nothing of a refused write stays.
     */
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

/** The user who submits a write, and what it belongs to. */
export interface SubmitOptions {
  readonly actor: Handler.Actor
  /** The id that the events of one request share. Default: a new one. */
  readonly correlationId?: string | undefined
}

/**
 * Writes for a request, through a handler as a value: the compiler knows payload and answer. All of it is in one transaction of its own, or in
 * a savepoint of one that is open; nothing of a refused write stays.
 *
 * @example
 * ```ts
 * import type { WriteHandler } from "effect-es-ops"
 * import { Identity, WriteDispatcher } from "effect-es-ops"
 *
 * export const createAcme = (actor: WriteHandler.Actor) =>
 *   WriteDispatcher.submit(Identity.createTenant, { key: "acme", name: "Acme" }, { actor })
 * ```
 */
export const submit = <Name extends string, A, I, E, R, D extends WriteData>(
  handler: Handler.WriteHandler<Name, A, I, E, R, D>,
  payload: NoInfer<I>,
  { actor, correlationId }: SubmitOptions
): Effect.Effect<D, WriteError, WriteDispatcher> =>
  Effect.gen(function* () {
    const dispatcher = yield* WriteDispatcher
    const { data } = yield* dispatcher.write({
      handler: handler.name,
      actor: { ...actor, tenantId: actor.tenantId.toLowerCase() },
      correlationId: correlationId ?? (yield* yield* NewId),
      payload
    })
    return answerOf(handler, data)
  })

/** A dispatcher without handlers, which lists none: every write is refused. For programs that look at seeds without running them. */
export const layerNameless: Layer.Layer<WriteDispatcher> = Layer.succeed(WriteDispatcher, {
  write: ({ handler }) => new WriteRejected({ handler, code: "unknown_handler", reason: "there are no handlers here" })
})

/** The answer as the type of its handler has it: the handler of this name gave it. */
function answerOf<Name extends string, A, I, E, R, D extends WriteData>(
  handler: Handler.WriteHandler<Name, A, I, E, R, D>,
  data: WriteData
): D
function answerOf(_: unknown, data: WriteData): WriteData {
  return data
}
