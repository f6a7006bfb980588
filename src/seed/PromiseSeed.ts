/**
 * Seeds as async functions: `run(ctx)` with promises in place of effects.
 *
 * A forgotten `await` is the fault to guard against. Every write that was started is settled before the marker; one that failed and that
 * nobody awaited fails the seed; one that is started after `run` has returned is refused. No rejection of a promise that a seed was given
 * ends the process.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import type { WriteData } from "../event/WriteDispatcher.js"
import type { MembershipOfUser, Tenant, User } from "../identity/Directory.js"
import { describe } from "../operation/Attempt.js"
import type { Row } from "../operation/Transactor.js"
import * as StrayWrites from "./StrayWrites.js"
import * as UnhandledRejections from "./UnhandledRejections.js"
import type { SeedContext } from "./SeedContext.js"
import { TrackedPromise } from "./TrackedPromise.js"
import { EffectReturned, GeneratorReturned, isGenerator } from "./SeedResult.js"

export { EffectReturned, GeneratorReturned } from "./SeedResult.js"

/** What an async seed can do. Promises reject with an `Error` that has a `code`; after a catch the seed can go on. */
export interface PromiseContext {
  /** Writes through the handler of this name, for a tenant (default: the system tenant), with roles besides `system`. */
  readonly systemWriteAs: (
    handler: string,
    payload: unknown,
    tenantIdOverride?: string | null,
    extraRoles?: ReadonlyArray<string> | null
  ) => Promise<{ readonly isSuccess: true; readonly data: WriteData }>
  /** The user with this email address, or null. */
  readonly findUserByEmail: (email: string) => Promise<User | null>
  /** A user's memberships; writes about one go to its `streamTenantId`. */
  readonly findMembershipsOfUser: (userId: string) => Promise<ReadonlyArray<MembershipOfUser>>
  /** All tenants, by the time of their insertion. */
  readonly findTenants: () => Promise<ReadonlyArray<Tenant>>
  /** Reading SQL: the server refuses it any write. */
  readonly db: {
    /** Rows of one reading statement. */
    readonly query: (text: string, params?: ReadonlyArray<unknown>) => Promise<ReadonlyArray<Row>>
    /** The same. */
    readonly unsafe: (text: string, params?: ReadonlyArray<unknown>) => Promise<ReadonlyArray<Row>>
  }
}

/** A write that `run` did not wait for, and that failed or came too late. */
export class NotAwaited extends Schema.TaggedError<NotAwaited>()("NotAwaited", {
  handler: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `not awaited: ${this.handler}: ${this.reason}`
  }
}

/** What a promise of the context rejects with: the failure as it was, with a code, and what was asked for. */
class PromiseFailure extends Error {
  override readonly name: string
  readonly code: string
  constructor(
    /** The handler, or the name of the query. */
    readonly handler: string,
    override readonly cause: unknown,
    /** The run that gave the promise. */
    readonly run: object
  ) {
    const { _tag, code, message } = describe(cause)
    super(message.includes(handler) ? message : `${handler}: ${message}`)
    this.name = _tag
    this.code = code ?? _tag
  }
}

/** Runs an async seed's function as an effect: what it threw is its failure. */
export const run = (
  declared: (context: PromiseContext) => unknown,
  context: SeedContext["Type"]
): Effect.Effect<unknown, unknown> =>
  Effect.acquireUseRelease(
    begin(context, declared.length > 0),
    (session) =>
      Effect.tryPromise({ try: async () => refuseUnrun(await declared(session.context)), catch: originalOf }).pipe(
        Effect.ensuring(Effect.sync(session.close)),
        Effect.zipLeft(Effect.interruptible(session.settled)),
        Effect.zipLeft(session.refuseForgotten)
      ),
    (session) => Effect.zipRight(Effect.sync(session.close), session.abandon)
  )

/** An Effect or a generator would be run by nobody. Promises of the context are settled, whether they were awaited or not. */
const refuseUnrun = (returned: unknown): void => {
  if (Effect.isEffect(returned)) throw new EffectReturned()
  if (isGenerator(returned)) throw new GeneratorReturned()
}

/** A seed that lets a rejection through fails with what was behind it. */
const originalOf = (thrown: unknown): unknown => (thrown instanceof PromiseFailure ? thrown.cause : thrown)

/** A promise that the seed was given. */
interface Started {
  readonly what: string
  readonly isWrite: boolean
  readonly promise: TrackedPromise<unknown>
  /** Settles when the work does, and never fails. */
  readonly done: Promise<Exit.Exit<unknown, unknown>>
  readonly stop: () => void
}

