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

/** A database with an applied seed, whose tables have these policies for the role. */
const policed = (...policies: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const setUp = yield* appliedBy("owner", { a: seed(tenant("one")) })
    assert.isTrue(Exit.isSuccess(setUp), String(setUp))
    yield* rows(`CREATE TABLE counter (n int);
      DO $$ BEGIN CREATE ROLE ${role} LOGIN PASSWORD 'pw'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
      GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role};
      ${policies.map((policy, n) => `ALTER TABLE ${policy.split(" ")[0] ?? ""} ENABLE ROW LEVEL SECURITY; CREATE POLICY p${n} ON ${policy}`).join("; ")}`)
  })

const markers = "kumiko_es_operations"
const attempts = "es_ops_attempts"
const events = "kumiko_events"

const kinds = [
  ["in a transaction", inside],
  ["outside any transaction", outside]
] as const

describe("a seed whose marker a policy hides", () => {
  for (const [kind, make] of kinds)
    for (const seen of ["duration_ms < 0 OR notes = 'again'", "false"])
      it.effect(`is not applied again, and says why: ${kind}, where ${seen} is seen`, () =>
        Effect.gen(function* () {
          yield* policed(`${markers} FOR SELECT USING (${seen})`, `${markers} FOR INSERT WITH CHECK (true)`)
          const exit = yield* appliedBy("policed", { a: make(counting) })
          assert.include(String(exit), markers)
          assert.include(String(exit), "a row security policy hides it")
          assert.deepStrictEqual(yield* rows("SELECT * FROM counter"), [])
          assert.lengthOf(yield* rows(`SELECT FROM ${markers}`), 1)
        }).pipe(fresh)
      )
})

describe("a seed", () => {
  const refusing: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    [markers, ["FOR SELECT USING (true)"]],
    [markers, ["FOR SELECT USING (id = 'a')", "FOR INSERT WITH CHECK (true)"]],
    [attempts, ["FOR SELECT USING (true)"]],
    [attempts, ["FOR INSERT WITH CHECK (true)"]]
  ]
  for (const [table, policies] of refusing)
    for (const [kind, make] of kinds)
      it.effect(`is not applied where the policies of ${table} are ${policies.join(" and ")}: ${kind}`, () =>
        Effect.gen(function* () {
          yield* policed(...policies.map((policy) => `${table} ${policy}`))
          const exit = yield* appliedBy("policed", { a: seed(Effect.void), b: make(counting) })
          assert.match(String(exit), new RegExp(`row-level security policy for table .*${table}|${table}.* row security policy`))
          assert.deepStrictEqual(yield* rows("SELECT * FROM counter"), [])
          assert.lengthOf(yield* rows(`SELECT FROM ${markers}`), 1)
        }).pipe(fresh)
      )

  it.effect(`is not applied where the end of its attempt is refused: outside any transaction`, () =>
    Effect.gen(function* () {
      yield* policed(`${attempts} FOR SELECT USING (true)`, `${attempts} FOR INSERT WITH CHECK (true)`)
      const exit = yield* appliedBy("policed", { a: seed(Effect.void), b: outside(counting) })
      assert.include(String(exit), `${attempts} did not store the row as it was sent`)
      assert.lengthOf(yield* rows(`SELECT FROM ${markers}`), 1)
    }).pipe(fresh)
  )

  for (const policies of [["FOR SELECT USING (true)"], ["FOR INSERT WITH CHECK (true)"]])
    it.effect(`is not applied where the policies of ${events} are ${policies.join(" and ")}`, () =>
      Effect.gen(function* () {
        yield* policed(...policies.map((policy) => `${events} ${policy}`))
        const exit = yield* appliedBy("policed", { a: seed(Effect.void), b: seed(tenant("two")) })
        assert.match(String(exit), new RegExp(`row-level security policy for table .*${events}`))
        assert.lengthOf(yield* rows(`SELECT FROM ${markers}`), 1)
      }).pipe(fresh)
    )
})
