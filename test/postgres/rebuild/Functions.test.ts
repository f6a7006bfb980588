/**
 * Rebuilds of projections by `Projection.make`, and what the plan refuses.
 */
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { EsOps, Event, EventStore, Feature, Projection, ProjectionRebuild } from "effect-es-ops"
import * as World from "../../support/RebuildWorld.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const names = Feature.table({
  name: "read_names",
  columns: [
    { name: "id", type: "uuid" },
    { name: "n", type: "integer" }
  ],
  primaryKey: ["id"],
  row: World.anyRow
})

const others = { ...names, name: "read_others" }

const insertInto = (table: string) => (events: ReadonlyArray<Event.Event>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    for (const { aggregateId } of events)
      yield* sql`INSERT INTO ${sql(table)} AS t (id, n) VALUES (${aggregateId}, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1`
  })

const counts = Projection.make({
  name: "counts",
  events: ["counter.added"],
  tables: [names],
  apply: insertInto("read_names")
})

const elsewhere = Projection.make({
  name: "elsewhere",
  events: ["counter.added"],
  tables: [others],
  apply: insertInto("read_names")
})

const appending = Projection.make({
  name: "appending",
  events: ["counter.added"],
  tables: [{ ...names, name: "read_appending" }],
  apply: ([event]) =>
    Effect.flatMap(EventStore.EventStore, (store) => store.append([{ ...event, version: event.version + 1 }]))
})

const unnamed = Projection.make({ name: "unnamed", events: ["counter.added"], apply: () => Effect.void })

const feature = Feature.make({
  name: "functions",
  handlers: [],
  tables: [names, others, { ...names, name: "read_appending" }],
  projections: [counts, elsewhere, appending, unnamed]
})

layer(World.layerOf(feature))("a projection that is a function", (it) => {
  const of = (name: string) => ProjectionRebuild.run({ projections: [name] })

  it.effect("runs against a shadow, and what it writes is merged into its table", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const client = yield* Effect.promise(connect)
      yield* Effect.promise(() => World.fill(client, 20, 3))
      yield* Effect.promise(() => query("INSERT INTO read_names (id, n) VALUES ($1, 99)", [World.idOf(1)]))
      const [report] = yield* of("counts")
      assert.deepInclude(report, { events: 60, rows: { inserted: 19, updated: 1, deleted: 0 } })
      const rows = yield* Effect.promise(() => query("SELECT count(*)::int AS rows, sum(n)::int AS n FROM read_names"))
      assert.deepStrictEqual(rows, [{ rows: 20, n: 60 }])
      const [again] = yield* of("counts")
      assert.deepInclude(again, { rows: { inserted: 0, updated: 0, deleted: 0 } })
      const [diff] = yield* ProjectionRebuild.diff({ projections: ["counts"] })
      assert.deepStrictEqual(diff?.tables[0]?.different, { count: 0, keys: [] })
    })
  )

  it.effect("is refused when it writes to a table that it does not name, and nothing of it stays", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const error = yield* Effect.flip(of("elsewhere"))
      assert.deepInclude(error, { _tag: "WroteOutsideShadow", table: "public.read_names" })
      const rows = yield* Effect.promise(() => query("SELECT sum(n)::int AS n FROM read_names"))
      assert.deepStrictEqual(rows, [{ n: 60 }])
    })
  )

  it.effect("fails when it appends events", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const error = yield* Effect.flip(of("appending"))
      assert.include(error.message, "must not append")
      const rows = yield* Effect.promise(() => query("SELECT count(*)::int AS n FROM kumiko_events"))
      assert.deepStrictEqual(rows, [{ n: 60 }])
    })
  )

  const refusals = Effect.forEach(["swap", "gradual"] as const, (mode) =>
    Effect.map(Effect.flip(ProjectionRebuild.run({ projections: ["counts"], mode })), ({ message }) =>
      assert.include(message, "give --mode merge or auto")
    )
  )

  it.effect("is merged, and refused in another mode", () => refusals)

  it.effect("is refused in the same modes in memory", () =>
    Effect.provide(refusals, EsOps.layerMemory({ seeds: {}, features: [feature] }))
  )

  it.effect("cannot be rebuilt without naming its tables", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(of("unnamed"))
      assert.include(error.message, 'NotRebuildable: projection "unnamed"')
    })
  )
})
