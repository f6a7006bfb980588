/**
 * What a run makes of its seeds: in which order they are applied, and how one fails.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Ref, Runtime, Schema, TestClock } from "effect"
import { EsOps, MemoryDatabase, Operation, OperationLog, SeedContext, SeedReport, SeedRunner } from "effect-es-ops"
import type { PromiseSeed } from "effect-es-ops"
import { Boom, tenant, seed, apply, summary, keysOf, errorOf, logged } from "../../support/Runs.js"

describe("SeedRunner.apply", () => {
  it.effect("applies pending seeds in the order of their ids, each once", () =>
    Effect.gen(function* () {
      const ran = yield* Ref.make<ReadonlyArray<string>>([])
      const note = (id: string) => seed(Ref.update(ran, (all) => [...all, id]))
      // "fix" sorts before "fix-2" as an id, though "fix.ts" sorts after "fix-2.ts" as a file name.
      const seeds = { "fix-2": note("fix-2"), b: note("b"), fix: note("fix"), a: note("a"), B: note("B") }
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(
          summary(yield* apply).map(([, id]) => id),
          ["B", "a", "b", "fix", "fix-2"]
        )
        assert.deepStrictEqual(summary(yield* apply), [])
        assert.deepStrictEqual(yield* Ref.get(ran), ["B", "a", "b", "fix", "fix-2"])
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
    })
  )

  it.effect(
    "stops at the first failure: what came before stays, what follows is not attempted, the cause is the seed's own",
    () =>
      Effect.gen(function* () {
        const seeds = {
          "1": seed(tenant("one")),
          "2": seed(Effect.zipRight(tenant("two"), new Boom({ code: "E1" }))),
          "3": seed(tenant("three")),
          "4": seed(tenant("four"))
        }
        yield* Effect.gen(function* () {
          const error = yield* Effect.flip(apply)
          assert.instanceOf(error, SeedReport.SeedFailed)
          if (!(error instanceof SeedReport.SeedFailed)) return
          assert.instanceOf(error.cause, Boom)
          assert.strictEqual(error.message, 'seed "2" failed: no such thing')
          assert.deepInclude(error, { id: "2", applied: ["1"], skipped: [], raced: [], notAttempted: ["3", "4"] })
          const { attempts, applied } = yield* OperationLog.OperationLog
          assert.deepStrictEqual([...(yield* applied).keys()], ["1"])
          const [failed] = yield* attempts({ id: Operation.OperationId.make("2") })
          assert.deepInclude(failed, { outcome: "failed", attempt: 1 })
          assert.deepInclude(errorOf(failed), {
            _tag: "Boom",
            code: "E1",
            message: "no such thing"
          })
        }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
      })
  )

  const thrown: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown>, string]> = [
    ["a string", Effect.fail("just text"), "just text"],
    ["undefined", Effect.fail(undefined), "undefined"],
    ["null", Effect.fail(null), "null"],
    ["an Error", Effect.fail(new RangeError("out of range")), "out of range"],
    [
      "an Error with causes",
      Effect.fail(new Error("fetch failed", { cause: new Error("no", { cause: new Error("ECONNREFUSED") }) })),
      "fetch failed: no: ECONNREFUSED"
    ],
    [
      "an Error that a value did not fit",
      Effect.mapError(
        Schema.decodeUnknown(Schema.Number)("a secret"),
        (cause) => new Error("the rows do not fit", { cause })
      ),
      "the rows do not fit"
    ],
    [
      "errors that cause each other",
      Effect.suspend(() => {
        const [one, two] = [new Error("one"), new Error("two")]
        one.cause = two
        two.cause = one
        return Effect.fail(one)
      }),
      "one: two"
    ],
    [
      "a promise that is rejected",
      Effect.tryPromise(() => Promise.reject(new Error("the real reason"))),
      "the real reason"
    ],
    [
      "promises of which none is kept",
      Effect.tryPromise(() => Promise.any([Promise.reject(new Error("no one")), Promise.reject("nor two")])),
      "All promises were rejected: no one; nor two"
    ],
    [
      "errors of which one has a value in it",
      Effect.catchAll(Schema.decodeUnknown(Schema.Number)("a secret"), (error) =>
        Effect.fail(new AggregateError([new Error("one"), error], "all"))
      ),
      "all: one"
    ],
    [
      "an error of itself",
      Effect.suspend(() => {
        const errors: Array<unknown> = [new Error("one")]
        const all = new AggregateError(errors, "all")
        all.errors.push(all)
        return Effect.fail(all)
      }),
      "all: one; all"
    ],
    ["a defect", Effect.die(new TypeError("not a function")), "not a function"],
    [
      "a thrown string",
      Effect.sync(() => {
        throw "thrown"
      }),
      "thrown"
    ],
    [
      "an object with a message that throws",
      Effect.fail({
        get message(): string {
          throw new Error("no")
        }
      }),
      "[object Object]"
    ],
    [
      "an object that cannot be printed",
      Effect.fail({
        toString: () => {
          throw new Error("no")
        }
      }),
      "an error that cannot be read"
    ],
    ["an interruption of its own", Effect.interrupt, "it interrupted itself"]
  ]
  it.effect.each(thrown)("turns %s into SeedFailed", ([, run, message]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(apply)
      assert.isTrue(Exit.isFailure(exit))
      const error = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
      assert.strictEqual(Option.getOrThrow(error)._tag, "SeedFailed")
      assert.strictEqual(Option.getOrThrow(error).message, `seed "1" failed: ${message}`)
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": seed(run) } })))
  )

  it.effect("bounds what it keeps of a megabyte of error text", () =>
    Effect.gen(function* () {
      yield* Effect.ignore(apply)
      const { attempts } = yield* OperationLog.OperationLog
      const [failed] = yield* attempts({})
      const error = errorOf(failed)
      assert.isBelow(new TextEncoder().encode(JSON.stringify(error)).length, 8 * 1024)
    }).pipe(
      Effect.provide(EsOps.layerMemory({ seeds: { "1": seed(Effect.fail(new Error(`ä\u0000"\n`.repeat(250_000)))) } }))
    )
  )

  it.effect("names a service that a seed requires and nobody provides", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(apply)
      assert.include(error.message, "app/Missing")
      assert.strictEqual(error._tag, "SeedFailed")
    }).pipe(
      Effect.provide(
        EsOps.layerMemory({
          // As a plain JavaScript seed would: the compiler cannot know.
          seeds: { "1": () => import(new URL("../../fixtures/missing-service.js", import.meta.url).href) }
        })
      )
    )
  )

  it.effect("is no success of work that was described and never done: what nobody ran, nobody waited for", () =>
    Effect.gen(function* () {
      const undone = {
        // oxlint-disable-next-line require-yield
        effect: Effect.gen(function* () {
          return tenant("forgotten")
        }),
        effects: Effect.succeed(["a", "b"].map(tenant)),
        generator: Effect.sync(() => (function* () {})()),
        inside: Effect.succeed(Option.some([tenant("forgotten")])),
        promise: Effect.sync(async () => undefined)
      }
      for (const [id, run] of Object.entries(undone)) {
        yield* Effect.gen(function* () {
          const { cause } = yield* Effect.flatMap(
            Effect.flip(apply),
            Schema.decodeUnknown(Schema.typeSchema(SeedReport.SeedFailed))
          )
          assert.match(String(cause), /which nobody (?:runs|waits for)/)
          assert.strictEqual((yield* Effect.flatMap(OperationLog.OperationLog, ({ markers }) => markers)).length, 0)
        }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { [id]: seed(run) } })))
      }
    })
  )

  it.effect("is one of what gives a value, even where that could be run", () =>
    Effect.gen(function* () {
      const values = {
        admin: SeedContext.findUserByEmail("admin@example.com"),
        exit: Effect.exit(Effect.fail("seen")),
        rejected: Effect.flip(SeedContext.systemWriteAs("nobody:write:nothing", {})),
        either: Effect.either(SeedContext.systemWriteAs("nobody:write:nothing", {})),
        fiber: Effect.fork(Effect.void),
        ref: Ref.make(0),
        deferred: Deferred.make(),
        ids: Effect.succeed([Option.none(), 1, "a", null, new Map().values()]),
        text: Effect.succeed("done")
      }
      const seeds = Object.fromEntries(Object.entries(values).map(([id, run]) => [id, seed(run)]))
      const report = yield* Effect.provide(apply, EsOps.layerMemory({ seeds }))
      assert.strictEqual(summary(report).length, Object.keys(values).length)
    })
  )

  it.effect(
    "takes async functions in a record for what they are, and refuses what is no seed before anything is run",
    () =>
      Effect.gen(function* () {
        const plain = {
          description: "plain",
          run: async (ctx: PromiseSeed.PromiseContext) => {
            await ctx.systemWriteAs("tenant:write:create", { key: "plain", name: "plain" })
          }
        }
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(summary(yield* apply), [["Applied", "a"]])
          assert.deepStrictEqual(yield* keysOf, ["plain"])
        }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { a: plain } })))
        // As a record of JavaScript may be.
        const { seeds } = JSON.parse('{ "seeds": { "b": null, "c": 5, "d": { "description": "no run" }, "e": {} } }')
        const refused = yield* Effect.flip(Effect.provide(apply, EsOps.layerMemory({ seeds })))
        assert.deepStrictEqual(
          refused._tag === "SeedsInconsistent" ? refused.problems.map(({ _tag, id }) => [_tag, id]) : refused,
          ["b", "c", "d", "e"].map((id) => ["InvalidSeed", id])
        )
      })
  )

  it.effect("goes on to its end where it may not be interrupted", () =>
    Effect.gen(function* () {
      const report = yield* Effect.uninterruptible(
        Effect.provide(apply, EsOps.layerMemory({ seeds: { a: seed(tenant("a")) } }))
      )
      assert.deepStrictEqual(summary(report), [["Applied", "a"]])
    })
  )

  it.effect("warns of a failure as the value of a seed, which may be a yield* that is missing", () =>
    Effect.gen(function* () {
      const run = Effect.sync(() => new Boom({ code: "returned" }))
      const { lines } = yield* logged(Effect.provide(apply, EsOps.layerMemory({ seeds: { a: seed(run) } })))
      assert.include(lines.join("\n"), "WARN: it ended with a failure as its value")
    })
  )

  it.effect("says which seed is still being loaded, every ten seconds", () =>
    Effect.gen(function* () {
      const inside = yield* Deferred.make<void>()
      const runtime = yield* Effect.runtime<never>()
      const never = () => {
        Runtime.runSync(runtime)(Deferred.succeed(inside, undefined))
        return new Promise<never>(() => undefined)
      }
      const { lines } = yield* logged(
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(Effect.provide(apply, EsOps.layerMemory({ seeds: { waits: never } })))
          yield* Deferred.await(inside)
          yield* TestClock.adjust("25 seconds")
          yield* Fiber.interrupt(fiber)
        })
      )
      assert.lengthOf(
        lines.filter((line) => line.includes('"waits" is still being loaded')),
        2
      )
    })
  )

  it.effect("writes nothing and loads nothing when everything is applied", () =>
    Effect.gen(function* () {
      const loads = yield* Ref.make(0)
      const runtime = yield* Effect.runtime<never>()
      const load = () =>
        Effect.runPromise(
          Effect.as(
            Ref.update(loads, (n) => n + 1),
            { default: seed(Effect.void) }
          ).pipe(Effect.provide(runtime))
        )
      yield* Effect.gen(function* () {
        yield* apply
        const before = yield* Ref.get((yield* MemoryDatabase.MemoryDatabase).state)
        const report = yield* apply
        assert.deepStrictEqual(report.outcomes, [])
        assert.strictEqual(yield* Ref.get((yield* MemoryDatabase.MemoryDatabase).state), before)
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": load } })))
      assert.strictEqual(yield* Ref.get(loads), 1)
    })
  )

  it.effect("applies up to and including an id, and refuses one that it does not know", () =>
    Effect.gen(function* () {
      const to = (id: string) => SeedRunner.apply({ appliedBy: "cli", to: id })
      const unknown = yield* Effect.flip(to("9"))
      assert.deepInclude(unknown, { _tag: "UnknownSeed", id: "9" })
      const report = yield* to("2")
      assert.deepStrictEqual(
        summary(report).map(([, id]) => id),
        ["1", "2"]
      )
      assert.deepStrictEqual(report.notAttempted, ["3"])
      assert.deepStrictEqual(summary(yield* to("2")), [])
    }).pipe(
      Effect.provide(
        EsOps.layerMemory({ seeds: { "1": seed(Effect.void), "2": seed(Effect.void), "3": seed(Effect.void) } })
      )
    )
  )

  it.effect("interrupts a seed that takes longer than seedTimeout", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(Effect.flip(apply))
      yield* TestClock.adjust("31 seconds")
      const error = yield* Fiber.join(fiber)
      assert.include(error.message, "seedTimeout, 30000 ms")
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": seed(Effect.never) }, seedTimeout: "30 seconds" })))
  )
})
