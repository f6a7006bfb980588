import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  ConfigProvider,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Logger,
  Option,
  Ref,
  Runtime,
  Schema,
  TestClock
} from "effect"
import {
  Directory,
  EsOps,
  MemoryDatabase,
  Operation,
  OperationError,
  OperationLog,
  Seed,
  SeedContext,
  SeedReport,
  SeedRunner,
  SeedStatus
} from "effect-es-ops"
import type { Attempt, PromiseSeed } from "effect-es-ops"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { quiet } from "../../support/Applying.js"

class Boom extends Schema.TaggedError<Boom>()("Boom", { code: Schema.String }) {
  override get message(): string {
    return "no such thing"
  }
}

const tenant = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: key })
const seed = (run: Effect.Effect<unknown, unknown, SeedContext.SeedContext>, more: { skippable?: boolean } = {}) =>
  Seed.make({ description: "a seed", run, ...more })

const apply = SeedRunner.apply({ appliedBy: "boot" })
const summary = ({ outcomes }: SeedReport.SeedReport) => outcomes.map(({ _tag, id }) => [_tag, id])
const withEnv = (env: Record<string, string>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env))))
const keys = Effect.map(SeedContext.findTenants, (all) => all.map(({ tenantKey }) => tenantKey))

const keysOf = Effect.map(
  Effect.flatMap(Directory.Directory, ({ findTenants }) => findTenants),
  (all) => all.map(({ tenantKey }) => tenantKey)
)

const errorOf = (attempt: Attempt.Attempt | undefined) =>
  Option.getOrThrow(Option.fromNullable(attempt).pipe(Option.flatMap(({ error }) => error)))

/** Lines that are logged meanwhile. */
const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines = yield* Ref.make<ReadonlyArray<string>>([])
    const runtime = yield* Effect.runtime<never>()
    const logger = Logger.make(({ logLevel, message }) => {
      const line = `${logLevel.label}: ${String(message)}`
      Effect.runSync(
        Effect.provide(
          Ref.update(lines, (all) => [...all, line]),
          runtime
        )
      )
    })
    const result = yield* Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger))
    return { result, lines: yield* Ref.get(lines) }
  })

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

describe("skip flags", () => {
  const seeds = {
    "2026-fix.it": seed(tenant("skipped"), { skippable: true }),
    "2027-other": seed(Effect.tap(keys, (found) => Effect.sync(() => assert.deepStrictEqual(found, []))))
  }

  it.effect("skip a seed that allows it, without a marker, and say so once in the attempts", () =>
    Effect.gen(function* () {
      const flagged = apply.pipe(withEnv({ KUMIKO_SKIP_ES_OPS_2026_FIX_IT: "1" }))
      assert.deepStrictEqual(summary(yield* flagged), [
        ["Skipped", "2026-fix.it"],
        ["Applied", "2027-other"]
      ])
      assert.deepStrictEqual(summary(yield* flagged), [["Skipped", "2026-fix.it"]])
      const { applied, attempts } = yield* OperationLog.OperationLog
      assert.isFalse((yield* applied).has("2026-fix.it"))
      const skips = yield* attempts({ id: Operation.OperationId.make("2026-fix.it") })
      assert.deepStrictEqual(
        skips.map(({ outcome }) => outcome),
        ["skipped"]
      )
      // Not late afterwards, though it sorts before an applied one: it was skipped on purpose.
      const { seeds } = yield* SeedRunner.plan
      assert.deepStrictEqual(
        seeds.map(({ state }) => state),
        ["pending", "applied"]
      )
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds, late: "fail" })))
  )

  it.effect("skip everything with KUMIKO_SKIP_ES_OPS=1, and leave status as it is", () =>
    Effect.gen(function* () {
      const report = yield* apply.pipe(withEnv({ KUMIKO_SKIP_ES_OPS: "1" }))
      assert.deepStrictEqual(report.skippedAll, Option.some("KUMIKO_SKIP_ES_OPS"))
      assert.deepStrictEqual(report.outcomes, [])
      const { counts } = yield* SeedStatus.status
      assert.strictEqual(counts.pending, 2)
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("count only as 1, and are warned about otherwise, as is one for a seed that is not skippable", () =>
    Effect.gen(function* () {
      const { lines, result } = yield* logged(
        apply.pipe(
          withEnv({
            KUMIKO_SKIP_ES_OPS: "true",
            KUMIKO_SKIP_ES_OPS_2026_FIX_IT: "yes",
            KUMIKO_SKIP_ES_OPS_2027_OTHER: "1",
            KUMIKO_SKIP_ES_OPS_2027__OTHER: "1"
          })
        )
      )
      assert.deepStrictEqual(
        summary(result).map(([tag]) => tag),
        ["Applied", "Applied"]
      )
      const warnings = lines.filter((line) => line.startsWith("WARN"))
      assert.strictEqual(warnings.length, 4)
      assert.include(warnings.join("\n"), "KUMIKO_SKIP_ES_OPS_2027__OTHER is set, but no seed has this flag")
      assert.include(warnings.join("\n"), "KUMIKO_SKIP_ES_OPS_2026_FIX_IT is set, but to something other than 1")
      assert.include(
        warnings.join("\n"),
        'KUMIKO_SKIP_ES_OPS_2027_OTHER is set, but the seed "2027-other" is not skippable'
      )
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { ...seeds, "2027-other": seed(Effect.void) } })))
  )
})

