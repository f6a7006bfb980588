/**
 * The body of an async seed: its function run as an effect, with promises in place of the context's effects.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { PromiseContext } from "./PromiseSeed.js"
import type { SeedContext } from "./SeedContext.js"
import { EffectReturned, GeneratorReturned, isGenerator } from "./SeedResult.js"
import { PromiseFailure, StartedPromises } from "./StartedPromises.js"

/** Runs an async seed's function as an effect: what it threw is its failure. */
export const run = (
  declared: (context: PromiseContext) => unknown,
  context: SeedContext["Type"]
): Effect.Effect<unknown, unknown> =>
  Effect.acquireUseRelease(
    // Interruptible, as what is forked from the runtime is what the runtime was.
    Effect.map(Effect.interruptible(Effect.runtime<never>()), (runtime) => new StartedPromises(runtime)),
    (promises) =>
      Effect.tryPromise({
        try: async () => refuseUnrun(await declared(contextOf(context, promises))),
        catch: originalOf
      }).pipe(
        Effect.ensuring(promises.close),
        Effect.zipLeft(Effect.interruptible(promises.settled)),
        Effect.tap(() => (declared.length > 0 && promises.areNone ? Effect.logWarning(unused) : Effect.void)),
        Effect.zipLeft(promises.refuseForgotten)
      ),
    (promises) => Effect.zipRight(promises.close, promises.abandon)
  )

/** Runs an async seed's function with the context of another runner, which settles its own promises. */
export const runElsewhere = async (
  declared: (context: PromiseContext) => unknown,
  context: PromiseContext
): Promise<unknown> => {
  const returned = await declared(context)
  refuseUnrun(returned)
  return returned
}

/** An Effect or a generator would be run by nobody. Promises of the context are settled, whether they were awaited or not. */
const refuseUnrun = (returned: unknown): void => {
  if (Effect.isEffect(returned)) throw new EffectReturned()
  if (isGenerator(returned)) throw new GeneratorReturned()
}

/** A seed that lets a rejection through fails with what was behind it. */
const originalOf = (thrown: unknown): unknown => (thrown instanceof PromiseFailure ? thrown.cause : thrown)

const unused =
  "it used nothing of its ctx: nothing was read or written; if something was to be, an await is missing before it"

const contextOf = (context: SeedContext["Type"], promises: StartedPromises): PromiseContext => {
  const start: StartedPromises["start"] = (what, isWrite, effect) => promises.start(what, isWrite, effect)
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
