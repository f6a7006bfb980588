import { SqlClient } from "@effect/sql"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Option, Ref } from "effect"
import { EsOps, MemoryDatabase, SeedContext, SeedLedger, SeedReport, SeedRunner } from "effect-es-ops"
import type { Observer } from "../../support/Applying.js"
import { quiet, seed, tenant } from "../../support/Applying.js"
import { TestDatabase } from "../../support/TestDatabase.js"
import * as Database from "../../support/TestDatabase.js"

const dryRun = SeedRunner.dryRun({ appliedBy: "cli" })
const statement = (text: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(text))

const previews = ({ outcomes }: SeedReport.SeedReport) =>
  outcomes.map((outcome) =>
    outcome._tag === "Applied"
      ? Option.getOrThrow(outcome.preview).map(({ payload, type }) => `${outcome.id} ${type} ${String(payload["key"])}`)
      : outcome._tag
  )

/** The second sees what the first wrote. */
const pair = {
  "1": seed(tenant("a")),
  "2": seed(Effect.flatMap(SeedContext.findTenants, (all) => tenant(`after-${all.length}`)))
}

describe("SeedRunner.dryRun in memory", () => {
  it.effect("shows the events of each seed, which sees its predecessors, and keeps nothing", () =>
    Effect.gen(function* () {
      const { state } = yield* MemoryDatabase.MemoryDatabase
      const before = yield* Ref.get(state)
      const report = yield* dryRun
      assert.isTrue(report.dryRun)
      assert.deepStrictEqual(previews(report), [["1 tenant.created a"], ["2 tenant.created after-1"]])
      assert.strictEqual(yield* Ref.get(state), before)
      assert.strictEqual((yield* SeedRunner.apply({ appliedBy: "cli" })).outcomes.length, 2)
      assert.deepStrictEqual((yield* dryRun).outcomes, [])
    }).pipe(Effect.provide(EsOps.layerMemory({ seeds: pair })))
  )

  it.effect("stops at the first failure like the real thing, and records nothing", () =>
    Effect.gen(function* () {
      const { state } = yield* MemoryDatabase.MemoryDatabase
      const before = yield* Ref.get(state)
      const error = yield* Effect.flip(dryRun)
      assert.deepInclude(error, { _tag: "SeedFailed", id: "2", applied: ["1"], notAttempted: ["3"] })
      assert.strictEqual(yield* Ref.get(state), before)
    }).pipe(
      Effect.provide(
        EsOps.layerMemory({
          seeds: { "1": seed(tenant("a")), "2": seed(Effect.fail(new Error("no"))), "3": seed(tenant("c")) }
        })
      )
    )
  )

  it.effect("tells of a seed that another replica applied meanwhile, also before a failure", () =>
    Effect.gen(function* () {
      const services = yield* Effect.context<SeedRunner.Requirements>()
      const told: Array<string> = []
      const mark = SeedLedger.mark({ id: "1", reason: "meanwhile", appliedBy: "cli" })
      const observer: Observer = {
        ...quiet,
        planned: () => Effect.orDie(Effect.asVoid(Effect.provide(mark, services))),
        outcome: ({ _tag, id }) => Effect.sync(() => void told.push(`${id} ${_tag}`))
      }
      const error = yield* Effect.flip(SeedRunner.dryRun({ appliedBy: "cli", observer }))
      assert.deepInclude(error, { _tag: "SeedFailed", id: "3", raced: ["1"], applied: ["2"], notAttempted: ["4"] })
      assert.deepStrictEqual(told, ["1 Raced", "2 Applied"])
    }).pipe(
      Effect.provide(
        EsOps.layerMemory({
          seeds: {
            "1": seed(tenant("a")),
            "2": seed(tenant("b")),
            "3": seed(Effect.fail(new Error("no"))),
            "4": seed(tenant("d"))
          }
        })
      )
    )
  )
})

