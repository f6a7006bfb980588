/**
 * Long operations that are interrupted at their two ends, when their row is being written: what is recorded of them, and told.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import type { Run } from "effect-es-ops"
import { EsOps, OperationRun, RunLog, RunObserver } from "effect-es-ops"

const world = Layer.build(EsOps.layerMemory({ seeds: {} }))

const definition = (more: Partial<OperationRun.RunDefinition<number, never, never>> = {}) => ({
  operationType: "count",
  name: "to one",
  params: {},
  definition: "1",
  appliedBy: "cli" as const,
  observer: RunObserver.silent,
  drop: () => Effect.void,
  work: () => Effect.succeed(1),
  ...more
})

const outcome = Effect.flatMap(RunLog.RunLog, (log) =>
  Effect.map(log.newest("count"), (runs) => [...runs.values()].map((run) => run.outcome))
)

/** Says when a fiber has come to it, and keeps it there. */
const barrier = Effect.gen(function* () {
  const [reached, open] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  return { reached, open, wait: Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(open)) }
})

/** Interrupts a run where it waits, and looks what is recorded of it. */
const pausedAt = (
  services: Effect.Effect.Success<typeof world>,
  waiting: (wait: Effect.Effect<void>) => ReturnType<typeof definition>
) =>
  Effect.gen(function* () {
    const { reached, wait } = yield* barrier
    const fiber = yield* Effect.fork(Effect.provide(OperationRun.run(waiting(wait)), services))
    yield* Deferred.await(reached)
    assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
    assert.deepStrictEqual(yield* Effect.provide(outcome, services), ["paused"])
  })

describe("a long operation that is interrupted", () => {
  it.scoped("while its begin is being committed is recorded as paused", () =>
    Effect.gen(function* () {
      const services = yield* world
      const log = Context.get(services, RunLog.RunLog)
      const { open, reached, wait } = yield* barrier
      const slow: RunLog.RunLog["Type"] = {
        ...log,
        begin: (...given) => Effect.uninterruptible(Effect.zipLeft(log.begin(...given), wait))
      }
      const run = OperationRun.run(definition()).pipe(Effect.provideService(RunLog.RunLog, slow))
      const fiber = yield* Effect.fork(Effect.provide(run, services))
      yield* Deferred.await(reached)
      yield* Fiber.interruptFork(fiber)
      yield* Effect.yieldNow()
      yield* Deferred.succeed(open, undefined)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      assert.deepStrictEqual(yield* Effect.provide(outcome, services), ["paused"])
    })
  )

  it.scoped("before its work has begun is recorded as paused", () =>
    Effect.gen(function* () {
      const services = yield* world
      yield* pausedAt(services, (wait) => definition({ observer: { ...RunObserver.silent, began: () => wait } }))
    })
  )

  it.scoped("while what a run before it left is dropped is recorded as paused", () =>
    Effect.gen(function* () {
      const services = yield* world
      const failing = OperationRun.run(definition({ work: () => Effect.dieMessage("no") }))
      yield* Effect.exit(Effect.provide(failing, services))
      yield* pausedAt(services, (wait) => definition({ drop: () => wait }))
    })
  )

  it.scoped("while it is dropped to be begun anew is recorded as paused", () =>
    Effect.gen(function* () {
      const services = yield* world
      const paused = definition({ work: () => Effect.interrupt })
      yield* Effect.exit(Effect.provide(OperationRun.run(paused), services))
      yield* pausedAt(services, (wait) => definition({ restart: true, drop: () => wait }))
    })
  )

  it.scoped("while its end is being committed is told of as applied, which it is", () =>
    Effect.gen(function* () {
      const services = yield* world
      const log = Context.get(services, RunLog.RunLog)
      const { open, reached, wait } = yield* barrier
      const slow: RunLog.RunLog["Type"] = {
        ...log,
        end: (...given) => Effect.uninterruptible(Effect.zipLeft(log.end(...given), wait))
      }
      const told: Array<Run.Run["outcome"]> = []
      const observer = { ...RunObserver.silent, ended: (run: Run.Run) => Effect.sync(() => told.push(run.outcome)) }
      const run = OperationRun.run(definition({ observer })).pipe(Effect.provideService(RunLog.RunLog, slow))
      const fiber = yield* Effect.fork(Effect.provide(run, services))
      yield* Deferred.await(reached)
      yield* Fiber.interruptFork(fiber)
      yield* Effect.yieldNow()
      yield* Deferred.succeed(open, undefined)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(fiber)))
      assert.deepStrictEqual(told, ["applied"])
      assert.deepStrictEqual(yield* Effect.provide(outcome, services), ["applied"])
    })
  )
})
