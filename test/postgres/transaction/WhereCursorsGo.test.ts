/**
 * Seeds in batches whose session, or whose database, would keep how far they came elsewhere or not at all: rows would be done again.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Seed } from "effect-es-ops"
import type { Seeds } from "../../support/Applying.js"
import { apply, fresh, layerOf } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const rows = (text: string) => Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(text)))

const applied = (seeds: Seeds) =>
  Effect.flatMap(TestDatabase, ({ url }) =>
    Effect.exit(Effect.provide(apply(), layerOf(Database.clientOf(url), seeds)))
  )

/** Five rows in batches of two, each with these statements of its own. */
const batched = (...more: ReadonlyArray<string>) =>
  Seed.batched({
    description: "five rows",
    source: { sql: "SELECT n FROM generate_series(1, 5) AS n", key: "n" },
    size: 2,
    process: (found) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.forEach(
          [...found.map(({ n }) => `INSERT INTO public.done VALUES (${String(n)})`), ...more],
          (text) => sql.unsafe(text),
          { discard: true }
        )
      )
  })

const done = Effect.map(rows("SELECT n FROM done ORDER BY n"), (found) => found.map(({ n }) => n))

const trigger = (when: string, change: string) => `
  CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${change} END $$;
  CREATE OR REPLACE TRIGGER t ${when} ON es_ops_runs FOR EACH ROW EXECUTE FUNCTION f()`

describe("the cursor of a seed in batches", () => {
  it.effect("goes where the claim looked, whatever role, path and temporary tables a batch leaves", () =>
    Effect.gen(function* () {
      yield* rows("CREATE TABLE done (n int); CREATE SCHEMA other")
      const session = ["SET search_path = other", "SET ROLE pg_read_all_data"]
      const temporary = "CREATE TEMP TABLE es_ops_runs (LIKE public.es_ops_runs INCLUDING ALL)"
      const exit = yield* applied({ a: batched(...session), b: batched(temporary, ...session) })
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.deepStrictEqual(yield* done, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
      assert.deepStrictEqual(yield* rows("SELECT name FROM public.es_ops_runs ORDER BY 1"), [
        { name: "a" },
        { name: "b" }
      ])
    }).pipe(fresh)
  )

  it.effect("fails its batch where a trigger or a rule keeps it from being stored as it was sent", () =>
    Effect.gen(function* () {
      yield* rows("CREATE TABLE done (n int)")
      const setUp = yield* applied({ a: batched() })
      assert.isTrue(Exit.isSuccess(setUp), String(setUp))
      yield* rows("TRUNCATE done")
      for (const statement of [
        trigger("BEFORE UPDATE", "NEW.cursor := OLD.cursor; RETURN NEW;"),
        trigger("AFTER UPDATE", "DELETE FROM es_ops_runs WHERE id = NEW.id; RETURN NULL;"),
        trigger("BEFORE INSERT", "RETURN NULL;"),
        "CREATE RULE r AS ON UPDATE TO es_ops_runs DO INSTEAD NOTHING"
      ]) {
        yield* rows(statement)
        const exit = yield* applied({ a: batched(), b: batched() })
        assert.match(String(exit), /es_ops_runs did not store the row as it was sent/, statement)
        assert.deepStrictEqual(yield* done, [], statement)
        yield* rows("DROP TRIGGER IF EXISTS t ON es_ops_runs")
      }
    }).pipe(fresh)
  )

  it.effect("is not taken for missing where row policies may hide it", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      yield* rows("CREATE TABLE done (n int)")
      const setUp = yield* applied({ a: batched() })
      assert.isTrue(Exit.isSuccess(setUp), String(setUp))
      yield* rows(`TRUNCATE done;
        DO $$ BEGIN CREATE ROLE es_ops_batching LOGIN PASSWORD 'pw'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
        GRANT ALL ON ALL TABLES IN SCHEMA public TO es_ops_batching;
        GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO es_ops_batching;
        ALTER TABLE es_ops_runs ENABLE ROW LEVEL SECURITY;
        CREATE POLICY p ON es_ops_runs USING (done < 3) WITH CHECK (true)`)
      const client = Database.clientOf(Database.url(new URL(url).pathname.slice(1), "es_ops_batching", "pw"))
      const exit = yield* Effect.exit(Effect.provide(apply(), layerOf(client, { a: batched(), b: batched() })))
      assert.match(String(exit), /es_ops_runs may hide from this role how far the seed came/)
      assert.deepStrictEqual(yield* done, [])
    }).pipe(fresh)
  )
})
