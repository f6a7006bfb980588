/**
 * What a lane on a cluster costs, with its work: messages and statements, counted on the wire of the runner.
 */
import { TestRunner } from "@effect/cluster"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Tracer } from "effect"
import { EsOps, ProjectionRebuild } from "effect-es-ops"
import * as ClusterLanes from "../../src/cluster/ClusterLanes.js"
import * as CountingProxy from "../support/CountingProxy.js"
import * as World from "../support/RebuildWorld.js"
import * as Database from "../support/TestDatabase.js"

/** The wire to the database of the test. */
const wire = Effect.flatMap(Database.TestDatabase, ({ url }) => {
  const { hostname, port } = new URL(url)
  return Effect.acquireRelease(
    Effect.promise(() => CountingProxy.start({ host: hostname, port: Number(port) })),
    ({ close }) => Effect.promise(close)
  )
})

/** A cluster of one runner, which has the database behind the wire. */
const cluster = ({ port }: CountingProxy.CountingProxy) =>
  Layer.unwrapEffect(
    Effect.map(Database.TestDatabase, ({ url }) => {
      const counted = new URL(url)
      counted.port = `${port}`
      const services = EsOps.layer({ seeds: {}, features: [World.feature] }).pipe(
        Layer.provide(Database.clientOf(counted.href))
      )
      const runner = ClusterLanes.layerWorker([ProjectionRebuild.laneWorker]).pipe(Layer.provide(Layer.fresh(services)))
      return Layer.merge(runner, ClusterLanes.layerPlaces).pipe(Layer.provide(TestRunner.layer))
    })
  )

/** The names of the spans of an effect. */
const spansOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tracerWith((tracer) => {
    const names: Array<string> = []
    const noting: Tracer.Tracer = {
      ...tracer,
      span: (...args) => {
        names.push(args[0])
        return tracer.span(...args)
      }
    }
    return Effect.as(Effect.withTracer(effect, noting), names)
  })

describe("a lane on a cluster", () => {
  it.live("costs at most twenty messages and statements, those of a batch of work included", () =>
    Effect.gen(function* () {
      const { connect } = yield* Database.TestDatabase
      const client = yield* Effect.promise(connect)
      yield* Effect.promise(() => World.fill(client, 400, 2))
      const proxy = yield* wire
      const names = yield* spansOf(ProjectionRebuild.run({ projections: ["sums"], lanes: 4 })).pipe(
        Effect.provide(cluster(proxy))
      )
      const { statements } = proxy.take()
      const sent = names.filter((name) => name.startsWith("effect-es-ops/Lane.client."))
      assert.isAtLeast(sent.length, 4)
      // Each message has an answer.
      assert.isAtMost((statements + 2 * sent.length) / 4, 20, `${statements} statements, ${sent.length} messages`)
      assert.deepStrictEqual((yield* Effect.promise(() => client.query(World.wrongRows))).rows, [])
    }).pipe(Effect.scoped, Effect.provide(World.layer()))
  )
})
