/**
 * The tables of runs, as the doctor sees them: there, missing, of another shape, and with runs that nobody is in.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { EsOps, SeedDoctor } from "effect-es-ops"
import { apply, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const run = (
  name: string,
  lease: string
) => `INSERT INTO es_ops_runs (id, operation_type, name, params, definition, access, phase, done, counters,
    epoch, epoch_at, epoch_done, host, pid, lease_until, started_at, updated_at, outcome)
  VALUES (gen_random_uuid(), 'projection-rebuild', '${name}', '{}', '1', '{"reads":[],"changes":[]}', 'bulk', 0, '{}', 1, now(), 0, 'elsewhere', 7,
    clock_timestamp() + interval '${lease}', now(), now(), 'running')`

interface Fault {
  readonly what: string
  readonly make: string
  readonly undo: string
  readonly finding: string
  readonly said: string
  readonly fix: string
}

const faults: ReadonlyArray<Fault> = [
  {
    what: "a run whose process is gone",
    make: run("gone", "-1 second"),
    undo: "DELETE FROM es_ops_runs",
    finding: "runs",
    said: 'projection-rebuild "gone" is half done, and no process is in it',
    fix: "es-ops runs:cancel"
  },
  {
    what: "a column that is missing",
    make: "ALTER TABLE es_ops_runs DROP COLUMN counters",
    undo: "ALTER TABLE es_ops_runs ADD COLUMN counters jsonb NOT NULL",
    finding: "tables",
    said: '"es_ops_runs": column "counters" (jsonb) is missing',
    fix: "es-ops schema prints what is expected, and with --diff how to change it"
  },
  {
    what: "a column of another type",
    make: "ALTER TABLE es_ops_run_lanes ALTER COLUMN updated_at TYPE timestamp, ALTER COLUMN lane TYPE varchar(20)",
    undo: "ALTER TABLE es_ops_run_lanes ALTER COLUMN updated_at TYPE timestamptz, ALTER COLUMN lane TYPE text",
    finding: "tables",
    said: '"es_ops_run_lanes": column "lane" is character varying(20), not text; column "updated_at" is timestamp without time zone, not timestamptz',
    fix: "--diff"
  },
  {
    what: "a column that is generated",
    make: "ALTER TABLE es_ops_projections DROP COLUMN version, ADD COLUMN version integer GENERATED ALWAYS AS (1) STORED",
    undo: "ALTER TABLE es_ops_projections DROP COLUMN version, ADD COLUMN version integer NOT NULL",
    finding: "tables",
    said: '"es_ops_projections": column "version" is generated, and takes no value of ours',
    fix: "--diff"
  },
  {
    what: "a column that we have no value for",
    make: "ALTER TABLE es_ops_snapshots ADD COLUMN more text NOT NULL",
    undo: "ALTER TABLE es_ops_snapshots DROP COLUMN more",
    finding: "tables",
    said: '"es_ops_snapshots": column "more" must be given a value, which we do not have',
    fix: "--diff"
  },
  {
    what: "a primary key that is missing",
    make: "ALTER TABLE es_ops_run_lanes DROP CONSTRAINT es_ops_run_lanes_pkey",
    undo: "ALTER TABLE es_ops_run_lanes ADD PRIMARY KEY (run_id, lane)",
    finding: "tables",
    said: '"es_ops_run_lanes": there is no unique index on run_id, lane',
    fix: "--diff"
  },
  {
    what: "an index that is missing",
    make: "DROP INDEX es_ops_dead_letters_projection_idx",
    undo: "CREATE INDEX es_ops_dead_letters_projection_idx ON es_ops_dead_letters (projection)",
    finding: "missing indexes",
    said: '"es_ops_dead_letters" has no index on projection',
    fix: "CREATE INDEX"
  }
]

describe("the doctor of the tables of runs", () => {
  it.effect(
    "names what is wrong with them, with what mends it, and has nothing to say of those that are not there",
    () =>
      Effect.gen(function* () {
        const { query, url } = yield* TestDatabase
        const layer = layerOf(Database.clientOf(url), { a: seed(tenant("one")) })
        yield* Effect.provide(apply(), layer)
        const send = (text: string) => Effect.promise(() => query(text))
        const wrong = Effect.map(Effect.provide(SeedDoctor.examine, layer), (findings) =>
          findings
            .filter(({ fault }) => fault !== "none")
            .map(({ detail, fix, name }) => ({ name, detail, fix: Option.getOrElse(fix, () => "") }))
        )
        for (const statement of yield* EsOps.ddl({ seeds: {} }))
          if (/es_ops_(?!attempts)/.test(statement)) yield* send(statement)
        yield* send(run("live", "1 hour"))
        assert.deepStrictEqual(yield* wrong, [])
        for (const { finding, fix, make, said, undo, what } of faults) {
          yield* send(make)
          const found = yield* wrong
          const named = found.find(({ name }) => name === finding)
          assert.include(named?.detail, said, what)
          assert.include(named?.fix, fix, what)
          yield* send(undo)
        }
        // The next run creates those that are missing.
        yield* send("DROP TABLE es_ops_run_lanes, es_ops_dead_letters, es_ops_snapshots")
        assert.deepStrictEqual(yield* wrong, [])
      }).pipe(fresh)
  )
})
