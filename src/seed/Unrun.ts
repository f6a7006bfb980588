/**
 * What a body gives that somebody would have to run: work that was described and never done is no success.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
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

type Unrun = EffectReturned | GeneratorReturned | PromiseReturned

/** Why what a seed's Effect gave, or one of the things in it, is work that was not done. */
export const unrun = (given: unknown): Option.Option<Unrun> => {
  if (!Predicate.isObject(given)) return Option.none()
  if (Array.isArray(given)) return firstOf(given)
  if (Option.isOption(given)) return Option.flatMap(given, unrun)
  if (Either.isEither(given)) return Either.isRight(given) ? unrun(given.right) : Option.none()
  if (isProgram(given)) return Option.some(new EffectReturned())
  if (isGenerator(given)) return Option.some(new GeneratorReturned())
  return Predicate.isPromise(given) ? Option.some(new PromiseReturned()) : Option.none()
}

const firstOf = (given: ReadonlyArray<unknown>): Option.Option<Unrun> => {
  for (const one of given) {
    const found = unrun(one)
    if (Option.isSome(found)) return found
  }
  return Option.none()
}

const program: unknown = Object.getPrototypeOf(Effect.suspend(() => Effect.void))

/**
 * Whether it is what Effect makes of a description, or a statement of SQL. Much else can be yielded and is a value without that: exits, errors,
 * fibers, references, queues.
 */
const isProgram = (given: object): boolean =>
  Effect.isEffect(given) && (Object.getPrototypeOf(given) === program || Predicate.hasProperty(given, "compile"))

/** Whether somebody would have to ask it for its next value. */
export const isGenerator = (given: unknown): boolean =>
  /^\[object (?:Async)?Generator\]$/.test(Object.prototype.toString.call(given))