describe("the wait for the lock", () => {
  const holder = new OperationError.LockHolder({ pid: 4711, applicationName: "another", since: Option.none() })
  const hold = Effect.flatMap(MemoryDatabase.MemoryDatabase, ({ lock }) => Ref.set(lock, Option.some(holder)))
  const release = Effect.flatMap(MemoryDatabase.MemoryDatabase, ({ lock }) => Ref.set(lock, Option.none()))
  const seeds = { "1": seed(Effect.void) }

  it.effect(
    "goes on while another holds it, is mentioned at once and then every ten seconds, and ends when it is free",
    () =>
      Effect.gen(function* () {
        yield* hold
        const fiber = yield* Effect.fork(logged(apply))
        yield* TestClock.adjust("25 seconds")
        yield* release
        yield* TestClock.adjust("1 seconds")
        const { lines, result } = yield* Fiber.join(fiber)
        assert.deepStrictEqual(summary(result), [["Applied", "1"]])
        const waits = lines.filter((line) => line.includes("waits"))
        assert.strictEqual(waits.length, 3)
        assert.include(waits[0], "process 4711 (another)")
        const [attempt] = yield* (yield* OperationLog.OperationLog).attempts({})
        assert.isAtLeast(Option.getOrThrow(attempt?.waitedMs ?? Option.none()), 25_000)
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("ends with LockTimeout, which names the holder and the seed", () =>
    Effect.gen(function* () {
      yield* hold
      const fiber = yield* Effect.fork(Effect.flip(apply))
      yield* TestClock.adjust("61 seconds")
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { _tag: "LockTimeout", id: "1" })
      assert.include(error.message, "process 4711 (another)")
      assert.deepStrictEqual(yield* (yield* OperationLog.OperationLog).attempts({}), [])
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds, lockTimeout: "1 minute" })))
  )

  for (const lockTimeout of [1, 60, 500, 4_999, 7_000]) {
    it.effect(`takes no longer than lockTimeout, with an attempt at its end: ${lockTimeout} ms`, () =>
      Effect.gen(function* () {
        yield* hold
        const fiber = yield* Effect.fork(Effect.flip(apply))
        yield* TestClock.adjust("1 minutes")
        assert.deepInclude(yield* Fiber.join(fiber), { _tag: "LockTimeout", waitedMs: lockTimeout })
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds, lockTimeout })))
    )
  }

  it.effect("asks again soon at first, then at least every half second, and not always after the same time", () =>
    Effect.gen(function* () {
      yield* hold
      const asked: Array<number> = []
      const waiting = () => Effect.map(Clock.currentTimeMillis, (now) => void asked.push(now))
      const fiber = yield* Effect.fork(SeedRunner.apply({ appliedBy: "boot", observer: { ...quiet, waiting } }))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.interrupt(fiber)
      const gaps = asked.slice(1).map((at, n) => at - (asked[n] ?? NaN))
      assert.isAtMost(gaps[0] ?? NaN, 60)
      assert.isAtMost(Math.max(...gaps), 500)
      assert.isAtLeast(new Set(gaps.slice(10)).size, 5)
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("is one attempt when lockTimeout is 0", () =>
    Effect.gen(function* () {
      yield* hold
      assert.deepInclude(yield* Effect.flip(apply), { _tag: "LockTimeout", waitedMs: 0 })
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds, lockTimeout: 0 })))
  )

  it.effect("can be interrupted", () =>
    Effect.gen(function* () {
      yield* hold
      const fiber = yield* Effect.fork(apply)
      yield* TestClock.adjust("1 seconds")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds })))
  )

  it.effect("makes of two runs at once one that applies and one that lost the race", () =>
    Effect.gen(function* () {
      const inside = yield* Deferred.make<void>()
      const leave = yield* Deferred.make<void>()
      const slow = seed(Effect.zipRight(Deferred.succeed(inside, void 0), Deferred.await(leave)))
      yield* Effect.gen(function* () {
        const first = yield* Effect.fork(apply)
        yield* Deferred.await(inside)
        const second = yield* Effect.fork(apply)
        yield* TestClock.adjust("2 seconds")
        yield* Deferred.succeed(leave, void 0)
        assert.deepStrictEqual(summary(yield* Fiber.join(first)), [
          ["Applied", "1"],
          ["Applied", "2"]
        ])
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(summary(yield* Fiber.join(second)), [
          ["Raced", "1"],
          ["Raced", "2"]
        ])
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": slow, "2": seed(Effect.void) } })))
    })
  )

  it.effect(
    "ends with SeedFailedElsewhere when the seed failed meanwhile at another, whose body alone ran; a new start runs it again",
    () =>
      Effect.gen(function* () {
        const inside = yield* Deferred.make<void>()
        const leave = yield* Deferred.make<void>()
        const runs = yield* Ref.make(0)
        const failing = seed(
          Ref.update(runs, (n) => n + 1).pipe(
            Effect.zipRight(Deferred.succeed(inside, void 0)),
            Effect.zipRight(Deferred.await(leave)),
            Effect.zipRight(new Boom({ code: "E1" }))
          )
        )
        yield* Effect.gen(function* () {
          const first = yield* Effect.fork(Effect.flip(apply))
          yield* Deferred.await(inside)
          const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(Effect.flip(apply)))
          yield* TestClock.adjust("2 seconds")
          yield* Deferred.succeed(leave, void 0)
          assert.strictEqual((yield* Fiber.join(first))._tag, "SeedFailed")
          yield* TestClock.adjust("5 seconds")
          for (const other of others) {
            const error = yield* Fiber.join(other)
            assert.deepInclude(error, { _tag: "SeedFailedElsewhere", id: "1", host: "memory" })
            assert.include(error.message, "no such thing")
          }
          assert.strictEqual(yield* Ref.get(runs), 1)
          assert.strictEqual((yield* Effect.flip(apply))._tag, "SeedFailed")
          assert.strictEqual(yield* Ref.get(runs), 2)
        }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": failing } })))
      })
  )
})

