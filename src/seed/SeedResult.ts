/**
 * What a body gives that somebody would have to run: work that was described and never done is no success.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
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
export const unrun = (given: unknown, depth = 0): Option.Option<Unrun> => {
  if (!Predicate.isObject(given) || depth > deepest) return Option.none()
  if (Array.isArray(given)) return firstOf(given, depth + 1)
  if (Option.isOption(given)) return firstOf(Option.toArray(given), depth + 1)
  if (Either.isEither(given)) return Either.isRight(given) ? unrun(given.right, depth + 1) : Option.none()
  if (isProgram(given)) return Option.some(new EffectReturned())
  if (isGenerator(given)) return Option.some(new GeneratorReturned())
  return Predicate.isPromise(given) ? Option.some(new PromiseReturned()) : Option.none()
}

/** Whether it is a failure that was caught as a value, or one that somebody forgot to yield: they are the same. */
export const isFailure = (given: unknown): boolean =>
  Effect.isEffect(given) && (given instanceof Error || (Exit.isExit(given) && Exit.isFailure(given)))

/** Values may hold themselves. */
const deepest = 4

const firstOf = (given: ReadonlyArray<unknown>, depth: number): Option.Option<Unrun> => {
  for (const one of given) {
    const found = unrun(one, depth)
    if (Option.isSome(found)) return found
  }
  return Option.none()
}

const program: unknown = Object.getPrototypeOf(Effect.suspend(() => Effect.void))

/**
 * Whether it is what Effect makes of a description, in this copy of it or another, or a statement of SQL. Much else can be yielded and is a
 * value without that: exits, errors, fibers, references, queues.
 */
const isProgram = (given: object): boolean =>
  Effect.isEffect(given) &&
  (Object.getPrototypeOf(given) === program ||
    given.constructor.name === "EffectPrimitive" ||
    Predicate.hasProperty(given, "compile"))

/** Whether somebody would have to ask it for its next value. */
export const isGenerator = (given: unknown): boolean =>
  /^\[object (?:Async)?Generator\]$/.test(Object.prototype.toString.call(given))
