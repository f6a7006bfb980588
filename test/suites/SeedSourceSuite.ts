/**
 * What every source of seeds does.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Either, Layer, Scope } from "effect"
import { SeedContext, SeedSource } from "effect-es-ops"

/** A service of an application, for a seed to require. */
export class Greeting extends Context.Tag("test/Greeting")<Greeting, string>() {}

/** A source with these seeds: `b` and `a`, which succeed with a text, `greets`, which succeeds with the greeting, and `wrong`. */
export const suite = (
  name: string,
  source: Layer.Layer<SeedSource.SeedSource, never, Greeting | Scope.Scope>
): void => {
  const context = Effect.provideService(SeedContext.SeedContext, {
    systemWriteAs: () => Effect.succeed({ id: "" }),
    systemWriteAll: () => Effect.succeed([]),
    write: () => Effect.dieMessage("it is no handler"),
    findUserByEmail: () => Effect.succeedNone,
    findMembershipsOfUser: () => Effect.succeed([]),
    findTenants: Effect.succeed([]),
    query: () => Effect.succeed([])
  })
  const entries = Effect.gen(function* () {
    const { discover } = yield* SeedSource.SeedSource
    return (yield* discover).entries
  })

  describe(`SeedSource: ${name}`, () => {
    const provided = Effect.provide(Layer.provide(source, Layer.merge(Layer.scope, Layer.succeed(Greeting, "hello"))))

    it.effect("lists the seeds in the order of their ids, each with where it came from", () =>
      Effect.gen(function* () {
        const found = yield* entries
        assert.deepStrictEqual(
          found.map(({ id }) => id),
          ["a", "b", "greets", "wrong"]
        )
        for (const { id, path } of found) assert.include(path, id)
      }).pipe(provided)
    )

    it.effect("loads a seed that can be run, with the services of the layer", () =>
      Effect.gen(function* () {
        const run = (id: string) =>
          Effect.gen(function* () {
            const entry = (yield* entries).find((candidate) => candidate.id === id)
            const seed = yield* entry === undefined ? Effect.die(id) : entry.load
            return yield* seed.run(yield* SeedContext.SeedContext)
          })
        assert.strictEqual(yield* run("a"), "from a")
        assert.strictEqual(yield* run("b"), "from b")
        assert.strictEqual(yield* run("greets"), "hello")
      }).pipe(context, provided)
    )

    it.effect("says what is wrong with an export that is no seed", () =>
      Effect.gen(function* () {
        const wrong = (yield* entries).find(({ id }) => id === "wrong")
        const loaded = yield* Effect.either(wrong?.load ?? Effect.die("missing"))
        assert.isTrue(Either.isLeft(loaded))
        if (Either.isLeft(loaded)) assert.deepInclude(loaded.left, { _tag: "InvalidSeed", id: "wrong" })
      }).pipe(provided)
    )
  })
}
