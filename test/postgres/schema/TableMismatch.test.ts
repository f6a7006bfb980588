/**
 * Tables whose columns cannot hold what is written to them are refused before anything is; those that only look otherwise are not.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import {
  DatabaseHealth,
  EsOps,
  Identity,
  Seed,
  SeedContext,
  SeedDoctor,
  SeedRunner,
  SeedStatus,
  WriteDispatcher
} from "effect-es-ops"
import { apply, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Reference from "../../support/Reference.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

/** What is said of each table, where all are there and were altered so. */
const reasons = (...statements: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { query, url } = yield* TestDatabase
    const ddl = [...(yield* EsOps.ddl({})), ...statements].join(";\n")
    yield* Effect.promise(() => query(ddl))
    const found = yield* Effect.flatMap(DatabaseHealth.DatabaseHealth, ({ mismatches }) => mismatches).pipe(
      Effect.provide(layerOf(Database.clientOf(url), {}))
    )
    return found.flatMap(({ reason, table }) => reason.split("; ").map((each) => `${table}: ${each}`))
  }).pipe(fresh)

const [markers, attempts, events] = ['"kumiko_es_operations"', '"es_ops_attempts"', '"kumiko_events"']

const retyped = (table: string, columns: Readonly<Record<string, string>>) =>
  Object.entries(columns).map(([column, type]) => `ALTER TABLE ${table} ALTER COLUMN ${column} TYPE ${type}`)

