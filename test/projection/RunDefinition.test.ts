/**
 * What a rebuild's run keeps of the functions that it was begun with.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { EsOps, EventType, Feature, Projection, ProjectionRebuild, RunLog } from "effect-es-ops"

const added = EventType.make({ type: "counter.added", payload: Schema.Struct({ by: Schema.Int }) })

const table = Feature.table({
  name: "read_counters",
  columns: [
    { name: "id", type: "uuid" },
    { name: "total", type: "integer" }
  ],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, total: Schema.Int })
})

const options = { name: "counters", table }
const twice = { id: "", total: 2 }

const folds = [
  Projection.fold({ ...options, on: [[added, () => Option.none()]] }),
  Projection.fold({ ...options, on: [[added, () => Option.some(twice)]] }),
  Projection.fold({ ...options, key: ({ aggregateId }) => ({ id: aggregateId }), on: [[added, () => Option.none()]] })
]

const rows = [
  Projection.rows({ ...options, on: [[added, () => []]] }),
  Projection.rows({ ...options, on: [[added, () => [twice]]] })
]

const made = [
  Projection.make({ name: "counters", tables: [table], events: [added.type], apply: () => Effect.void }),
  Projection.make({
    name: "counters",
    tables: [table],
    events: [added.type],
    apply: () => Effect.asVoid(Effect.succeed(1))
  })
]

/** The definition that is kept with the run that rebuilds a projection. */
const kept = <R>(projection: Projection.Projection<unknown, R>) =>
  Effect.gen(function* () {
    yield* ProjectionRebuild.run({ projections: ["counters"] })
    const runs = yield* (yield* RunLog.RunLog).newest("projection-rebuild")
    return runs.get("counters")?.definition
  }).pipe(
    Effect.provide(
      EsOps.layerMemory({
        seeds: {},
        features: [Feature.make({ name: "counters", handlers: [], projections: [projection], tables: [table] })]
      })
    )
  )

describe("the definition that is kept with a rebuild's run", () => {
  it.effect("is the same for the same functions, and another where one of them is", () =>
    Effect.gen(function* () {
      const all = [...(yield* Effect.forEach(folds, kept)), ...(yield* Effect.forEach(rows, kept))]
      const applied = yield* Effect.forEach(made, kept)
      assert.strictEqual(new Set([...all, ...applied]).size, folds.length + rows.length + made.length)
      assert.deepStrictEqual(yield* Effect.forEach(folds, kept), all.slice(0, folds.length))
    })
  )
})
