/**
 * The status of a database in memory while a seed runs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { EsOps, SeedRunner, SeedStatus } from "effect-es-ops"
import { pid } from "node:process"
import { apply, seed } from "../../support/Runs.js"

describe("a seed that runs in memory", () => {
  it.effect("is running in status and plan, with host, pid and since when; then it is applied", () =>
    Effect.gen(function* () {
      const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = seed(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(go)))
      yield* Effect.gen(function* () {
        const run = yield* Effect.fork(apply)
        yield* Deferred.await(begun)
        const status = yield* SeedStatus.status
        assert.deepStrictEqual(
          status.seeds.map(({ state }) => state),
          ["running", "pending"]
        )
        assert.deepStrictEqual(
          status.seeds[0]?.running,
          Option.some({
            id: "1",
            host: "memory",
            serverPid: pid,
            pid: Option.none(),
            since: Option.some("1970-01-01T00:00:00.000Z")
          })
        )
        assert.strictEqual(status.counts.pending, 2)
        assert.deepStrictEqual((yield* SeedRunner.plan).running, status.seeds[0]?.running)
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(run)
        assert.strictEqual((yield* SeedStatus.status).counts.applied, 2)
        assert.deepStrictEqual((yield* SeedRunner.plan).running, Option.none())
      }).pipe(Effect.provide(EsOps.layerMemory({ seeds: { "1": slow, "2": seed(Effect.void) } })))
    })
  )
})