describe("a table of ours", () => {
  it.effect("is refused for each column whose type cannot hold what is written, and for no other", () =>
    Effect.gen(function* () {
      const found = yield* reasons(
        "CREATE EXTENSION citext",
        "CREATE DOMAIN short AS varchar(10)",
        "CREATE DOMAIN shorter AS short",
        ...retyped("kumiko_es_operations", {
          id: "citext",
          operation_type: "varchar(14)",
          applied_at: "timestamp",
          duration_ms: "smallint",
          applied_by: "shorter",
          notes: "varchar(255)"
        }),
        ...retyped("es_ops_attempts", {
          operation_id: "char(100)",
          operation_type: "name",
          attempt: "numeric(5,2)",
          outcome: "varchar(8)",
          started_at: "date",
          ended_at: "timestamp(3)",
          duration_ms: "smallint",
          waited_ms: "real",
          pid: "smallint",
          reason: "varchar(500)"
        }),
        "ALTER TABLE es_ops_attempts ALTER COLUMN id TYPE integer",
        ...retyped("kumiko_events", {
          id: "integer",
          version: "smallint",
          type: "varchar(20)",
          created_at: "timestamp"
        })
      )
      assert.sameMembers(found, [
        `${attempts}: column "attempt" is numeric(5,2), not integer`,
        `${attempts}: column "duration_ms" is smallint, not integer`,
        `${attempts}: column "ended_at" is timestamp(3) without time zone, not timestamptz`,
        `${attempts}: column "id" is integer, not bigint`,
        `${attempts}: column "operation_id" is character(100), not text`,
        `${attempts}: column "operation_type" is name, not text`,
        `${attempts}: column "outcome" is character varying(8), not text`,
        `${attempts}: column "pid" is smallint, not integer`,
        `${attempts}: column "reason" is character varying(500), not text`,
        `${attempts}: column "started_at" is date, not timestamptz`,
        `${attempts}: column "waited_ms" is real, not integer`,
        `${events}: column "created_at" is timestamp without time zone, not timestamptz`,
        `${events}: column "id" is integer, not bigint`,
        `${events}: column "type" is character varying(20), not text`,
        `${events}: column "version" is smallint, not integer`,
        `${markers}: column "applied_at" is timestamp without time zone, not timestamptz`,
        `${markers}: column "applied_by" is shorter, not text`,
        `${markers}: column "duration_ms" is smallint, not integer`,
        `${markers}: column "id" is citext, not text`,
        `${markers}: column "notes" is character varying(255), not text`,
        `${markers}: column "operation_type" is character varying(14), not text`
      ])
    })
  )

  it.effect("is refused for what keeps its rows from being written or kept apart", () =>
    Effect.gen(function* () {
      const found = yield* reasons(
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        `ALTER TABLE kumiko_es_operations ALTER COLUMN id TYPE text COLLATE loose, ALTER COLUMN applied_at DROP DEFAULT,
          DROP CONSTRAINT kumiko_es_operations_pkey, ADD PRIMARY KEY (id, operation_type)`,
        "CREATE DOMAIN known AS text NOT NULL",
        `ALTER TABLE es_ops_attempts DROP CONSTRAINT es_ops_attempts_pkey, ALTER COLUMN id DROP IDENTITY,
          ALTER COLUMN ended_at SET NOT NULL, ALTER COLUMN version TYPE known, DROP COLUMN host,
          ADD COLUMN host text GENERATED ALWAYS AS ('here') STORED, ADD COLUMN region text NOT NULL`,
        "CREATE UNIQUE INDEX ON es_ops_attempts (id) WHERE outcome = 'applied'",
        "DROP INDEX events_aggregate_version_uq",
        "CREATE UNIQUE INDEX ON kumiko_events (tenant_id, aggregate_id, version, created_at)",
        "ALTER TABLE kumiko_archived_streams ALTER COLUMN reason SET NOT NULL"
      )
      assert.sameMembers(found, [
        `${attempts}: column "ended_at" takes no null, which stands for what is not known`,
        `${attempts}: column "host" is generated, and takes no value of ours`,
        `${attempts}: column "id" has no default, and is given no value`,
        `${attempts}: column "region" must be given a value, which we do not have`,
        `${attempts}: column "version" takes no null, which stands for what is not known`,
        `${attempts}: there is no unique index on id`,
        `"kumiko_archived_streams": column "reason" takes no null, which stands for what is not known`,
        `${events}: there is no unique index on tenant_id, aggregate_id, version`,
        `${markers}: column "applied_at" has no default, and is given no value`,
        `${markers}: column "id" has a collation that takes different texts for the same`,
        `${markers}: there is no unique index on id`
      ])
    })
  )

  it.effect("is used as it is where it holds what is written in another way", () =>
    Effect.gen(function* () {
      const found = yield* reasons(
        "CREATE EXTENSION citext",
        "CREATE DOMAIN label AS text DEFAULT 'none'",
        "CREATE DOMAIN instant AS timestamptz NOT NULL DEFAULT now()",
        ...retyped("kumiko_es_operations", {
          id: 'varchar(255) COLLATE "C"',
          operation_type: "label",
          duration_ms: "bigint",
          applied_by: "citext",
          notes: "varchar"
        }),
        `ALTER TABLE kumiko_es_operations ADD COLUMN region text NOT NULL DEFAULT 'eu', ADD COLUMN note text, ALTER COLUMN notes SET NOT NULL,
          DROP COLUMN applied_at, ADD COLUMN applied_at instant, ADD COLUMN upper text GENERATED ALWAYS AS (upper(notes)) STORED,
          DROP CONSTRAINT kumiko_es_operations_pkey, ADD UNIQUE (id)`,
        ...retyped("es_ops_attempts", { pid: "numeric", attempt: "bigint", started_at: "timestamptz(0)" }),
        "ALTER TABLE es_ops_attempts ALTER COLUMN id SET GENERATED BY DEFAULT, ADD COLUMN more label NOT NULL",
        ...retyped("kumiko_events", { version: "bigint", created_at: "timestamptz", created_by: "varchar" }),
        "ALTER INDEX events_aggregate_version_uq RENAME TO theirs"
      )
      assert.deepStrictEqual(found, [])
    })
  )

  it.effect("with a partition for each part of the tenants is used as it is", () =>
    Effect.gen(function* () {
      const events = yield* Effect.map(EsOps.ddl({}), (ddl) => ddl.filter((each) => each.includes("kumiko_events")))
      const parted = events.map((each) =>
        each.startsWith("CREATE TABLE")
          ? `${each.replace(" PRIMARY KEY", "")} PARTITION BY HASH (tenant_id); ALTER TABLE kumiko_events ADD PRIMARY KEY (id, tenant_id)`
          : each
      )
      assert.deepStrictEqual(yield* reasons("DROP TABLE kumiko_events", ...parted), [])
    })
  )
})

