/**
 * What a body gives that somebody would have to run: work that was described and never done is no success.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"

/** `run` gave an Effect, which nobody would run. */
export class EffectReturned extends Schema.TaggedError<EffectReturned>()("EffectReturned", {}) {
  override get message(): string {
    return "run returned an Effect, which nobody runs: make the seed with Seed.make, and yield* every Effect in it"
  }
}

/** `run` gave a generator, which nobody would run. */
export class GeneratorReturned extends Schema.TaggedError<GeneratorReturned>()("GeneratorReturned", {}) {
  override get message(): string {
    return "run returned a generator, which nobody runs: make the seed with Seed.make and Effect.gen"
  }
}

/** An Effect gave a promise, which nobody would wait for. */
export class PromiseReturned extends Schema.TaggedError<PromiseReturned>()("PromiseReturned", {}) {
  override get message(): string {
    return "run gave a promise, which nobody waits for: say Effect.promise or Effect.tryPromise"
  }
}

/** Why what a body gave, or one of the things in its array, is work that was not done. */
export const unrun = (given: unknown): Option.Option<EffectReturned | GeneratorReturned | PromiseReturned> =>
  Option.firstSomeOf((Array.isArray(given) ? given : [given]).map(one))

const one = (given: unknown): Option.Option<EffectReturned | GeneratorReturned | PromiseReturned> => {
  if (!Predicate.isObject(given)) return Option.none()
  if (Effect.isEffect(given)) return isValue(given) ? Option.none() : Option.some(new EffectReturned())
  if (/^\[object (?:Async)?Generator\]$/.test(Object.prototype.toString.call(given)))
    return Option.some(new GeneratorReturned())
  return Predicate.isPromiseLike(given) ? Option.some(new PromiseReturned()) : Option.none()
}

/** Values that can be run, and are what they are without it. A failed exit is not told from the failure that somebody forgot to yield. */
const isValue = (given: unknown): boolean =>
  Option.isOption(given) ||
  Either.isEither(given) ||
  (Exit.isExit(given) && Exit.isSuccess(given)) ||
  Fiber.isFiber(given) ||
  Predicate.hasProperty(given, Ref.RefTypeId) ||
  Predicate.hasProperty(given, Deferred.DeferredTypeId) ||
  Predicate.hasProperty(given, FiberRef.FiberRefTypeId)