/** The promises of one run. */
const begin = (context: SeedContext["Type"], takesContext: boolean) =>
  // Interruptible, as what is forked from the runtime is what the runtime was.
  Effect.map(Effect.interruptible(Effect.runtime<never>()), (runtime) => {
    const started: Array<Started> = []
    const forgotten: Array<NotAwaited> = []
    let closed = false
    /** The check for forgotten promises is over: what is started now can fail the seed no more. */
    let passed = false
    const self = {}
    StrayWrites.expect()
    UnhandledRejections.answerFor((reason) => reason instanceof PromiseFailure)
    const rejections = UnhandledRejections.watch((reason) => {
      if (!(reason instanceof PromiseFailure) || reason.run !== self) return false
      forgotten.push(new NotAwaited({ handler: reason.handler, reason: describe(reason.cause).message }))
      return true
    })

    const start = <A, E>(what: string, isWrite: boolean, effect: Effect.Effect<A, E>): Promise<A> => {
      if (closed) return refuse(what)
      const fiber = Runtime.runFork(runtime)(effect)
      const done = new Promise<Exit.Exit<A, E>>((resolve) => fiber.addObserver(resolve))
      const promise = new TrackedPromise<A>((resolve, reject) => {
        void done.then((exit) =>
          Exit.isSuccess(exit) ? resolve(exit.value) : reject(new PromiseFailure(what, Cause.squash(exit.cause), self))
        )
      })
      started.push({ what, isWrite, promise, done, stop: () => fiber.unsafeInterruptAsFork(fiber.id()) })
      return promise
    }

    /** Refuses what is started too late: nothing is written. Its rejection does not end the process, even where nobody handles it. */
    const refuse = (what: string): Promise<never> => {
      const late = new NotAwaited({ handler: what, reason: "it was started after run had returned" })
      forgotten.push(late)
      if (passed)
        Runtime.runFork(runtime)(
          Effect.logError(`${late.message}: nothing of it was done, and the seed may be applied without it`)
        )
      return TrackedPromise.rejected(new PromiseFailure(what, late, self))
    }

    const close = () => {
      closed = true
    }

    const settled = Effect.promise(async () => {
      for (const { done } of started) await done
      // What goes on behind a write that settles, and what nobody handles, shows by the next turn of the event loop.
      await UnhandledRejections.nextTurn()
    })

    const refuseForgotten = Effect.gen(function* () {
      if (takesContext && started.length === 0) yield* Effect.logWarning(unused)
      const written: Array<string> = []
      for (const { done, isWrite, promise, what } of started) {
        if (promise.isAwaited) continue
        const exit = yield* Effect.promise(() => done)
        if (Exit.isFailure(exit)) {
          return yield* new NotAwaited({ handler: what, reason: describe(Cause.squash(exit.cause)).message })
        }
        if (isWrite) written.push(what)
      }
      const [first] = forgotten
      if (first !== undefined) return yield* first
      yield* Effect.forEach(written, (what) => Effect.logWarning(`not awaited: ${what}; it was written all the same`))
      passed = true
    })

    /** Stops what still runs, and waits for it. */
    const abandon = Effect.promise(async () => {
      for (const { stop } of started) stop()
      for (const { done } of started) await done
      await UnhandledRejections.nextTurn()
      rejections.end()
    })

    return { abandon, close, context: contextOf(context, start), refuseForgotten, settled }
  })

const unused =
  "it used nothing of its ctx: nothing was read or written; if something was to be, an await is missing before it"

type Start = <A, E>(what: string, isWrite: boolean, effect: Effect.Effect<A, E>) => Promise<A>

const contextOf = (context: SeedContext["Type"], start: Start): PromiseContext => {
  const query = (text: string, params?: ReadonlyArray<unknown>) => start("query", false, context.query(text, params))
  return {
    systemWriteAs: (handler, payload, tenantIdOverride, extraRoles) =>
      start(
        handler,
        true,
        Effect.map(
          context.systemWriteAs(handler, payload, {
            tenantId: tenantIdOverride ?? undefined,
            extraRoles: extraRoles ?? undefined
          }),
          (data) => ({ isSuccess: true, data }) as const
        )
      ),
    findUserByEmail: (email) =>
      start("findUserByEmail", false, Effect.map(context.findUserByEmail(email), Option.getOrNull)),
    findMembershipsOfUser: (userId) => start("findMembershipsOfUser", false, context.findMembershipsOfUser(userId)),
    findTenants: () => start("findTenants", false, context.findTenants),
    db: readingOnly({ query, unsafe: query })
  }
}

/** Any other member of `db` belonged to a query builder: the error names what there is instead. */
const readingOnly = (members: PromiseContext["db"]): PromiseContext["db"] =>
  new Proxy(members, {
    get: (target, key): unknown => {
      if (Predicate.isSymbol(key) || key === "then" || key in target) return Reflect.get(target, key)
      throw new Error(
        `ctx.db.${key} is not available: read with ctx.db.query(text, params), and write with ctx.systemWriteAs(handler, payload)`
      )
    }
  })
