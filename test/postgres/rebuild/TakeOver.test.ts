/**
 * What the ways of taking over keep, refuse, and leave as it was.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { ProjectionRebuild } from "effect-es-ops"
import * as World from "../../support/RebuildWorld.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const rebuild = (options: ProjectionRebuild.Options = {}) =>
  ProjectionRebuild.run({ projections: ["sums"], ...options })

/** What a plan says is worth knowing. */
const noted = Effect.map(ProjectionRebuild.plan({ projections: ["sums"] }), ([plan]) => plan?.notes.join("; ") ?? "")

layer(World.layer(), { excludeTestServices: true })("the live table", (it) => {
  it.effect(
    "keeps in a swap its grants, index names, storage parameters, comment and the values that events do not give",
    () =>
      Effect.gen(function* () {
        const { connect, query } = yield* TestDatabase
        const client = yield* Effect.promise(connect)
        yield* Effect.promise(async () => {
          await World.fill(client, 50, 2)
          await World.upsert(client, World.idOf(1), 70)
          await client.query("UPDATE read_counters SET inserted_at = '2020-01-01'")
          await client.query("ALTER TABLE read_counters SET (fillfactor = 70)")
          await client.query("COMMENT ON TABLE read_counters IS 'sums'")
          await client.query("CREATE INDEX by_total ON read_counters (total) WHERE total > 0")
          await client.query("GRANT SELECT ON read_counters TO PUBLIC")
        })
        const shape = `SELECT c.relacl::text, c.reloptions::text, obj_description(c.oid, 'pg_class') AS comment, c.relpersistence,
        (SELECT string_agg(pg_get_indexdef(indexrelid), ';' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = c.oid) AS indexes
        FROM pg_class c WHERE c.oid = 'read_counters'::regclass`
        const before = yield* Effect.promise(() => query(shape))
        const oid = yield* Effect.promise(() => query("SELECT 'read_counters'::regclass::oid::text AS oid"))
        assert.match(yield* noted, /it is a swap: .*REPEATABLE READ/)
        const [report] = yield* rebuild({ mode: "swap" })
        assert.deepInclude(report, { mode: "swap", rows: { inserted: 49, updated: 1, deleted: 0 } })
        assert.match(report?.notes.join("; ") ?? "", /REPEATABLE READ/)
        assert.deepStrictEqual(yield* Effect.promise(() => query(shape)), before)
        assert.notDeepEqual(
          yield* Effect.promise(() => query("SELECT 'read_counters'::regclass::oid::text AS oid")),
          oid
        )
        assert.deepStrictEqual(yield* Effect.promise(() => query(World.wrongRows)), [])
        const kept = yield* Effect.promise(() =>
          query("SELECT total FROM read_counters WHERE inserted_at = '2020-01-01'")
        )
        assert.deepStrictEqual(kept, [{ total: 2 }])
      })
  )

  it.effect(
    "is not swapped while a view, a trigger or a foreign key hangs on it, each of which is named; a merge keeps them",
    () =>
      Effect.gen(function* () {
        const { query } = yield* TestDatabase
        yield* Effect.promise(async () => {
          await query("CREATE VIEW hanging AS SELECT id FROM read_counters")
          await query("CREATE TABLE pointing (id uuid REFERENCES read_counters (id))")
          await query("CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
          await query("CREATE TRIGGER watching AFTER UPDATE ON read_counters FOR EACH ROW EXECUTE FUNCTION quiet()")
          await query("UPDATE read_counters SET total = 9 WHERE id = $1", [World.idOf(3)])
        })
        const refused = yield* Effect.flip(rebuild({ mode: "swap" }))
        for (const name of ["view hanging", "foreign key pointing_id_fkey of pointing", "trigger watching"])
          assert.include(refused.message, name)
        assert.notInclude(yield* noted, "it is a swap")
        const [report] = yield* rebuild()
        assert.deepInclude(report, { mode: "merge", notes: [], rows: { inserted: 0, updated: 1, deleted: 0 } })
        yield* Effect.promise(() => query("INSERT INTO pointing VALUES ($1)", [World.idOf(5)]))
      })
  )

  it.effect("has its ghosts refused, kept or deleted, by number", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const ghost = World.idOf(4095)
      yield* Effect.promise(() => query("INSERT INTO read_counters (id, total) VALUES ($1, 1)", [ghost]))
      const refused = yield* Effect.flip(rebuild())
      assert.include(refused.message, ghost)
      const [kept] = yield* rebuild({ ghosts: "keep" })
      assert.deepInclude(kept, {
        ghosts: { kept: 1, deleted: 0, keys: [JSON.stringify({ id: ghost })] }
      })
      assert.include((yield* Effect.flip(rebuild({ ghosts: "delete", expect: 2 }))).message, "UnexpectedGhosts")
      const [deleted] = yield* rebuild({ ghosts: "delete", expect: 1 })
      assert.deepInclude(deleted, { rows: { inserted: 0, updated: 0, deleted: 1 } })
    })
  )

  it.effect("keeps the row of a stream whose event cannot be folded, which is recorded; or the rebuild fails", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const client = yield* Effect.promise(connect)
      const id = World.idOf(7)
      yield* Effect.promise(async () => {
        await query("UPDATE read_counters SET total = 1234 WHERE id = $1", [id])
        await client.query(
          `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
          VALUES ($1, 'counter', $2, 3, 'counter.added', '{"by":"much"}', '{"userId":"x"}', 'x')`,
          [id, World.tenant]
        )
      })
      assert.strictEqual((yield* Effect.flip(rebuild()))._tag, "EventUnreadable")
      const [report] = yield* rebuild({ onPoison: "quarantine" })
      assert.deepInclude(report, { deadLetters: 1, rows: { inserted: 0, updated: 0, deleted: 0 } })
      const rows = yield* Effect.promise(() => query("SELECT total FROM read_counters WHERE id = $1", [id]))
      assert.deepStrictEqual(rows, [{ total: 1234 }])
    })
  )

  it.effect("waits for an event that is not committed yet, and names who holds it when that takes too long", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const holder = yield* Effect.promise(connect)
      yield* Effect.promise(() => query("DELETE FROM kumiko_events WHERE payload->>'by' = 'much'"))
      yield* Effect.promise(async () => {
        await holder.query("BEGIN; SET LOCAL application_name = 'idler'")
        await World.append(holder, World.idOf(2), 5)
      })
      const error = yield* Effect.flip(rebuild({ lockTimeout: "300 millis" }))
      assert.strictEqual(error._tag, "SettleTimeout")
      assert.include(error.message, "idler")
      yield* Effect.promise(async () => {
        await World.upsert(holder, World.idOf(2), 5)
        await holder.query("COMMIT")
      })
      yield* rebuild()
      assert.deepStrictEqual(yield* Effect.promise(() => query(World.wrongRows)), [])
    })
  )

  it.effect("is put right when a transaction of before the cut-over writes over it", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      const late = yield* Effect.promise(connect)
      const id = World.idOf(9)
      yield* Effect.promise(async () => {
        await query("UPDATE read_counters SET total = 500 WHERE id = $1", [id])
        await late.query("BEGIN")
        await late.query("SELECT total FROM read_counters WHERE id = $1", [id])
      })
      let isWritten = false
      const observer = {
        began: () => Effect.void,
        waiting: () => Effect.void,
        ended: () => Effect.void,
        // The cut-over is committed: what was read before it is written now.
        progress: ({ phase }: { readonly phase: string }) =>
          phase !== "settling" || isWritten
            ? Effect.void
            : Effect.promise(async () => {
                isWritten = true
                await World.append(late, id, 1)
                await late.query("UPDATE read_counters SET total = 501 WHERE id = $1", [id])
                await late.query("COMMIT")
              })
      }
      const [report] = yield* rebuild({ observer })
      assert.strictEqual(report?.mended, 1)
      assert.deepStrictEqual(yield* Effect.promise(() => query(World.wrongRows)), [])
    })
  )
})