describe("a marker table that cannot hold what is written", () => {
  it.effect("is refused by apply and by a dry run before a body runs, and named by status, plan and doctor", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.promise(() =>
        query(`${Reference.tables}; ALTER TABLE kumiko_es_operations ALTER COLUMN applied_at TYPE timestamp`)
      )
      let runs = 0
      const seeds = { "1": seed(Effect.sync(() => runs++)) }
      yield* Effect.gen(function* () {
        for (const refused of [apply(), SeedRunner.dryRun({ appliedBy: "boot" })]) {
          const error = yield* Effect.flip(refused)
          assert.strictEqual(error._tag, "SeedsInconsistent")
          assert.include(error.message, '"applied_at" is timestamp without time zone, not timestamptz')
          assert.include(error.message, "es-ops schema --diff")
        }
        const { problems } = yield* SeedStatus.status
        assert.deepStrictEqual(
          problems.map(({ _tag }) => _tag),
          ["TableMismatch"]
        )
        const tables = (yield* SeedDoctor.examine).find(({ name }) => name === "tables")
        assert.include(tables?.detail, "applied_at")
      }).pipe(Effect.provide(layerOf(Database.clientOf(url), seeds)))
      assert.strictEqual(runs, 0)
    }).pipe(fresh)
  )
})

/** The reference's own read tables. */
const theirs = `${Reference.tables};
  CREATE TABLE read_tenants (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, version integer NOT NULL DEFAULT 1, key text NOT NULL, name text NOT NULL,
    inserted_at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE read_users (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, version integer NOT NULL DEFAULT 1, email text NOT NULL,
    display_name text NOT NULL, inserted_at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE read_tenant_memberships (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, version integer NOT NULL DEFAULT 1, user_id text NOT NULL,
    roles text NOT NULL DEFAULT '[]', inserted_at timestamptz NOT NULL DEFAULT now());
  INSERT INTO read_tenants (id, tenant_id, key, name) VALUES (gen_random_uuid(), gen_random_uuid(), 'acme', 'Acme')`

describe("the read tables of another application's handlers", () => {
  it.effect("are refused to the bundled ones by apply, status and doctor, which name a dispatcher as the remedy", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.promise(() => query(theirs))
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(apply())
        assert.strictEqual(error._tag, "SeedsInconsistent")
        assert.include(error.message, '"read_tenants" cannot be used: column "tenant_id" must be given a value')
        assert.include(error.message, '"read_users" cannot be used: column "display_name" must be given a value')
        assert.include(error.message, '"read_tenant_memberships" cannot be used: column "version" is of other handlers')
        assert.include(error.message, "application's own dispatcher")
        const { problems } = yield* SeedStatus.status
        assert.deepStrictEqual(new Set(problems.map(({ _tag }) => _tag)), new Set(["TableMismatch"]))
        const tables = (yield* SeedDoctor.examine).find(({ name }) => name === "tables")
        assert.include(JSON.stringify(tables?.fix), "own dispatcher")
      }).pipe(Effect.provide(layerOf(Database.clientOf(url), { "1": seed(tenant("one")) })))
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT FROM kumiko_events")), [])
    }).pipe(fresh)
  )

  it.effect("are read by finders beside a dispatcher of the application's, whatever features are named", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.promise(() => query(theirs))
      const found: Array<string> = []
      const finds = Seed.make({
        description: "",
        run: Effect.map(SeedContext.findTenants, (tenants) => found.push(...tenants.map(({ tenantKey }) => tenantKey)))
      })
      const dispatcher = Layer.succeed(
        WriteDispatcher.WriteDispatcher,
        WriteDispatcher.WriteDispatcher.of({ write: () => Effect.die("unused") })
      )
      const over = Layer.provideMerge(Database.clientOf(url))
      yield* Effect.provide(apply(), over(EsOps.layer({ seeds: { "1": finds }, dispatcher })))
      const named = EsOps.layer({ seeds: { "2": finds }, dispatcher, features: [Identity.feature] })
      yield* Effect.provide(apply(), over(named))
      assert.deepStrictEqual(found, ["acme", "acme"])
    }).pipe(fresh)
  )
})
