/**
 * Seeds outside any transaction: what PostgreSQL refuses in one, under the lock, with an attempt that shows when one was interrupted.
 */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option } from "effect"
import {
  Directory,
  EsOps,
  OperationLog,
  Seed,
  SeedContext,
  SeedReport,
  SeedRunner,
  SeedSource,
  SeedStatus
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Database from "../../support/TestDatabase.js"

const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>) =>
  layer(services, { excludeTestServices: true })(`a seed outside any transaction: ${name}`, (it) => {
    const apply = (id: string, seed: Seed.Seed<unknown>, retry?: string) =>
      Effect.provide(SeedRunner.apply({ appliedBy: "cli", retry }), SeedSource.layerRecord({ [id]: seed }))
    const lastOf = (id: string) =>
      Effect.map(
        Effect.flatMap(OperationLog.OperationLog, (log) => log.lastAttempts),
        (last) => last.get(id)
      )
    const keys = Effect.map(
      Effect.flatMap(Directory.Directory, ({ findTenants }) => findTenants),
      (tenants) => tenants.map(({ tenantKey }) => tenantKey)
    )
    const write = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: "n" })

    it.effect("is applied with marker and attempt, its writes each for itself; a failure keeps what it wrote", () =>
      Effect.gen(function* () {
        const [good, bad, first, second] = [
          `a-${randomUUID()}`,
          `b-${randomUUID()}`,
          `k-${randomUUID()}`,
          `k-${randomUUID()}`
        ]
        const report = yield* apply(good, Seed.make({ description: "d", transaction: "none", run: write(first) }))
        assert.deepInclude(report.outcomes[0], { _tag: "Applied", id: good, events: 1 })
        assert.deepInclude(yield* lastOf(good), { outcome: "applied", attempt: 1 })
        const failing = Seed.make({
          description: "d",
          transaction: "none",
          run: Effect.zipRight(write(second), Effect.fail(new RangeError("half-way")))
        })
        const error = yield* Effect.flip(apply(bad, failing))
        assert.instanceOf(error, SeedReport.SeedFailed)
        assert.includeMembers([...(yield* keys)], [first, second])
        const last = yield* lastOf(bad)
        assert.deepStrictEqual(
          [last?.outcome, Option.getOrNull(last?.error ?? Option.none())?.message],
          ["failed", "half-way"]
        )
      })
    )

    it.effect("that was interrupted is not run again, unless it is idempotent or told to", () =>
      Effect.gen(function* () {
        const id = `c-${randomUUID()}`
        let runs = 0
        const seed = (idempotent: boolean, run: Effect.Effect<unknown>) =>
          Seed.make({
            description: "d",
            transaction: "none",
            idempotent,
            run: Effect.zipRight(
              Effect.sync(() => runs++),
              run
            )
          })
        /** Runs it, and interrupts it when it is inside. */
        const interrupt = (retry?: string) =>
          Effect.gen(function* () {
            const inside = yield* Deferred.make<void>()
            const body = Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never)
            const fiber = yield* Effect.fork(apply(id, seed(false, body), retry))
            yield* Deferred.await(inside)
            assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
          })
        yield* interrupt()
        assert.deepInclude(yield* lastOf(id), { outcome: "interrupted" })
        const { seeds } = yield* Effect.provide(
          SeedStatus.status,
          SeedSource.layerRecord({ [id]: seed(false, Effect.void) })
        )
        assert.strictEqual(seeds.find((found) => found.id === id)?.state, "interrupted")
        const refused = yield* Effect.flip(apply(id, seed(false, Effect.void)))
        assert.strictEqual(refused._tag, "SeedInterrupted")
        assert.include(refused.message, `es-ops seed:apply --retry ${id}`)
        assert.strictEqual(runs, 1)
        const unknown = yield* Effect.flip(apply(id, seed(false, Effect.void), "another"))
        assert.strictEqual(unknown._tag, "UnknownSeed")
        yield* interrupt(id)
        assert.strictEqual(runs, 2)
        const report = yield* apply(id, seed(true, Effect.void))
        assert.strictEqual(report.outcomes[0]?._tag, "Applied")
        assert.strictEqual(runs, 3)
      })
    )

    it.effect("that is interrupted while its attempt is being recorded does not leave it as running", () =>
      Effect.gen(function* () {
        const id = `i-${randomUUID()}`
        const log = yield* OperationLog.OperationLog
        const [recorded, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const wait = Effect.zipRight(Deferred.succeed(recorded, undefined), Deferred.await(go))
        const slow: typeof log = {
          ...log,
          begin: (made) => Effect.uninterruptible(Effect.zipLeft(log.begin(made), wait))
        }
        const seed = Seed.make({ description: "d", transaction: "none", run: Effect.void })
        const fiber = yield* Effect.fork(Effect.provideService(apply(id, seed), OperationLog.OperationLog, slow))
        yield* Deferred.await(recorded)
        yield* Fiber.interruptFork(fiber)
        yield* Effect.yieldNow()
        yield* Deferred.succeed(go, undefined)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
        assert.deepInclude(yield* lastOf(id), { outcome: "interrupted" })
      })
    )

    it.effect("that is interrupted, and dies of how it takes that, is recorded as interrupted", () =>
      Effect.gen(function* () {
        const id = `j-${randomUUID()}`
        const inside = yield* Deferred.make<void>()
        const body = Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.dieMessage("the end of its connection"))
        )
        const seed = Seed.make({ description: "d", transaction: "none", run: body })
        const fiber = yield* Effect.fork(apply(id, seed))
        yield* Deferred.await(inside)
        yield* Fiber.interrupt(fiber)
        assert.deepInclude(yield* lastOf(id), { outcome: "interrupted" })
      })
    )

    it.effect("is left out of a dry run, which says so", () =>
      Effect.gen(function* () {
        let ran = false
        const [inside, outside] = [`d-${randomUUID()}`, `e-${randomUUID()}`]
        const seeds = SeedSource.layerRecord({
          [inside]: Seed.make({ description: "", run: Effect.void }),
          [outside]: Seed.make({ description: "", transaction: "none", run: Effect.sync(() => (ran = true)) })
        })
        const report = yield* Effect.provide(SeedRunner.dryRun({ appliedBy: "cli" }), seeds)
        assert.deepStrictEqual([report.outcomes.map(({ id }) => id), report.notAttempted], [[inside], [outside]])
        assert.isFalse(ran)
      })
    )
  })

suite("memory", EsOps.layerMemory({ seeds: {} }))
suite(
  "PostgreSQL",
  EsOps.layer({ seeds: {} }).pipe(Layer.provideMerge(Database.client()), Layer.provideMerge(Database.layer))
)
