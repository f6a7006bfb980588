/**
 * What a seed can do: write as the system user, through the application's write handlers, and look things up.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Tracer from "effect/Tracer"
import type { Event } from "../event/Event.js"
import { systemTenantId, systemUserId } from "../event/Event.js"
import type { WriteData, WriteError, Written } from "../event/WriteDispatcher.js"
import { WriteDispatcher } from "../event/WriteDispatcher.js"
import { WriteSavepoint } from "../event/WriteSavepoint.js"
import type { Actor, WriteHandler } from "../event/WriteHandler.js"
import type { MembershipOfUser, Tenant, User } from "../identity/Directory.js"
import { Directory } from "../identity/Directory.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { QueryError, Row } from "../operation/QueryError.js"
import { Transactor } from "../operation/Transactor.js"

/** The tenant and the roles that a write is made with. */
export interface WriteOptions {
  /** The tenant whose streams are written. Default: the system tenant. */
  readonly tenantId?: string | undefined
  /** Roles besides `system`: access rules have no bypass. */
  readonly extraRoles?: ReadonlyArray<string> | undefined
}

/** The service that a seed acts through; the accessors of this module are its members. */
export class SeedContext extends Context.Tag("effect-es-ops/SeedContext")<
  SeedContext,
  {
    /** Writes through the handler of this name; answers with the write's data. Fails with `WriteRejected`; after a catch nothing of it remains. */
    readonly systemWriteAs: (
      handler: string,
      payload: unknown,
      options?: WriteOptions
    ) => Effect.Effect<WriteData, WriteError>
    /** Writes many payloads through one handler, all or none; events are appended in batches. */
    readonly systemWriteAll: (
      handler: string,
      payloads: ReadonlyArray<unknown>,
      options?: WriteOptions
    ) => Effect.Effect<ReadonlyArray<WriteData>, WriteError>
    /** The same as `systemWriteAs`, with the handler as a value: the compiler knows name, payload and answer. */
    readonly write: <Name extends string, A, I, E, R, D extends WriteData>(
      handler: WriteHandler<Name, A, I, E, R, D>,
      payload: NoInfer<I>,
      options?: WriteOptions
    ) => Effect.Effect<D, WriteError>
    /** The user with this email address. */
    readonly findUserByEmail: (email: string) => Effect.Effect<Option.Option<User>, DatabaseError>
    /** A user's memberships; writes about one go to its `streamTenantId`. */
    readonly findMembershipsOfUser: (userId: string) => Effect.Effect<ReadonlyArray<MembershipOfUser>, DatabaseError>
    /** All tenants, by the time of their insertion. */
    readonly findTenants: Effect.Effect<ReadonlyArray<Tenant>, DatabaseError>
    /** Rows of one reading statement; it sees the seed's own writes, and the server refuses it any of its own. */
    readonly query: (text: string, params?: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, QueryError>
  }
>() {}

type Service = Context.Tag.Service<typeof SeedContext>

const use = <A, E>(f: (context: Service) => Effect.Effect<A, E>): Effect.Effect<A, E, SeedContext> =>
  Effect.flatMap(SeedContext, f)

/**
 * Writes through the handler of this name; answers with the write's data: `{ id, … }`.
 *
 * @example
 * ```ts
 * import { Effect, Option } from "effect"
 * import { Seed, SeedContext } from "effect-es-ops"
 *
 * export default Seed.make({
 *   description: "the administrator is a member of every tenant",
 *   run: Effect.gen(function* () {
 *     const admin = yield* SeedContext.findUserByEmail("admin@example.com")
 *     if (Option.isNone(admin)) return
 *     for (const { id } of yield* SeedContext.findTenants) {
 *       yield* SeedContext.systemWriteAs(
 *         "tenant:write:add-member",
 *         { userId: admin.value.id, tenantId: id, roles: ["TenantAdmin"] },
 *         { tenantId: id, extraRoles: ["SystemAdmin"] }
 *       )
 *     }
 *   })
 * })
 * ```
 */
export const systemWriteAs = (
  handler: string,
  payload: unknown,
  options?: WriteOptions
): Effect.Effect<WriteData, WriteError, SeedContext> =>
  use((context) => context.systemWriteAs(handler, payload, options))

/** Writes many payloads through one handler, all or none; events are appended in batches. */
export const systemWriteAll = (
  handler: string,
  payloads: ReadonlyArray<unknown>,
  options?: WriteOptions
): Effect.Effect<ReadonlyArray<WriteData>, WriteError, SeedContext> =>
  use((context) => context.systemWriteAll(handler, payloads, options))

/** The same as `systemWriteAs`, with the handler as a value: the compiler knows name, payload and answer. */
export const write = <Name extends string, A, I, E, R, D extends WriteData>(
  handler: WriteHandler<Name, A, I, E, R, D>,
  payload: NoInfer<I>,
  options?: WriteOptions
): Effect.Effect<D, WriteError, SeedContext> => use((context) => context.write(handler, payload, options))

/** The user with this email address. */
export const findUserByEmail = (email: string): Effect.Effect<Option.Option<User>, DatabaseError, SeedContext> =>
  use((context) => context.findUserByEmail(email))

/** A user's memberships; writes about one go to its `streamTenantId`. */
export const findMembershipsOfUser = (
  userId: string
): Effect.Effect<ReadonlyArray<MembershipOfUser>, DatabaseError, SeedContext> =>
  use((context) => context.findMembershipsOfUser(userId))

/** All tenants, by the time of their insertion. */
export const findTenants: Effect.Effect<ReadonlyArray<Tenant>, DatabaseError, SeedContext> = use(
  (context) => context.findTenants
)

/** Rows of one reading statement, in PostgreSQL; in memory it fails with `QueryUnavailable`. */
export const query = (
  text: string,
  params?: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<Row>, QueryError, SeedContext> => use((context) => context.query(text, params))

/** Whose step it is, and what is to be done with the events of its writes. */
export interface StepOptions {
  readonly operationId: string
  readonly correlationId: string
  /** Counts the events of writes that stayed. */
  readonly eventCount: Ref.Ref<number>
  /** Keeps those events, for a run that shows them. */
  readonly preview?: Ref.Ref<ReadonlyArray<Event>> | undefined
}

/** The context of one step: its members belong to the step's transaction, wherever they are run from. */
export const make = (options: StepOptions): Effect.Effect<Service, never, Transactor | WriteDispatcher | Directory> =>
  Effect.gen(function* () {
    const transactor = yield* Transactor
    const dispatcher = yield* WriteDispatcher
    const directory = yield* Directory
    const step = yield* Effect.context<never>()
    const [inStep, inWrite] = [within(step), within(Context.add(step, WriteSavepoint, true))]
    const { correlationId, eventCount, operationId, preview } = options

    const settle = (writes: Effect.Effect<ReadonlyArray<Written>, WriteError>) =>
      inWrite(transactor.savepoint(writes)).pipe(
        Effect.tap((written) => {
          const count = written.reduce((sum, { events }) => sum + events.length, 0)
          return Ref.update(eventCount, (before) => before + count)
        }),
        Effect.tap((written) =>
          preview === undefined
            ? Effect.void
            : Ref.update(preview, (before) => [...before, ...written.flatMap(({ events }) => events)])
        ),
        Effect.map((written) => written.map(({ data }) => data))
      )

    const writeAll = (handler: string, payloads: ReadonlyArray<unknown>, write?: WriteOptions) => {
      const actor = actorOf(write)
      return settle(
        dispatcher.writeAll === undefined
          ? Effect.forEach(payloads, (payload) =>
              dispatcher.write({ handler, actor, operationId, correlationId, payload })
            )
          : dispatcher.writeAll({ handler, actor, operationId, correlationId, payloads })
      )
    }

    const writeOne = (handler: string, payload: unknown, write?: WriteOptions) => {
      const written = dispatcher.write({ handler, actor: actorOf(write), operationId, correlationId, payload })
      return Effect.flatMap(settle(Effect.map(written, (one) => [one])), ([data]) =>
        data === undefined ? Effect.dieMessage("one payload gives one write") : Effect.succeed(data)
      )
    }

    return {
      systemWriteAs: writeOne,
      systemWriteAll: writeAll,
      write: (handler, payload, write) =>
        Effect.map(writeOne(handler.name, payload, write), (data) => answerOf(handler, data)),
      findUserByEmail: (email) => inStep(directory.findUserByEmail(email)),
      findMembershipsOfUser: (userId) => inStep(directory.findMembershipsOfUser(userId)),
      findTenants: inStep(directory.findTenants),
      query: (text, params = []) => inStep(transactor.query(text, params))
    }
  })

/** Runs an effect with what the step has; a fiber that has a span of its own keeps it. */
const within = (step: Context.Context<never>) => {
  const services = Context.omit(Tracer.ParentSpan)(step)
  return <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.flatMap(Effect.serviceOption(Tracer.ParentSpan), (own) =>
      Effect.provide(effect, Option.isSome(own) ? services : step)
    )
}

const actorOf = (write: WriteOptions = {}): Actor => ({
  id: systemUserId,
  tenantId: (write.tenantId ?? systemTenantId).toLowerCase(),
  roles: ["system", ...(write.extraRoles ?? [])]
})

/** The answer as the type of its handler has it: the handler of this name gave it. */
function answerOf<Name extends string, A, I, E, R, D extends WriteData>(
  handler: WriteHandler<Name, A, I, E, R, D>,
  data: WriteData
): D
function answerOf(_: unknown, data: WriteData): WriteData {
  return data
}