layer(Layer.empty, { excludeTestServices: true })("SeedRunner.dryRun on PostgreSQL", (it) => {
  const fresh = Effect.provide(Layer.provideMerge(Database.client(), Database.layer))
  const nothing = Effect.flatMap(TestDatabase, ({ query }) =>
    Effect.map(
      Effect.promise(() => query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'")),
      (rows) => assert.deepStrictEqual(rows, [])
    )
  )

  it.effect("leaves no row and no table anywhere", () =>
    Effect.gen(function* () {
      const report = yield* Effect.provide(dryRun, EsOps.layer({ seeds: pair }))
      assert.deepStrictEqual(previews(report), [["1 tenant.created a"], ["2 tenant.created after-1"]])
      yield* nothing
    }).pipe(fresh)
  )

  it.effect.each(["INSERT INTO nowhere VALUES (1)", "COMMIT", "SELECT 1; COMMIT", "SELECT 1; ROLLBACK"])(
    "blames the seed that swallowed what came of %s",
    (text) =>
      Effect.gen(function* () {
        const seeds = { "1": seed(tenant("a")), "2": seed(Effect.ignore(statement(text))), "3": seed(tenant("c")) }
        const error = yield* Effect.flip(Effect.provide(dryRun, EsOps.layer({ seeds })))
        assert.deepInclude(error, { _tag: "SeedFailed", id: "2", applied: ["1"], notAttempted: ["3"] })
        assert.notInclude(error.message, "refused to commit")
        yield* nothing
      }).pipe(fresh)
  )

  it.effect(
    "checks what is deferred as a COMMIT would: by the search path of the step, each row once, new constraints as well",
    () =>
      Effect.gen(function* () {
        const { query } = yield* TestDatabase
        yield* Effect.promise(() =>
          query(`CREATE TABLE allowed (id int); INSERT INTO allowed VALUES (1), (2); CREATE TABLE watched (id int); CREATE SEQUENCE fired;
          CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM nextval('fired'); PERFORM 1 FROM allowed WHERE id = NEW.id;
            IF NOT FOUND THEN RAISE EXCEPTION 'not allowed'; END IF; RETURN NULL; END $$;
          CREATE CONSTRAINT TRIGGER looked AFTER INSERT ON watched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()`)
        )
        const watched = (id: number) => statement(`INSERT INTO watched VALUES (${id})`)
        const seeds = {
          "1": seed(Effect.zipRight(watched(1), statement("SET LOCAL search_path = pg_catalog"))),
          "2": seed(watched(2)),
          "3": seed(
            Effect.zipRight(
              statement(
                "CREATE TABLE child (id int, parent int CONSTRAINT up REFERENCES other (id) DEFERRABLE INITIALLY DEFERRED)"
              ).pipe(Effect.zipRight(statement("INSERT INTO child VALUES (1, 1)"))),
              statement("INSERT INTO other VALUES (1)")
            )
          ),
          "4": seed(statement("INSERT INTO child VALUES (2, 2)"))
        }
        yield* Effect.promise(() => query("CREATE TABLE other (id int PRIMARY KEY)"))
        const error = yield* Effect.flip(Effect.provide(dryRun, EsOps.layer({ seeds })))
        assert.deepInclude(error, { _tag: "SeedFailed", id: "4", applied: ["1", "2", "3"] })
        assert.include(error.message, 'violates foreign key constraint "up"')
        assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT last_value::int AS n FROM fired")), [{ n: 2 }])
        yield* nothing
      }).pipe(fresh)
  )

  it.effect(
    "fails where the real thing would at its COMMIT: at the seed that leaves a deferred constraint violated",
    () =>
      Effect.gen(function* () {
        const { query } = yield* TestDatabase
        yield* Effect.promise(() =>
          query(`CREATE TABLE parent (id int PRIMARY KEY);
          CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`)
        )
        // The second needs that what the first was checked for is deferred again.
        const family = (id: number) =>
          seed(
            Effect.zipRight(
              statement(`INSERT INTO child VALUES (${id})`),
              statement(`INSERT INTO parent VALUES (${id})`)
            )
          )
        const seeds = {
          "1": family(1),
          "2": family(2),
          "3": seed(statement("INSERT INTO child VALUES (3)")),
          "4": family(4)
        }
        const application = EsOps.layer({ seeds })
        const tried = yield* Effect.flip(Effect.provide(dryRun, application))
        assert.deepInclude(tried, { _tag: "SeedFailed", id: "3", applied: ["1", "2"], notAttempted: ["4"] })
        yield* nothing
        const real = yield* Effect.flip(Effect.provide(SeedRunner.apply({ appliedBy: "cli" }), application))
        assert.strictEqual(tried.message, real.message)
        assert.include(real.message, "child_id_fkey")
      }).pipe(fresh)
  )

  it.effect("says in which seed its connection was lost, and that this is no failure of the seed", () =>
    Effect.gen(function* () {
      const seeds = { "1": seed(tenant("a")), "2": seed(statement("SELECT pg_terminate_backend(pg_backend_pid())")) }
      const error = yield* Effect.flip(Effect.provide(dryRun, EsOps.layer({ seeds })))
      assert.deepInclude(error, { _tag: "DatabaseError", id: Option.some("2"), connectionLost: true })
      const { query } = yield* TestDatabase
      const terminate = Effect.promise(() =>
        query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'es-ops %dry run of 2'"
        )
      )
      const observer: Observer = {
        ...quiet,
        outcome: ({ id }) => (id === "2" ? terminate : Effect.void)
      }
      const after = yield* Effect.flip(
        Effect.provide(
          SeedRunner.dryRun({ appliedBy: "cli", observer }),
          EsOps.layer({ seeds: { ...seeds, "2": seed(tenant("b")) } })
        )
      )
      assert.deepInclude(after, { _tag: "DatabaseError", id: Option.none(), connectionLost: true })
      yield* nothing
    }).pipe(fresh)
  )
})
