/**
 * A unique violation by the index that it is of: what the stream's is, what an idempotency key's is, and what is neither.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either } from "effect"
import { EventStore, Seed } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { apply, event, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Reference from "../../support/Reference.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const [tenantId, aggregateId, other] = [randomUUID(), randomUUID(), randomUUID()]

/** Appends an event, while another connection has one of the same version, or key, that it commits meanwhile. */
const raced = (against: "stream" | "key", ddl: string) =>
  Effect.gen(function* () {
    const { connect, query, url } = yield* TestDatabase
    yield* Effect.promise(() => query(ddl))
    const rival = yield* Effect.promise(connect)
    const id = against === "stream" ? aggregateId : other
    yield* Effect.promise(() =>
      rival.query(`BEGIN; INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
        VALUES ('${id}', 'thing', '${tenantId}', 1, 'theirs', '{}', '{"userId": "u", "idempotencyKey": "k"}', 'u')`)
    )
    const metadata = { userId: "u", ...(against === "key" ? { idempotencyKey: "k" } : {}) }
    const made = { tenantId, aggregateType: "thing", version: 1, type: "ours", eventVersion: 1, payload: {} }
    const append = Effect.flatMap(EventStore.EventStore, (store) =>
      store.append([
        { ...made, aggregateId: randomUUID(), metadata: { userId: "u" } },
        { ...made, aggregateId, metadata }
      ])
    )
    const waits = Effect.promise(() =>
      query(
        "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND locktype = 'transactionid' AND datname = current_database()"
      )
    ).pipe(Effect.repeat({ until: (found) => found.length > 0 }))
    const commit = Effect.zipRight(
      waits,
      Effect.promise(() => rival.query("COMMIT"))
    )
    const [failed] = yield* Effect.all([Effect.flip(append), commit], { concurrency: 2 }).pipe(
      Effect.provide(layerOf(Database.clientOf(url), {}))
    )
    return failed
  }).pipe(fresh)

const ofPartitions = `${Reference.tables
  .replace(/created_by text NOT NULL\);/, "created_by text NOT NULL) PARTITION BY HASH (tenant_id);")
  .replace("id bigserial PRIMARY KEY", "id bigserial NOT NULL")}; ${Reference.idempotencyIndex};
  ALTER TABLE kumiko_events ADD PRIMARY KEY (id, tenant_id);
  CREATE TABLE kumiko_events_only PARTITION OF kumiko_events FOR VALUES WITH (MODULUS 1, REMAINDER 0)`

const renamed = `${Reference.tables}; ${Reference.idempotencyIndex};
  ALTER INDEX events_aggregate_version_uq RENAME TO "a stream's";
  ALTER INDEX events_idempotency_uq RENAME TO events_aggregate_version_uq`

/** Appends an event of no feature where this was done before; gives what became of it. */
const appended = (ddl: string, more?: string) =>
  Effect.gen(function* () {
    const { query, url } = yield* TestDatabase
    yield* Effect.promise(() => query(ddl))
    const append = Effect.zipRight(
      event("thing.done"),
      more === undefined
        ? event("thing.done")
        : Effect.zipRight(
            Effect.promise(() => query(more)),
            event("thing.done")
          )
    )
    const result = yield* Effect.either(Effect.provide(append, layerOf(Database.clientOf(url), {})))
    return Either.match(result, { onLeft: (error) => error, onRight: () => undefined })
  }).pipe(fresh)

