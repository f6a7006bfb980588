/**
 * Long operations in memory: begun, gone on with, waited for, paused, failed, cancelled.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Data, Deferred, Effect, Exit, Fiber, Layer, Option, Ref, TestClock } from "effect"
import {
  EsOps,
  MemoryDatabase,
  OperationError,
  OperationLog,
  OperationRun,
  Run,
  RunLog,
  RunObserver
} from "effect-es-ops"

/** A failure of the work's own. */
class Boom extends Data.TaggedError("Boom")<{ readonly message: string }> {}

const boom = new Boom({ message: "no" })

type Failure = Boom | RunLog.RunRefused | OperationError.LockTimeout

/** Two processes with one database. */
const world = Effect.gen(function* () {
  const database = yield* MemoryDatabase.MemoryDatabase.pipe(Effect.provide(MemoryDatabase.layer))
  const services = EsOps.layerMemory({ seeds: {}, database, lockTimeout: "2 minutes" })
  return yield* Layer.build(services)
})

/** Counts to ten in batches of two. */
const counting = (
  more: Partial<OperationRun.RunDefinition<number, Failure, never>> = {}
): OperationRun.RunDefinition<number, Failure, never> => ({
  operationType: "count",
  name: "to ten",
  params: {},
  definition: "1",
  appliedBy: "cli" as const,
  observer: RunObserver.silent,
  drop: () => Effect.void,
  work: (run: OperationRun.RunHandle) => countFrom(run, () => Effect.void),
  ...more
})

const countFrom = <E>(run: OperationRun.RunHandle, before: (done: number) => Effect.Effect<void, E>) =>
  Effect.iterate(run.done, {
    while: (done: number) => done < 10,
    body: (done) =>
      Effect.zipRight(
        before(done),
        run.batch(Effect.succeed({ value: done + 2, phase: "counting", cursor: done + 2, done: 2, total: 10 }))
      )
  })

const outcomes = Effect.flatMap(RunLog.RunLog, (log) =>
  Effect.map(log.newest("count"), (runs) => [...runs.values()].map(({ done, outcome }) => [outcome, done]))
)

