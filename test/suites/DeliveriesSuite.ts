/**
 * What every record of deliveries does.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import type { Layer } from "effect"
import { Deliveries, OperationRun, ReplayError, RunObserver } from "effect-es-ops"
import type { EsOps } from "effect-es-ops"
import { randomUUID } from "node:crypto"

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`Deliveries: ${name}`, (it) => {
    it.effect("are recorded with their run, told apart by how they ended, and deleted with it", () =>
      Effect.gen(function* () {
        const deliveries = yield* Deliveries.Deliveries
        // A run has the table created.
        yield* OperationRun.run({
          operationType: "event-replay",
          name: "deliveries",
          params: {},
          definition: "1",
          tables: ["es_ops_deliveries"],
          appliedBy: "cli",
          observer: RunObserver.silent,
          work: () => Effect.void,
          drop: () => Effect.void
        })
        const [run, other] = [randomUUID(), randomUUID()]
        const stream = { tenantId: randomUUID(), aggregateId: randomUUID() }
        const error = (_tag: string) => Option.some({ _tag, code: null, message: "no" })
        const failed = { ...stream, eventId: 4n, error: error("Boom") }
        yield* deliveries.record(run, [
          { ...stream, eventId: 2n, error: Option.none() },
          failed,
          { ...stream, eventId: 9_007_199_254_740_993n, error: error("StreamStopped") }
        ])
        yield* deliveries.record(other, [{ ...stream, eventId: 3n, error: Option.none() }])
        assert.deepStrictEqual([...(yield* deliveries.recorded(run, 2n))].toSorted(), [4n, 9_007_199_254_740_993n])
        assert.deepStrictEqual(yield* deliveries.failed(run), [failed])
        yield* deliveries.remove(run)
        assert.deepStrictEqual([...(yield* deliveries.recorded(other, 2n, 2n))], [])
        assert.deepStrictEqual([...(yield* deliveries.recorded(run, 0n))], [])
        assert.deepStrictEqual([...(yield* deliveries.recorded(other, 0n))], [3n])
      })
    )

    it.effect("have handlers that give what they give, and fail with what they fail with", () =>
      Effect.gen(function* () {
        const { inTurn } = yield* Deliveries.Deliveries
        const ends = yield* inTurn(({ run }) => Effect.all([run(Effect.succeed(1)), run(Effect.fail("no"))]))
        assert.deepStrictEqual(ends, [Exit.succeed(1), Exit.fail("no")])
      })
    )

    it.effect(
      "have handlers that run in turn, of which the one that was refused fails, and the next one does not",
      () =>
        Effect.gen(function* () {
          const { inTurn } = yield* Deliveries.Deliveries
          const first = new ReplayError.ReplayWrites({ what: "first" })
          const ends = yield* inTurn(({ refuse, run }) => {
            const writes = Effect.sync(() => {
              refuse(first)
              refuse(new ReplayError.ReplayWrites({ what: "second" }))
            })
            return Effect.all([run(writes), run(Effect.succeed(1)), run(Effect.zipRight(writes, Effect.fail("no")))])
          })
          assert.deepStrictEqual(ends, [Exit.fail(first), Exit.succeed(1), Exit.fail(first)])
        })
    )
  })
