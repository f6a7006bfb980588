/**
 * What rebuilds meet on a server: what is altered under them, and what hangs on the table.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { EsOps, EventType, Feature, Projection } from "effect-es-ops"
import * as World from "../../support/RebuildWorld.js"
import * as Database from "../../support/TestDatabase.js"
import { at, damage, isRight, of, query, rebuild, using } from "./Rebuilds.js"

const set = EventType.make({ type: "code.set", payload: Schema.Struct({ code: Schema.String, position: Schema.Int }) })

/** A table with a unique column, a column that is always an identity, and one that the server generates. */
const codes = Feature.table({
  name: "read_codes",
  columns: [
    { name: "id", type: "uuid" },
    { name: "code", type: "text" },
    { name: "position", type: "bigint" }
  ],
  primaryKey: ["id"],
  unique: [["code"]],
  row: Schema.Struct({ id: Schema.String, code: Schema.String, position: Schema.BigInt })
})

const feature = Feature.make({
  name: "circumstances",
  handlers: [],
  tables: [World.counters, codes],
  projections: [
    World.sums,
    Projection.fold({
      name: "codes",
      table: codes,
      on: [
        [
          set,
          (_, { aggregateId, payload }) =>
            Option.some({ id: aggregateId, code: payload.code, position: BigInt(payload.position) })
        ]
      ]
    })
  ]
})

/** The same table by an older definition, which counts everything twice. */
const doubled = Feature.make({
  name: "circumstances",
  handlers: [],
  tables: [World.counters],
  projections: [
    Projection.fold({
      name: "sums",
      table: World.counters,
      on: [
        [
          World.added,
          (row, { aggregateId, payload }) =>
            Option.some({
              id: aggregateId,
              total: Option.match(row, { onNone: () => 0, onSome: ({ total }) => total }) + payload.by * 2,
              note: null
            })
        ]
      ]
    })
  ]
})

/** The records of the server's log, from a place on, that are of the live table or its indexes. */
const logged = (from: string) =>
  query(
    `SELECT r.resource_manager, r.record_type FROM pg_get_wal_records_info($1, pg_current_wal_flush_lsn()) r
    WHERE EXISTS (SELECT FROM pg_class c WHERE (c.oid = 'read_counters'::regclass
        OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'read_counters'::regclass))
      AND strpos(r.block_ref, format('/%s/%s ', (SELECT oid FROM pg_database WHERE datname = current_database()), pg_relation_filenode(c.oid))) > 0)`,
    [from]
  )

const hasLog = Effect.map(
  query("SELECT FROM pg_available_extensions WHERE name = 'pg_walinspect'"),
  (found) => found.length > 0
)

