/**
 * Seeds whose session, or whose database, would take the record elsewhere or not at all.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Seed, SeedContext, SeedLedger } from "effect-es-ops"
import type { Seeds } from "../../support/Applying.js"
import { apply, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const applied = (seeds: Seeds) =>
  Effect.flatMap(TestDatabase, ({ url }) =>
    Effect.exit(Effect.provide(apply(), layerOf(Database.clientOf(url), seeds)))
  )

const rows = (text: string) => Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(text)))

const texts = (...all: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.forEach(all, (text) => sql.unsafe(text), { discard: true }))

const sql = (...all: ReadonlyArray<string>) => seed(texts(...all))

const outside = (...all: ReadonlyArray<string>) =>
  Seed.make({ description: "", transaction: "none", idempotent: true, run: texts(...all) })

const count = ["CREATE TABLE IF NOT EXISTS counter (n int)", "INSERT INTO counter VALUES (1)"] as const

const once = (given: Seed.Seed<unknown, SqlClient.SqlClient>) =>
  Effect.gen(function* () {
    assert.isTrue(Exit.isSuccess(yield* applied({ a: given })))
    assert.isTrue(Exit.isSuccess(yield* applied({ a: given })))
    assert.lengthOf(yield* rows("SELECT * FROM counter"), 1)
    assert.lengthOf(yield* rows("SELECT * FROM public.kumiko_es_operations"), 1)
    assert.lengthOf(yield* rows("SELECT * FROM public.es_ops_attempts WHERE outcome = 'applied'"), 1)
  }).pipe(fresh)

const shadows: Readonly<Record<string, ReadonlyArray<string>>> = {
  "a temporary table of the markers' name": [
    "CREATE TEMP TABLE kumiko_es_operations ON COMMIT DROP AS SELECT * FROM kumiko_es_operations"
  ],
  "a temporary table of the attempts' name": ["CREATE TEMP TABLE es_ops_attempts (LIKE es_ops_attempts INCLUDING ALL)"],
  "a temporary view of the markers' name": [
    'CREATE TEMP VIEW "kumiko_es_operations" AS SELECT * FROM kumiko_es_operations WHERE false'
  ],
  "a temporary table that a cursor reads": [
    "CREATE TEMP TABLE t AS SELECT 1 AS a",
    "DECLARE c CURSOR FOR SELECT * FROM t"
  ]
}

describe("the record of a seed", () => {
  for (const [title, more] of Object.entries(shadows)) {
    it.effect(`goes where the claim looked, whatever there is of it: ${title}`, () => once(sql(...count, ...more)))
  }

  it.effect("goes where the claim looked, though the body made a table of the name earlier in the search path", () =>
    Effect.gen(function* () {
      const made = `DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', current_user);
        EXECUTE format('CREATE TABLE %I.kumiko_es_operations (LIKE public.kumiko_es_operations)', current_user); END $$`
      assert.isTrue(Exit.isSuccess(yield* applied({ a: sql(made) })))
      assert.deepStrictEqual(yield* rows("SELECT id FROM public.kumiko_es_operations"), [{ id: "a" }])
    }).pipe(fresh)
  )

  it.effect("goes where the claim looked in a session outside any transaction", () =>
    once(outside(...count, "CREATE TEMP TABLE kumiko_es_operations AS SELECT * FROM kumiko_es_operations"))
  )

  for (const table of ["kumiko_es_operations", "es_ops_attempts"]) {
    for (const change of ["RETURN NULL;", "NEW.applied_by := 'x'; RETURN NEW;"]) {
      it.effect(`fails where a trigger of ${table} says ${change}`, () =>
        Effect.gen(function* () {
          assert.isTrue(Exit.isSuccess(yield* applied({ a: sql("SELECT 1") })))
          yield* rows(`CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${change} END $$`)
          yield* rows(`CREATE TRIGGER t BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION t()`)
          const exit = yield* applied({ a: sql("SELECT 1"), b: sql(...count) })
          assert.isTrue(Exit.isFailure(exit))
          assert.include(String(exit), `${table}`)
          assert.include(String(exit), "did not store the row as it was sent")
          assert.deepStrictEqual(yield* rows("SELECT to_regclass('counter')::text AS found"), [{ found: null }])
        }).pipe(fresh)
      )
    }
  }

  for (const table of ["kumiko_es_operations", "es_ops_attempts"]) {
    for (const [title, make] of [
      ["a seed in a transaction", sql],
      ["a seed outside any transaction", outside]
    ] as const) {
      it.effect(`fails where a rule of ${table} does nothing instead: ${title}`, () =>
        Effect.gen(function* () {
          assert.isTrue(Exit.isSuccess(yield* applied({ a: sql("SELECT 1") })))
          yield* rows(`CREATE RULE r AS ON INSERT TO ${table} DO INSTEAD NOTHING`)
          const exit = yield* applied({ a: sql("SELECT 1"), b: make(...count) })
          assert.match(
            String(exit),
            new RegExp(`${table}.* did not store the row as it was sent: look for a trigger, a rule`)
          )
          assert.deepStrictEqual(yield* rows("SELECT to_regclass('counter')::text AS found"), [{ found: null }])
        }).pipe(fresh)
      )
    }
  }

  for (const [title, make] of [
    ["a seed in a transaction", sql],
    ["a seed outside any transaction", outside]
  ] as const) {
    it.effect(`fails where a trigger behind what is inserted takes its marker away or changes it: ${title}`, () =>
      Effect.gen(function* () {
        assert.isTrue(Exit.isSuccess(yield* applied({ a: sql("SELECT 1") })))
        for (const [on, change] of [
          ["INSERT ON kumiko_es_operations", "DELETE FROM kumiko_es_operations WHERE id = NEW.id"],
          ["INSERT ON kumiko_es_operations", "UPDATE kumiko_es_operations SET applied_by = 'x' WHERE id = NEW.id"],
          ["INSERT OR UPDATE ON es_ops_attempts", "DELETE FROM kumiko_es_operations WHERE id = NEW.operation_id"]
        ] as const) {
          yield* rows(
            `CREATE OR REPLACE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${change}; RETURN NULL; END $$`
          )
          for (const deferred of ["", "DEFERRABLE INITIALLY DEFERRED"]) {
            yield* rows(`CREATE CONSTRAINT TRIGGER t AFTER ${on} ${deferred} FOR EACH ROW EXECUTE FUNCTION t()`)
            const exit = yield* applied({ a: sql("SELECT 1"), b: make("SELECT 1") })
            assert.match(
              String(exit),
              /kumiko_es_operations.* did not store the row as it was sent/,
              `${on} ${deferred}`
            )
            yield* rows(`DROP TRIGGER t ${on.slice(on.indexOf("ON "))}`)
          }
        }
        assert.deepStrictEqual(yield* rows("SELECT id FROM kumiko_es_operations"), [{ id: "a" }])
        assert.deepStrictEqual(yield* rows("SELECT FROM es_ops_attempts WHERE outcome = 'applied'"), [{}])
      }).pipe(fresh)
    )

    it.effect(`is not said to be another replica's where another unique index refuses it: ${title}`, () =>
      Effect.gen(function* () {
        assert.isTrue(Exit.isSuccess(yield* applied({ a: sql("SELECT 1") })))
        yield* rows("CREATE UNIQUE INDEX only_one ON kumiko_es_operations (operation_type)")
        const exit = yield* applied({ a: sql("SELECT 1"), b: make("SELECT 1") })
        assert.include(String(exit), 'duplicate key value violates unique constraint \\"only_one\\"')
      }).pipe(fresh)
    )
  }

  it.effect("is not begun outside any transaction where a trigger takes the attempt away that tells of its begin", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isSuccess(yield* applied({ a: sql("SELECT 1") })))
      yield* rows(`CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM es_ops_attempts WHERE id = NEW.id; RETURN NULL; END $$;
        CREATE TRIGGER t AFTER INSERT ON es_ops_attempts FOR EACH ROW EXECUTE FUNCTION t()`)
      const exit = yield* applied({ a: sql("SELECT 1"), b: outside(...count) })
      assert.match(String(exit), /es_ops_attempts.* did not store the row as it was sent/)
      assert.deepStrictEqual(yield* rows("SELECT to_regclass('counter')::text AS found"), [{ found: null }])
    }).pipe(fresh)
  )

  for (const [table, when] of [
    ["kumiko_es_operations", "BEFORE INSERT"],
    ["es_ops_attempts", "BEFORE INSERT"],
    ["es_ops_attempts", "BEFORE UPDATE"]
  ]) {
    it.effect(`fails where a trigger ${when} of ${table} swallows that of a session outside any transaction`, () =>
      Effect.gen(function* () {
        assert.isTrue(Exit.isSuccess(yield* applied({ a: sql("SELECT 1") })))
        yield* rows("CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
        yield* rows(`CREATE TRIGGER t ${when} ON ${table} FOR EACH ROW EXECUTE FUNCTION t()`)
        const exit = yield* applied({ a: sql("SELECT 1"), b: outside("SELECT 1") })
        assert.match(String(exit), new RegExp(`${table}.* did not store the row as it was sent`))
        assert.deepStrictEqual(yield* rows("SELECT id FROM kumiko_es_operations"), [{ id: "a" }])
      }).pipe(fresh)
    )
  }

  it.effect("fails to be forgotten or renamed where a trigger keeps its marker", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      assert.isTrue(Exit.isSuccess(yield* applied({ a: sql("SELECT 1") })))
      yield* rows("CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
      yield* rows("CREATE TRIGGER t BEFORE DELETE ON kumiko_es_operations FOR EACH ROW EXECUTE FUNCTION t()")
      const who = { appliedBy: "cli", reason: "x" } as const
      for (const change of [
        SeedLedger.unmark({ ...who, id: "a" }),
        SeedLedger.rename({ ...who, from: "a", to: "b" })
      ]) {
        const exit = yield* Effect.exit(Effect.provide(change, layerOf(Database.clientOf(url), { b: sql("SELECT 1") })))
        assert.match(String(exit), /kumiko_es_operations.* did not store the row as it was sent/, String(exit))
      }
      assert.deepStrictEqual(yield* rows("SELECT id FROM kumiko_es_operations"), [{ id: "a" }])
    }).pipe(fresh)
  )
})

describe("the session of a seed outside any transaction", () => {
  it.effect("decides by nothing that it has set whether its marker can be written", () =>
    once(outside(...count, "SET default_transaction_read_only = on", "SET statement_timeout = 1"))
  )
})

describe("the session of a seed", () => {
  for (const [title, make] of [
    ["in a transaction", sql],
    ["outside any transaction", outside]
  ] as const) {
    it.effect(`leaves the next one no temporary table ${title}`, () =>
      Effect.gen(function* () {
        const ids = "CREATE TEMP TABLE ids AS SELECT 1 AS id"
        assert.isTrue(Exit.isSuccess(yield* applied({ a: make(ids), b: make(ids) })))
      }).pipe(fresh)
    )

    it.effect(`leaves the next one no session user ${title}`, () =>
      Effect.gen(function* () {
        yield* rows("DO $$ BEGIN CREATE ROLE es_ops_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        yield* rows("GRANT CREATE ON SCHEMA public TO es_ops_reader")
        const seeds = { a: make("SET SESSION AUTHORIZATION es_ops_reader"), b: make("CREATE TABLE mine (a int)") }
        const exit = yield* applied(seeds)
        assert.isTrue(Exit.isSuccess(exit), String(exit))
        const owner = "SELECT tableowner = current_user AS own FROM pg_tables WHERE tablename = 'mine'"
        assert.deepStrictEqual(yield* rows(owner), [{ own: true }])
        yield* rows("DROP OWNED BY es_ops_reader")
      }).pipe(fresh)
    )
  }
})

describe("a write", () => {
  it.effect("fails where a trigger swallows its event", () =>
    Effect.gen(function* () {
      assert.isTrue(Exit.isSuccess(yield* applied({ a: seed(tenant("one")) })))
      yield* rows("CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
      yield* rows("CREATE TRIGGER t BEFORE INSERT ON kumiko_events FOR EACH ROW EXECUTE FUNCTION t()")
      const exit = yield* applied({ b: seed(tenant("two")) })
      assert.include(String(exit), "kumiko_events did not store the row as it was sent")
    }).pipe(fresh)
  )

  it.effect("fails where a policy admits no UPDATE of its read table", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const user = "00000000-0000-4000-8000-00000000abcd"
      const member = (handler: string, roles: ReadonlyArray<string>) =>
        Effect.flatMap(SeedContext.findTenants, ([found]) =>
          SeedContext.systemWriteAs(
            `tenant:write:${handler}`,
            { userId: user, tenantId: found?.id ?? "", roles },
            { extraRoles: ["SystemAdmin"] }
          )
        )
      const setUp = yield* applied({ a: seed(tenant("one")), b: seed(member("add-member", ["User"])) })
      assert.isTrue(Exit.isSuccess(setUp), String(setUp))
      yield* rows("DROP ROLE IF EXISTS es_ops_barred")
      yield* rows("CREATE ROLE es_ops_barred LOGIN PASSWORD 'barred'")
      yield* rows("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO es_ops_barred")
      yield* rows("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO es_ops_barred")
      yield* rows("ALTER TABLE read_tenant_memberships ENABLE ROW LEVEL SECURITY")
      yield* rows("CREATE POLICY p ON read_tenant_memberships FOR SELECT USING (true)")
      const barred = new URL(url)
      barred.username = "es_ops_barred"
      barred.password = "barred"
      const seeds = { c: seed(member("update-member-roles", ["TenantAdmin"])) }
      const exit = yield* Effect.exit(Effect.provide(apply(), layerOf(Database.clientOf(barred.href), seeds)))
      assert.include(String(exit), "read_tenant_memberships did not store the row as it was sent")
      yield* rows("DROP OWNED BY es_ops_barred")
      yield* rows("DROP ROLE es_ops_barred")
    }).pipe(fresh)
  )
})
