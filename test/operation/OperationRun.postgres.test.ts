/**
 * Long operations on a server, by a process with as many connections as the command has.
 */
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Ref } from "effect"
import type { Run } from "effect-es-ops"
import { EsOps, OperationRun, RunLog, RunObserver } from "effect-es-ops"
import * as Database from "../support/TestDatabase.js"
import { TestDatabase } from "../support/TestDatabase.js"

const world = EsOps.layer({ seeds: {} }).pipe(
  Layer.provideMerge(Database.client({ maxConnections: 2 })),
  Layer.provideMerge(Database.layer)
)

const sleep = "SELECT pg_sleep(600)"

const isAsleep = Effect.gen(function* () {
  const { query } = yield* TestDatabase
  const text = `SELECT 1 FROM pg_stat_activity WHERE query = '${sleep}' AND state = 'active' AND datname = current_database()`
  return (yield* Effect.promise(() => query(text))).length > 0
})

const run = (
  work: (handle: OperationRun.RunHandle) => Effect.Effect<string, unknown>,
  more: Partial<OperationRun.RunDefinition<string, unknown, never>> = {}
) =>
  OperationRun.run({
    operationType: "sleep",
    name: "long",
    params: {},
    definition: "1",
    appliedBy: "cli",
    observer: RunObserver.silent,
    work,
    drop: () => Effect.void,
    ...more
  })

layer(world, { excludeTestServices: true })("a long operation on a server", (it) => {
  it.effect("is paused by an interruption in the middle of a statement, and can be gone on with at once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const asleep = run((handle) => handle.batch(Effect.as(sql.unsafe(sleep), { value: "slept" })))
      const fiber = yield* Effect.fork(asleep)
      yield* Effect.repeat(isAsleep, { until: (is) => is })
      yield* Fiber.interrupt(fiber)
      const log = yield* RunLog.RunLog
      assert.deepStrictEqual(
        (yield* log.unfinished).map(({ outcome }) => outcome),
        ["paused"]
      )
      const again = yield* run((handle) => handle.batch(Effect.succeed({ value: `epoch ${handle.epoch}` })))
      assert.deepStrictEqual(again.value, Option.some("epoch 2"))
    })
  )

  it.effect("does not say that it is paused where that could not be recorded", () =>
    Effect.gen(function* () {
      const { connect } = yield* TestDatabase
      const inside = yield* Deferred.make<void>()
      const ends = yield* Ref.make<ReadonlyArray<string>>([])
      const ended = ({ outcome }: Run.Run) => Ref.update(ends, (all) => [...all, outcome])
      const held = run(() => Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never), {
        name: "held",
        observer: { ...RunObserver.silent, ended }
      })
      const fiber = yield* Effect.fork(held)
      yield* Deferred.await(inside)
      const other = yield* Effect.promise(connect)
      yield* Effect.promise(() => other.query("BEGIN; SELECT FROM es_ops_runs WHERE name = 'held' FOR UPDATE"))
      yield* Fiber.interrupt(fiber)
      yield* Effect.promise(() => other.query("ROLLBACK"))
      assert.deepStrictEqual(yield* Ref.get(ends), ["running"])
    })
  )
})