describe("an event that a unique index refuses", () => {
  it.effect.each([
    ["of another name", renamed],
    ["of a partition", ofPartitions]
  ] as const)("is a VersionConflict of its own stream by the index on the stream and its version, %s", ([, ddl]) =>
    Effect.gen(function* () {
      assert.deepInclude(yield* raced("stream", ddl), { _tag: "VersionConflict", tenantId, aggregateId, expected: 0 })
    })
  )

  it.effect.each([
    ["of another name", renamed],
    ["of a partition", ofPartitions]
  ] as const)("is an IdempotencyConflict of its key by the index on the tenant and the key, %s", ([, ddl]) =>
    Effect.gen(function* () {
      assert.deepInclude(yield* raced("key", ddl), { _tag: "IdempotencyConflict", tenantId, idempotencyKey: "k" })
    })
  )

  it.effect("is a DatabaseError that names the sequence where its number is taken, alone and as a seed", () =>
    Effect.gen(function* () {
      const behind = "SELECT setval('kumiko_events_id_seq', 1, false)"
      const failed = yield* appended(Reference.tables, behind)
      assert.strictEqual(failed?._tag, "DatabaseError")
      assert.match(failed?.message ?? "", /kumiko_events_pkey.*the sequence .* is behind.*SELECT setval\(/)
      const { query, url } = yield* TestDatabase
      const layer = layerOf(Database.clientOf(url), { "1": seed(tenant("one")), "2": seed(tenant("two")) })
      yield* Effect.promise(() => query(`${Reference.tables}; ${Reference.readTables}`))
      yield* Effect.promise(() =>
        query(`INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
          VALUES (gen_random_uuid(), 'thing', gen_random_uuid(), 1, 'theirs', '{}', '{"userId": "u"}', 'u'); ${behind}`)
      )
      const error = yield* Effect.provide(Effect.flip(apply()), layer)
      assert.strictEqual(error._tag, "SeedFailed")
      assert.match(error.message, /the sequence .* is behind/)
      assert.notMatch(error.message, /version_conflict|VersionConflict|expected version/)
      const [, fix = ""] = /set it: (SELECT setval.*\)\))\)/.exec(error.message) ?? []
      yield* Effect.promise(() => query(fix))
      const { outcomes } = yield* Effect.provide(apply(), layer)
      assert.lengthOf(outcomes, 2)
    }).pipe(fresh)
  )

  it.effect(
    "is a DatabaseError that names the sequence of the attempts where that is behind, and no fault of the seed's",
    () =>
      Effect.gen(function* () {
        const { query, url } = yield* TestDatabase
        const outside = Seed.make({ description: "", transaction: "none", idempotent: true, run: Effect.void })
        const applying = (third?: Seed.Seed<unknown>) =>
          Effect.provide(
            apply(),
            layerOf(Database.clientOf(url), {
              "1": seed(Effect.void),
              "2": seed(Effect.void),
              ...(third === undefined ? {} : { "3": third })
            })
          )
        yield* applying()
        let fix = ""
        for (const third of [seed(Effect.void), outside]) {
          yield* Effect.promise(() => query("SELECT setval('es_ops_attempts_id_seq', 1, false)"))
          const error = yield* Effect.flip(applying(third))
          assert.strictEqual(error._tag, "DatabaseError", error.message)
          fix = /es_ops_attempts_pkey.*set it: (SELECT setval.*\)\))\)/.exec(error.message)?.[1] ?? error.message
        }
        yield* Effect.promise(() => query(fix))
        assert.lengthOf((yield* applying(outside)).outcomes, 1)
      }).pipe(fresh)
  )

  it.effect(
    "is a DatabaseError that names the constraint where that is another, of the table or behind a trigger",
    () =>
      Effect.gen(function* () {
        const own = yield* appended(`${Reference.tables}; CREATE UNIQUE INDEX one_of_each ON kumiko_events (type)`)
        assert.strictEqual(own?._tag, "DatabaseError")
        assert.include(own?.message, "one_of_each")
        const audit = yield* appended(`${Reference.tables};
        CREATE TABLE audit (tenant_id text, aggregate_id text, version text, CONSTRAINT audited UNIQUE (tenant_id, aggregate_id, version));
        CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN INSERT INTO audit VALUES ('same', 'same', 'same'); RETURN NEW; END $$;
        CREATE TRIGGER audit BEFORE INSERT ON kumiko_events FOR EACH ROW EXECUTE FUNCTION audit()`)
        assert.strictEqual(audit?._tag, "DatabaseError")
        assert.include(audit?.message, "audited")
      })
  )
})

describe("a row of a read table that a unique index refuses", () => {
  it.effect("is not said to be a tenant key that is taken where the index is on something else", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.promise(() =>
        query(`${Reference.tables}; ${Reference.readTables}; CREATE UNIQUE INDEX one_name ON read_tenants (name)`)
      )
      const seeds = { "1": seed(tenant("one", "same")), "2": seed(tenant("two", "same")) }
      const error = yield* Effect.provide(Effect.flip(apply()), layerOf(Database.clientOf(url), seeds))
      assert.include(error.message, "one_name")
      assert.notInclude(error.message, 'tenant key "two"')
    }).pipe(fresh)
  )
})
