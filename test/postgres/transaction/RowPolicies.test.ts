/**
 * Seeds of a role from which policies of rows keep what is there, or which they let write only some of it.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Seed } from "effect-es-ops"
import type { Seeds } from "../../support/Applying.js"
import { apply, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const texts = (...all: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.forEach(all, (text) => sql.unsafe(text), { discard: true }))

const inside = <E, R>(run: Effect.Effect<unknown, E, R>) => Seed.make({ description: "again", run })

const outside = <E, R>(run: Effect.Effect<unknown, E, R>) =>
  Seed.make({ description: "again", transaction: "none", idempotent: true, run })

/** One that is not to be run again by itself. */
const outsideOnce = <E, R>(run: Effect.Effect<unknown, E, R>) =>
  Seed.make({ description: "again", transaction: "none", run })

const counting = texts("INSERT INTO counter VALUES (1)")

const rows = (text: string) => Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(text)))

const role = "es_ops_policed"

/** Applies the seeds as this role, and as the owner. */
const appliedBy = (user: "owner" | "policed", seeds: Seeds) =>
  Effect.flatMap(TestDatabase, ({ url }) => {
    const name = new URL(url).pathname.slice(1)
    const client = Database.clientOf(user === "owner" ? url : Database.url(name, role, "pw"))
    return Effect.exit(Effect.provide(apply(), layerOf(client, seeds)))
  })

/** A table, and its policies for the role. */
type Policies = readonly [table: string, ...policies: ReadonlyArray<string>]

const grants = `CREATE TABLE counter (n int);
  DO $$ BEGIN CREATE ROLE ${role} LOGIN PASSWORD 'pw'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
  GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
  GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`

/** Runs as long as the table has these policies. */
const policed = <A, E, R>([table, ...policies]: Policies, run: Effect.Effect<A, E, R>) =>
  Effect.zipRight(
    rows(
      [
        `ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY`,
        ...policies.map((policy, n) => `CREATE POLICY p${n} ON ${table} ${policy}`)
      ].join("; ")
    ),
    Effect.zipLeft(
      run,
      rows(
        [
          `ALTER TABLE ${table} DISABLE ROW LEVEL SECURITY`,
          ...policies.map((_, n) => `DROP POLICY p${n} ON ${table}`)
        ].join("; ")
      )
    )
  )

const [markers, attempts, events] = ["kumiko_es_operations", "es_ops_attempts", "kumiko_events"]

const kinds = [inside, outside]

describe("a seed of a role for which there are row policies", () => {
  it.effect("is not applied where they hide its marker, or refuse what is written, and says so", () =>
    Effect.gen(function* () {
      const setUp = yield* appliedBy("owner", { a: seed(tenant("one")) })
      assert.isTrue(Exit.isSuccess(setUp), String(setUp))
      yield* rows(grants)
      const insert = "FOR INSERT WITH CHECK (true)"
      for (const make of kinds) {
        for (const seen of ["duration_ms < 0 OR notes = 'again'", "false"]) {
          const again = appliedBy("policed", { a: make(counting) })
          const exit = yield* policed([markers, `FOR SELECT USING (${seen})`, insert], again)
          assert.match(String(exit), /kumiko_es_operations.* has the marker, and a row security policy hides it/)
        }
        const refusing: ReadonlyArray<Policies> = [
          [markers, "FOR SELECT USING (true)"],
          [markers, "FOR SELECT USING (id = 'a')", insert],
          [attempts, "FOR SELECT USING (true)"],
          [attempts, insert]
        ]
        for (const policies of refusing) {
          const [table] = policies
          const exit = yield* policed(policies, appliedBy("policed", { a: seed(Effect.void), b: make(counting) }))
          const reason = `row-level security policy for table .*${table}|${table}.* row security policy`
          assert.match(String(exit), new RegExp(reason), policies.join(" "))
        }
      }
      for (const policy of ["FOR SELECT USING (true)", insert]) {
        const writing = appliedBy("policed", { a: seed(Effect.void), b: seed(tenant("two")) })
        const exit = yield* policed([events, policy], writing)
        assert.match(String(exit), new RegExp(`row-level security policy for table .*${events}`))
      }
      yield* rows(`INSERT INTO ${attempts} (operation_id, operation_type, attempt, outcome, started_at, applied_by, host, pid)
        VALUES ('c', 'seed-migration', 1, 'running', now(), 'boot', 'h', 1)`)
      const half = appliedBy("policed", { a: seed(Effect.void), c: outsideOnce(counting) })
      const all = "FOR ALL USING (true)"
      for (const [policies, reason] of [
        [["FOR ALL USING (operation_id <> 'c') WITH CHECK (true)"], `${attempts}.* may hide from this role`],
        [["AS RESTRICTIVE FOR SELECT USING (operation_id <> 'c')", all], `${attempts}.* may hide from this role`],
        [[all], "SeedInterrupted"]
      ] as const)
        assert.match(String(yield* policed([attempts, ...policies], half)), new RegExp(reason), policies.join(" "))
      assert.deepStrictEqual(yield* rows("SELECT * FROM counter"), [])
      assert.deepStrictEqual(yield* rows(`SELECT id FROM ${markers}`), [{ id: "a" }])
    }).pipe(fresh)
  )
})