describe("a long operation", () => {
  it.scoped("ends with its value, its last work, a marker and an attempt", () =>
    Effect.gen(function* () {
      const services = yield* world
      const last = yield* Ref.make<ReadonlyArray<number>>([])
      const { run, value } = yield* OperationRun.run(
        counting({ marker: "by hand", last: (given) => Ref.update(last, (all) => [...all, given]) })
      ).pipe(Effect.provide(services))
      assert.deepStrictEqual(value, Option.some(10))
      assert.deepInclude(run, { outcome: "applied", done: 10, total: Option.some(10), epoch: 1, isLive: false })
      assert.deepStrictEqual(yield* Ref.get(last), [10])
      const log = Context.get(services, OperationLog.OperationLog)
      assert.deepStrictEqual(
        (yield* log.markers).map(({ id }) => id as string),
        [Run.operationId(run)]
      )
      assert.deepStrictEqual(
        (yield* log.attempts({})).map(({ outcome }) => outcome),
        ["applied"]
      )
    })
  )

  it.scoped("writes a marker that says what came of it", () =>
    Effect.gen(function* () {
      const services = yield* world
      yield* OperationRun.run(counting({ marker: (counted) => `counted to ${counted}` })).pipe(Effect.provide(services))
      const { markers } = Context.get(services, OperationLog.OperationLog)
      assert.deepStrictEqual(
        (yield* markers).map(({ notes }) => notes),
        [Option.some("counted to 10")]
      )
    })
  )

  it.scoped("is paused by an interruption, and goes on where it stood", () =>
    Effect.gen(function* () {
      const services = yield* world
      const inside = yield* Deferred.make<void>()
      const stopped = counting({
        work: (run) =>
          countFrom(run, (done) =>
            done < 4 ? Effect.void : Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never)
          )
      })
      const fiber = yield* Effect.fork(Effect.provide(OperationRun.run(stopped), services))
      yield* Deferred.await(inside)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.deepStrictEqual(yield* Effect.provide(outcomes, services), [["paused", 4]])
      const began = yield* Ref.make<ReadonlyArray<unknown>>([])
      const { run } = yield* OperationRun.run(
        counting({
          observer: {
            ...RunObserver.silent,
            began: ({ cursor, done }, isResumed) => Ref.update(began, (all) => [...all, [cursor, done, isResumed]])
          }
        })
      ).pipe(Effect.provide(services))
      assert.deepInclude(run, { epoch: 2, done: 10, outcome: "applied" })
      assert.deepStrictEqual(yield* Ref.get(began), [[Option.some(4), 4, true]])
    })
  )

  it.scoped("is dropped and begun anew where that is asked for, or where its definitions are others", () =>
    Effect.gen(function* () {
      const services = yield* world
      const dropped = yield* Ref.make<ReadonlyArray<unknown>>([])
      const drop = (run: Run.Run) => Ref.update(dropped, (all) => [...all, [run.definition, run.done]])
      const pausing = (definition: string) =>
        OperationRun.run(
          counting({
            drop,
            definition,
            pauses: () => true,
            work: (run) => countFrom(run, (done) => (done < 6 ? Effect.void : boom))
          })
        )
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(pausing("1")))._tag, "Boom")
        assert.strictEqual((yield* Effect.flip(pausing("2")))._tag, "Boom")
        assert.deepStrictEqual(yield* Ref.get(dropped), [["1", 6]])
        const { run } = yield* OperationRun.run(counting({ drop, definition: "2", restart: true }))
        assert.deepInclude(run, { done: 10, epoch: 1 })
        assert.deepStrictEqual(yield* Ref.get(dropped), [
          ["1", 6],
          ["2", 6]
        ])
      }).pipe(Effect.provide(services))
    })
  )

  it.scoped("that fails drops what it left, and is begun anew next time", () =>
    Effect.gen(function* () {
      const services = yield* world
      const dropped = yield* Ref.make(0)
      const drop = () => Ref.update(dropped, (n) => n + 1)
      yield* Effect.gen(function* () {
        const failing = counting({
          drop,
          work: (run) => countFrom(run, (done) => Effect.asVoid(Effect.when(boom, () => done > 3)))
        })
        assert.strictEqual((yield* Effect.flip(OperationRun.run(failing)))._tag, "Boom")
        assert.deepStrictEqual(yield* outcomes, [["failed", 4]])
        assert.strictEqual(yield* Ref.get(dropped), 1)
        const dying = counting({ drop, work: () => Effect.dieMessage("broken") })
        assert.isTrue(Exit.isFailure(yield* Effect.exit(OperationRun.run(dying))))
        const log = yield* OperationLog.OperationLog
        assert.deepStrictEqual(
          (yield* log.attempts({})).map(({ error, outcome }) => [outcome, Option.getOrThrow(error).message]),
          [
            ["failed", "broken"],
            ["failed", "no"]
          ]
        )
        // The one before may not have got to drop it.
        assert.strictEqual(yield* Ref.get(dropped), 3)
        assert.deepInclude((yield* OperationRun.run(counting({ drop }))).run, { done: 10, epoch: 1 })
      }).pipe(Effect.provide(services))
    })
  )

  it.scoped("is waited for while another process is in it, and is done then", () =>
    Effect.gen(function* () {
      const services = yield* world
      const [inside, go, seen] = [
        yield* Deferred.make<void>(),
        yield* Deferred.make<void>(),
        yield* Deferred.make<Run.Run>()
      ]
      const first = counting({
        work: (run) =>
          countFrom(run, (done) =>
            done < 4 ? Effect.void : Effect.zipRight(Deferred.succeed(inside, undefined), Deferred.await(go))
          )
      })
      const fiber = yield* Effect.fork(Effect.provide(OperationRun.run(first), services))
      yield* Deferred.await(inside)
      const observer = { ...RunObserver.silent, waiting: (run: Run.Run) => Deferred.succeed(seen, run) }
      const second = yield* Effect.fork(Effect.provide(OperationRun.run(counting({ observer })), services))
      assert.deepInclude(yield* Deferred.await(seen), { done: 4, phase: "counting" })
      const other = yield* Effect.flip(Effect.provide(OperationRun.run(counting({ params: { to: 11 } })), services))
      assert.deepInclude(other, { _tag: "RunInProgress" })
      const newer = yield* Effect.flip(Effect.provide(OperationRun.run(counting({ definition: "2" })), services))
      assert.deepInclude(newer, { _tag: "RunInProgress" })
      yield* Deferred.succeed(go, undefined)
      const { run, value } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(value, Option.some(10))
      yield* TestClock.adjust("1 second")
      const waited = yield* Fiber.join(second)
      assert.deepStrictEqual([waited.run.id, waited.value], [run.id, Option.none()])
    })
  )

  it.scoped("is given up after lockTimeout by what waits for it, and taken over once its lease is over", () =>
    Effect.gen(function* () {
      const services = yield* world
      const log = Context.get(services, RunLog.RunLog)
      const gone = yield* log.begin({ ...counting(), access: Run.noAccess, tables: [] })
      const waiting = yield* Effect.fork(Effect.provide(OperationRun.run(counting()), services))
      // A process that renews its lease, and does nothing.
      for (let passed = 0; passed < 12; passed++) {
        yield* log.renew(gone.run)
        yield* TestClock.adjust("10 seconds")
      }
      assert.deepInclude(yield* Effect.flip(Fiber.join(waiting)), { _tag: "RunInProgress", id: gone.run.id })
      const heir = yield* Effect.fork(Effect.provide(OperationRun.run(counting()), services))
      yield* TestClock.adjust("31 seconds")
      assert.deepInclude((yield* Fiber.join(heir)).run, { id: gone.run.id, epoch: 2, outcome: "applied" })
      assert.deepInclude(yield* Effect.flip(log.batch(gone.run, Effect.succeed({ value: 0 }))), { _tag: "RunLost" })
    })
  )

  it.scoped("is stopped when it is cancelled or lost, even between two batches", () =>
    Effect.gen(function* () {
      const services = yield* world
      const log = Context.get(services, RunLog.RunLog)
      const dropped = yield* Ref.make(0)
      const idle = (inside: Deferred.Deferred<string>) =>
        counting({
          drop: () => Ref.update(dropped, (n) => n + 1),
          work: (run) => Effect.zipRight(Deferred.succeed(inside, run.id), Effect.never)
        })
      const inside = yield* Deferred.make<string>()
      const fiber = yield* Effect.fork(Effect.provide(OperationRun.run(idle(inside)), services))
      yield* log.cancel(yield* Deferred.await(inside), "cli")
      yield* TestClock.adjust("6 seconds")
      assert.deepInclude(yield* Effect.flip(Fiber.join(fiber)), { _tag: "RunCancelled" })
      assert.strictEqual(yield* Ref.get(dropped), 1)
      assert.deepStrictEqual(yield* Effect.provide(outcomes, services), [["cancelled", 0]])
    })
  )

  it.scoped("is paused, and not failed, by a wait that was too long and by a server that was lost", () =>
    Effect.gen(function* () {
      const services = yield* world
      const lost = OperationError.DatabaseError.because("writing", "gone", { connectionLost: true })
      const full = OperationError.DatabaseError.because("writing", "no space", { code: Option.some("53100") })
      const wait = new OperationError.LockTimeout({ id: null, holder: Option.none(), waitedMs: 1 })
      const within = OperationError.DatabaseError.because("writing", "locked", { cause: wait })
      for (const error of [lost, full, wait, within]) {
        const failing = { ...counting(), work: () => Effect.fail(error) }
        const failed = yield* Effect.flip(Effect.provide(OperationRun.run(failing), services))
        assert.strictEqual(failed._tag, error === within ? "LockTimeout" : error._tag)
        assert.deepStrictEqual(yield* Effect.provide(outcomes, services), [["paused", 0]])
      }
    })
  )
})