describe("SeedRunner.plan", () => {
  it.effect("tells late seeds from pending ones, runs them with a warning, or refuses them", () =>
    Effect.gen(function* () {
      const first = EsOps.layerMemory({ seeds: { b: seed(Effect.void) } })
      yield* Effect.gen(function* () {
        yield* apply
        const database = yield* MemoryDatabase.MemoryDatabase
        const both = { a: seed(Effect.void), b: seed(Effect.void), c: seed(Effect.void) }
        const on = (settings: { late?: "fail" }) =>
          Effect.provide(EsOps.layerMemory({ seeds: both, database, ...settings }))
        const { seeds } = yield* on({})(SeedRunner.plan)
        assert.deepStrictEqual(
          seeds.map(({ id, state }) => `${id} ${state}`),
          ["a late", "b applied", "c pending"]
        )
        const refused = yield* Effect.flip(on({ late: "fail" })(apply))
        assert.strictEqual(refused._tag, "SeedsInconsistent")
        assert.include(refused.message, 'sorts before "b"')
        const { lines, result } = yield* logged(on({})(apply))
        assert.deepStrictEqual(summary(result), [
          ["Applied", "a"],
          ["Applied", "c"]
        ])
        assert.isTrue(lines.some((line) => line.startsWith("WARN") && line.includes('"a" is late')))
      }).pipe(Effect.provide(first))
    })
  )

  it.effect("names the applied seeds that were edited since, whatever ends their lines, and none that was not", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-plan-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const text = `export default { description: "", run: async () => {} }\n`
      const write = (name: string, content: string) => Effect.promise(() => writeFile(join(folder, name), content))
      for (const name of ["1.mjs", "2.mjs", "3.mjs"]) yield* write(name, text)
      yield* Effect.gen(function* () {
        yield* apply
        assert.deepStrictEqual((yield* SeedRunner.plan).changed, [])
        yield* write("1.mjs", `${text}// edited`)
        yield* write("2.mjs", text.replaceAll("\n", "\r\n"))
        yield* write("4.mjs", text)
        // Another replica, which skips what is applied meanwhile.
        const log = yield* OperationLog.OperationLog
        const [last] = yield* log.attempts({ id: Operation.OperationId.make("1") })
        if (last !== undefined) yield* log.record({ ...last, outcome: "skipped" })
        const { changed, seeds } = yield* SeedRunner.plan
        assert.deepStrictEqual(changed, ["1"])
        assert.deepStrictEqual(
          seeds.map(({ state }) => state),
          ["applied", "applied", "applied", "pending"]
        )
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds: folder })))
    }).pipe(Effect.scoped)
  )
})