layer(World.layerOf(feature), { excludeTestServices: true })("a rebuild on a server", (it) => {
  it.effect("creates and fills a table that is missing, in lanes", () =>
    Effect.gen(function* () {
      yield* using((client) => World.fill(client, 40, 3))
      yield* query("DROP TABLE read_counters")
      const report = yield* rebuild({ lanes: 3 })
      assert.deepInclude(report, { events: 120, rows: { inserted: 40, updated: 0, deleted: 0 } })
      yield* isRight
    })
  )

  it.effect("writes nothing the second time", () =>
    Effect.gen(function* () {
      const versions = query("SELECT id, xmin::text, ctid::text FROM read_counters ORDER BY id")
      const before = yield* versions
      if (yield* hasLog) yield* query("CREATE EXTENSION pg_walinspect")
      const [from] = yield* query("SELECT pg_current_wal_flush_lsn()::text AS lsn")
      for (const mode of ["auto", "merge", "gradual"] as const)
        assert.deepInclude(yield* rebuild({ mode }), { rows: { inserted: 0, updated: 0, deleted: 0 } })
      assert.deepStrictEqual(yield* versions, before)
      if (!(yield* hasLog)) return
      assert.deepStrictEqual(yield* logged(String(from?.["lsn"])), [])
      yield* damage(2)
      yield* rebuild()
      // What is looked for would be found.
      assert.isAbove((yield* logged(String(from?.["lsn"]))).length, 0)
    })
  )

  it.effect("says of each mode how many rows were put right, before the cut-over as well", () =>
    Effect.gen(function* () {
      for (const mode of ["merge", "gradual", "swap"] as const) {
        yield* damage(3)
        assert.deepInclude(yield* rebuild({ mode }), { mode, rows: { inserted: 0, updated: 1, deleted: 0 } })
      }
      yield* isRight
    })
  )

  it.effect("begins anew where the table is altered meanwhile", () =>
    Effect.gen(function* () {
      yield* damage(1)
      const { query: send } = yield* Database.TestDatabase
      const observer = at("comparing", () => send("CREATE INDEX by_note ON read_counters (note)"))
      assert.deepInclude(yield* rebuild({ observer }), { anew: 1, rows: { inserted: 0, updated: 1, deleted: 0 } })
      yield* isRight
    })
  )

  it.effect("keeps in a merge the publication, the policy and the grants of columns that a swap is refused for", () =>
    Effect.gen(function* () {
      yield* query("CREATE PUBLICATION shop FOR TABLE read_counters")
      yield* query("CREATE POLICY own ON read_counters FOR SELECT TO PUBLIC USING (total > 0)")
      yield* query("GRANT SELECT (id) ON read_counters TO pg_monitor")
      yield* query("CREATE VIEW totals AS SELECT sum(total) AS total FROM read_counters")
      yield* damage(5)
      const refused = yield* Effect.flip(rebuild({ mode: "swap" }))
      for (const name of ["publication shop", "policy own", "grant on column id", "view totals"])
        assert.include(refused.message, name)
      const hanging =
        query(`SELECT 'read_counters'::regclass::oid::text, (SELECT count(*)::int FROM pg_publication_tables) AS published,
        (SELECT count(*)::int FROM pg_policies) AS policies, has_column_privilege('pg_monitor', 'read_counters', 'id', 'SELECT') AS granted`)
      const before = yield* hanging
      for (const mode of ["merge", "gradual"] as const) {
        assert.deepInclude(yield* rebuild({ mode }), { mode })
        yield* isRight
        yield* damage(6)
      }
      yield* rebuild()
      assert.deepStrictEqual(yield* hanging, before)
      assert.deepStrictEqual(yield* query("SELECT total::int FROM totals"), [{ total: 120 }])
      yield* query(
        "DROP VIEW totals; DROP PUBLICATION shop; DROP POLICY own ON read_counters; REVOKE SELECT (id) ON read_counters FROM pg_monitor"
      )
    })
  )

  it.effect(
    "exchanges unique values in each mode, with a column that is always an identity and one that is generated",
    () =>
      Effect.gen(function* () {
        const events = [1, 2, 3].map((n) => ({ id: World.idOf(n), payload: { code: `code ${n}`, position: n * 10 } }))
        yield* using((client) =>
          client.query(
            `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
          SELECT g.id, 'code', $2, (SELECT max(version) FROM kumiko_events e WHERE e.aggregate_id = g.id) + 1, 'code.set', payload, '{"userId":"x"}', 'x' FROM jsonb_to_recordset($1::jsonb) AS g (id uuid, payload jsonb)`,
            [JSON.stringify(events), World.tenant]
          )
        )
        yield* of("codes")
        yield* query("ALTER TABLE read_codes ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY")
        yield* query("ALTER TABLE read_codes ADD COLUMN loud text GENERATED ALWAYS AS (upper(code)) STORED")
        for (const mode of ["merge", "gradual", "swap"] as const) {
          yield* query("UPDATE read_codes SET code = 'x' WHERE code = 'code 1'")
          yield* query("UPDATE read_codes SET code = 'code 1' WHERE code = 'code 2'")
          yield* query("UPDATE read_codes SET code = 'code 2' WHERE code = 'x'")
          assert.deepInclude(yield* of("codes", { mode }), { mode, rows: { inserted: 0, updated: 2, deleted: 0 } })
          assert.deepStrictEqual(
            yield* query("SELECT id, code, position::int, loud FROM read_codes ORDER BY id"),
            events.map(({ id, payload }) => ({ id, ...payload, loud: payload.code.toUpperCase() })),
            mode
          )
        }
        const next = yield* query(
          "INSERT INTO read_codes (id, code) VALUES (gen_random_uuid(), 'new') RETURNING position::int"
        )
        assert.deepStrictEqual(next, [{ position: 1 }])
        yield* query("DELETE FROM read_codes WHERE code = 'new'")
      })
  )

  it.effect("merges as a role that has what schema --grants prints, and tells what another lacks", () =>
    Effect.gen(function* () {
      const { url } = yield* Database.TestDatabase
      const role = `rebuilder_${new URL(url).pathname.slice(1)}`
      yield* query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
      for (const statement of yield* EsOps.ddl({ features: [feature] })) yield* query(statement)
      for (const statement of yield* EsOps.grants({ features: [feature] }, role)) yield* query(statement)
      const as = new URL(url)
      as.username = role
      as.password = "secret"
      const own = EsOps.layer({ seeds: {}, features: [feature] }).pipe(Layer.provide(Database.clientOf(as.href)))
      yield* damage(7)
      assert.deepInclude(yield* rebuild().pipe(Effect.provide(own)), { rows: { inserted: 0, updated: 1, deleted: 0 } })
      yield* isRight
      const owned = yield* Effect.flip(rebuild({ mode: "swap" }).pipe(Effect.provide(own)))
      assert.include(owned.message, "owner postgres")
      yield* query(`REVOKE CREATE ON SCHEMA es_ops_shadow FROM ${role}`)
      const refused = yield* Effect.flip(rebuild().pipe(Effect.provide(own)))
      assert.include(refused.message, "may not create tables in the schema es_ops_shadow")
      yield* query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    })
  )

  it.effect("names a stream with a gap, or keeps its row where what cannot be folded is left out", () =>
    Effect.gen(function* () {
      const gap = World.idOf(15)
      yield* query("UPDATE kumiko_events SET version = version + 1 WHERE aggregate_id = $1 AND version = 3", [gap])
      yield* query("UPDATE read_counters SET total = 1234 WHERE id = $1", [gap])
      yield* damage(16)
      const refused = yield* Effect.flip(rebuild())
      assert.include(refused.message, "StreamIncomplete")
      assert.include(refused.message, gap)
      for (const mode of ["merge", "swap"] as const) {
        assert.deepInclude(yield* rebuild({ mode, onPoison: "quarantine" }), { deadLetters: 1 })
        assert.deepStrictEqual(yield* query("SELECT total FROM read_counters WHERE total > 100"), [{ total: 1234 }])
      }
      yield* query("UPDATE kumiko_events SET version = version - 1 WHERE aggregate_id = $1 AND version = 4", [gap])
      assert.deepInclude(yield* rebuild(), { deadLetters: 0, rows: { inserted: 0, updated: 1, deleted: 0 } })
      yield* isRight
    })
  )

  it.effect(
    "counts as tries of its cut-over those that it made, where each folds for longer than writers may stop",
    () =>
      Effect.gen(function* () {
        yield* damage(21)
        const report = yield* rebuild({ mode: "merge", maxStall: "0 millis" })
        // The fourth is not bounded any more.
        assert.isAtMost(report?.cutOver.tries ?? NaN, 4)
        yield* isRight
      })
  )

  it.effect("begins anew where it was begun with an older definition", () =>
    Effect.gen(function* () {
      const { url } = yield* Database.TestDatabase
      yield* damage(17)
      const reader = yield* using(async (client) => {
        await client.query("BEGIN")
        await client.query("SELECT count(*) FROM read_counters")
        return client
      })
      const older = EsOps.layer({ seeds: {}, features: [doubled] }).pipe(Layer.provide(Database.clientOf(url)))
      const paused = yield* Effect.flip(
        rebuild({ mode: "swap", lockTimeout: "200 millis" }).pipe(Effect.provide(older))
      )
      assert.strictEqual(paused._tag, "CutOverTimeout")
      yield* Effect.promise(() => reader.query("COMMIT"))
      assert.deepInclude(yield* rebuild({ mode: "swap" }), { rows: { inserted: 0, updated: 1, deleted: 0 } })
      yield* isRight
    })
  )
})
