/**
 * Lanes on a cluster in memory: who works on them, and what a run makes of their ends.
 */
import { TestRunner } from "@effect/cluster"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Ref, TestClock } from "effect"
import { EsOps, OperationRun, RunLanes } from "effect-es-ops"
import * as ClusterLanes from "../../src/cluster/ClusterLanes.js"

const names = ["a", "b", "c"]

/** A worker that takes each lane to three, a batch each, and notes who does it. */
const counting = (
  note: (lane: string) => Effect.Effect<void>,
  more: Partial<RunLanes.LaneWorker<unknown>> = {}
): RunLanes.LaneWorker<unknown> => ({
  operationType: "count",
  knows: () => Effect.succeed(true),
  work: (run, lane) =>
    Effect.zipRight(
      note(lane),
      Effect.iterate(run.lanes.get(lane)?.done ?? 0, {
        while: (done) => done < 3,
        body: (done) => run.batch(Effect.succeed({ value: done + 1, lane, cursor: done + 1, done: 1 }))
      })
    ),
  ...more
})

const counted = (worker: RunLanes.LaneWorker<unknown>) =>
  OperationRun.run({
    operationType: "count",
    name: "all lanes",
    params: {},
    definition: "1",
    appliedBy: "cli",
    work: (run) => RunLanes.work(run, worker, names),
    drop: () => Effect.void
  })

const setting = Effect.gen(function* () {
  const here = yield* Ref.make<ReadonlyArray<string>>([])
  const there = yield* Ref.make<ReadonlyArray<string>>([])
  const noted = (by: Ref.Ref<ReadonlyArray<string>>) => (lane: string) =>
    Ref.update(by, (lanes) => [...lanes, lane].toSorted())
  return { here, there, noteHere: noted(here), noteThere: noted(there) }
})

/** A cluster of one runner that has `worker`, and the places where it has lanes worked on. */
const cluster = (worker: RunLanes.LaneWorker<unknown>) =>
  Layer.merge(ClusterLanes.layerWorker([worker]), ClusterLanes.layerPlaces).pipe(
    Layer.provide(TestRunner.layer),
    Layer.provideMerge(EsOps.layerMemory({ seeds: {} }))
  )

describe("lanes on a cluster", () => {
  it.live("are worked on by its runners, and are one number in the run", () =>
    Effect.gen(function* () {
      const { here, noteHere, noteThere, there } = yield* setting
      const { run } = yield* counted(counting(noteHere)).pipe(Effect.provide(cluster(counting(noteThere))))
      assert.deepStrictEqual([yield* Ref.get(here), yield* Ref.get(there)], [[], names])
      assert.deepStrictEqual([run.outcome, run.done], ["applied", 9])
    })
  )

  it.live("are worked on by the run's own process where a runner has other definitions, or none of the operation", () =>
    Effect.gen(function* () {
      for (const more of [{ knows: () => Effect.succeed(false) }, { operationType: "other" }]) {
        const { here, noteHere, noteThere, there } = yield* setting
        const { run } = yield* counted(counting(noteHere)).pipe(Effect.provide(cluster(counting(noteThere, more))))
        assert.deepStrictEqual([yield* Ref.get(here), yield* Ref.get(there), run.done], [names, [], 9])
      }
    })
  )

  it.live("fail the run with what they failed with there, whether that is an error or a defect", () =>
    Effect.gen(function* () {
      for (const why of [Effect.fail("no room"), Effect.die(new Error("no room"))]) {
        const { noteHere } = yield* setting
        const failing = counting(noteHere, { work: () => why })
        const error = yield* Effect.flip(counted(counting(noteHere))).pipe(Effect.provide(cluster(failing)))
        assert.instanceOf(error, RunLanes.LaneFailed)
        assert.include(error.message, "no room")
      }
    })
  )

  it.live("are sent again where a runner gives them up, as one does that stops or loses the shard", () =>
    Effect.gen(function* () {
      const { here, noteHere, noteThere } = yield* setting
      const given = new Set<string>()
      const worker = counting(noteThere)
      const unsteady = counting(noteThere, {
        work: (run, lane) => {
          const isFirst = !given.has(lane)
          given.add(lane)
          const done = run.batch(Effect.succeed({ value: 1, lane, cursor: 1, done: 1 }))
          return isFirst ? Effect.zipRight(done, Effect.interrupt) : worker.work(run, lane)
        }
      })
      const { run } = yield* counted(counting(noteHere)).pipe(Effect.provide(cluster(unsteady)))
      assert.deepStrictEqual([run.outcome, run.done, yield* Ref.get(here)], ["applied", 9, []])
    })
  )

  it.live("are gone on with by the run's own process where a runner leaves them half done", () =>
    Effect.gen(function* () {
      const { here, noteHere, noteThere } = yield* setting
      const leaving = counting(noteThere, {
        work: (run, lane) =>
          Effect.zipRight(
            run.batch(Effect.succeed({ value: 1, lane, cursor: 1, done: 1 })),
            Effect.fail(new RunLanes.LaneUnknown({ lane }))
          )
      })
      const { run } = yield* counted(counting(noteHere)).pipe(Effect.provide(cluster(leaving)))
      assert.deepStrictEqual([run.outcome, run.done, yield* Ref.get(here)], ["applied", 9, names])
    })
  )

  it.effect("are worked on by the run's own process where no runner answers", () =>
    Effect.gen(function* () {
      const { here, noteHere } = yield* setting
      const nobody = ClusterLanes.layerPlaces.pipe(
        Layer.provide(TestRunner.layer),
        Layer.provideMerge(EsOps.layerMemory({ seeds: {} }))
      )
      const running = yield* Effect.fork(counted(counting(noteHere)).pipe(Effect.provide(nobody)))
      yield* Effect.repeat(TestClock.adjust("1 second"), {
        until: () => Effect.map(Fiber.poll(running), Option.isSome)
      })
      const { run } = yield* Fiber.join(running)
      assert.deepStrictEqual([run.done, yield* Ref.get(here)], [9, names])
    })
  )

  it.live("are gone on with where they stand, and nothing is done twice, when a lane is through already", () =>
    Effect.gen(function* () {
      const { noteHere, noteThere } = yield* setting
      const worker = counting(noteThere)
      const { run } = yield* OperationRun.run({
        operationType: "count",
        name: "all lanes",
        params: {},
        definition: "1",
        appliedBy: "cli",
        work: (own) =>
          Effect.zipRight(
            RunLanes.help(worker, { operationType: "count", runId: own.id, epoch: own.epoch, lane: "a" }),
            RunLanes.work(own, counting(noteHere), names)
          ),
        drop: () => Effect.void
      }).pipe(Effect.provide(cluster(worker)))
      assert.deepStrictEqual([run.done, Option.isSome(run.endedAt)], [9, true])
    })
  )
})
