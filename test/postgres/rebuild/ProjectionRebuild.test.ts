/**
 * Rebuilds on a real server, beside programs that write.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { ProjectionRebuild } from "effect-es-ops"
import * as World from "../../support/RebuildWorld.js"
import { TestDatabase } from "../../support/TestDatabase.js"

layer(World.layer())("a rebuild", (it) => {
  it.effect("fills an empty table with the fold of all events, and records the version that it was built with", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const client = yield* Effect.promise(connect)
      yield* Effect.promise(() => World.fill(client, 300, 5))
      const [report] = yield* ProjectionRebuild.run({ projections: ["sums"] })
      assert.deepInclude(report, {
        mode: "merge",
        events: 1500,
        rows: { inserted: 300, updated: 0, deleted: 0 },
        mended: 0
      })
      assert.deepStrictEqual(yield* Effect.promise(() => query(World.wrongRows)), [])
      assert.deepStrictEqual(yield* ProjectionRebuild.run(), [])
      const left = yield* Effect.promise(() =>
        query(
          "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'es_ops_shadow' AND relkind = 'r'"
        )
      )
      assert.deepStrictEqual(left, [])
    })
  )

  it.effect("corrects what differs, and keeps what the events do not give", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() => query("UPDATE read_counters SET inserted_at = '2020-01-01'"))
      yield* Effect.promise(() => query("UPDATE read_counters SET total = 77 WHERE id = $1", [World.idOf(1)]))
      yield* Effect.promise(() => query("DELETE FROM read_counters WHERE id = $1", [World.idOf(2)]))
      const [report] = yield* ProjectionRebuild.run({ projections: ["sums"] })
      assert.deepInclude(report, { rows: { inserted: 1, updated: 1, deleted: 0 } })
      assert.deepStrictEqual(yield* Effect.promise(() => query(World.wrongRows)), [])
      const [old] = yield* Effect.promise(() =>
        query("SELECT count(*)::int AS n FROM read_counters WHERE inserted_at = '2020-01-01'")
      )
      assert.strictEqual(old?.["n"], 299)
    })
  )
})
