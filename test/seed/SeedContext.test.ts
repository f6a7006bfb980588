/**
 * Every member of the context, in memory and on PostgreSQL; and what only a server can refuse.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Either, Layer, Option, Tracer } from "effect"
import { EsOps, Event, EventStore, Identity, Seed, SeedContext, SeedRunner, SeedSource } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { TestDatabase } from "../support/TestDatabase.js"
import * as Database from "../support/TestDatabase.js"

/** Runs a body as a seed, and gives what the body gave. */
const asSeed = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    let result: Option.Option<A> = Option.none()
    const run = Effect.map(body, (value) => {
      result = Option.some(value)
    })
    const seeds = SeedSource.layerRecord({ [`seed-${randomUUID()}`]: Seed.make({ description: "", run }) })
    yield* Effect.provide(SeedRunner.apply({ appliedBy: "cli" }), seeds)
    return Option.getOrThrow(result)
  })

const memory = EsOps.layerMemory({ seeds: {} })
const postgres = EsOps.layer({ seeds: {} }).pipe(
  Layer.provideMerge(Database.client()),
  Layer.provideMerge(Database.layer)
)

const write = SeedContext.systemWriteAs
const admin = { extraRoles: ["SystemAdmin"] }

const members = <E>(name: string, services: Layer.Layer<EsOps.Services, E>) =>
  layer(services, { excludeTestServices: true })(`SeedContext: ${name}`, (it) => {
    it.effect("writes through the identity feature, and finds what it wrote", () =>
      asSeed(
        Effect.gen(function* () {
          const acme = yield* write("tenant:write:create", { key: "acme", name: "Acme" })
          assert.deepInclude(acme, { key: "acme", name: "Acme" })
          const user = yield* SeedContext.write(Identity.createUser, { email: "a@example.com", tenantId: acme.id })
          const found = yield* SeedContext.findUserByEmail("a@example.com")
          assert.deepStrictEqual(found, Option.some({ id: user.id, email: "a@example.com", tenantId: acme.id }))
          assert.deepStrictEqual(yield* SeedContext.findUserByEmail("b@example.com"), Option.none())
          const membership = { userId: user.id, tenantId: acme.id, roles: ["Member"] }
          const added = yield* write("tenant:write:add-member", membership, { tenantId: acme.id, ...admin })
          assert.deepInclude(added, membership)
          const [before] = yield* SeedContext.findMembershipsOfUser(user.id)
          assert.deepStrictEqual(before, { ...membership, streamTenantId: acme.id })
          const wrong = yield* Effect.flip(write("tenant:write:update-member-roles", { ...membership, roles: ["X"] }))
          assert.deepInclude(wrong, { _tag: "WriteRejected", code: "version_conflict" })
          yield* write(
            "tenant:write:update-member-roles",
            { ...membership, roles: ["Member", "TenantAdmin"] },
            { tenantId: acme.id }
          )
          const [after] = yield* SeedContext.findMembershipsOfUser(user.id)
          assert.deepStrictEqual(after?.roles, ["Member", "TenantAdmin"])
          const store = yield* EventStore.EventStore
          const stream = yield* store.load({ tenantId: acme.id, aggregateId: added.id })
          assert.deepStrictEqual(
            stream.map(({ payload, type, version }) => [version, type, payload["roles"]]),
            [
              [1, "tenant-membership.created", ["Member"]],
              [2, "tenant-membership.updated", ["Member", "TenantAdmin"]]
            ]
          )
          const [created] = yield* store.load({ tenantId: Event.systemTenantId, aggregateId: acme.id })
          assert.deepInclude(created, {
            aggregateType: "tenant",
            type: "tenant.created",
            payload: { id: acme.id, key: "acme", name: "Acme" }
          })
        })
      )
    )

    const refusals: ReadonlyArray<readonly [string, string, unknown, SeedContext.WriteOptions | undefined]> = [
      ["unknown_handler", "tenant:write:destroy", {}, undefined],
      ["validation_error", "tenant:write:create", { key: "", name: "x" }, undefined],
      ["validation_error", "tenant:write:create", { key: "k".repeat(51), name: "x" }, undefined],
      ["validation_error", "tenant:write:create", { key: "k", name: "n".repeat(201) }, undefined],
      ["validation_error", "tenant:write:create", { id: "not a uuid", key: "k", name: "n" }, undefined],
      ["validation_error", "user:write:create", { email: "a@b.example", tenantId: "x" }, undefined],
      ["validation_error", "tenant:write:create", null, undefined],
      ["validation_error", "tenant:write:add-member", { userId: "u", tenantId: randomUUID(), roles: [] }, admin],
      ["access_denied", "tenant:write:add-member", { userId: "u", tenantId: randomUUID(), roles: ["R"] }, undefined],
      ["access_denied", "tenant:write:add-member", {}, { extraRoles: ["TenantAdmin"] }],
      [
        "not_found",
        "tenant:write:update-member-roles",
        { userId: "u", tenantId: randomUUID(), roles: ["R"] },
        undefined
      ]
    ]
    it.effect.each(refusals)("rejects a write with %s (%s)", ([code, handler, payload, options]) =>
      asSeed(
        Effect.gen(function* () {
          const rejected = yield* Effect.flip(write(handler, payload, options))
          assert.deepInclude(rejected, { _tag: "WriteRejected", handler, code })
          assert.include(rejected.message, handler)
        })
      )
    )

    it.effect("rejects a payload with one line a field", () =>
      asSeed(
        Effect.gen(function* () {
          const rejected = yield* Effect.flip(write("tenant:write:create", { key: "", name: 1 }, undefined))
          assert.include(
            rejected.message,
            'key: Expected a string at least 1 character(s) long, actual ""\nname: Expected string, actual 1'
          )
        })
      )
    )

    it.effect("rejects a write to an archived stream, and one of an id that is there", () =>
      asSeed(
        Effect.gen(function* () {
          const store = yield* EventStore.EventStore
          const [tenantId, userId] = [randomUUID(), randomUUID()]
          const membership = { userId, tenantId, roles: ["R"] }
          const { id } = yield* write("tenant:write:add-member", membership, { tenantId, ...admin })
          const again = yield* Effect.flip(write("tenant:write:add-member", membership, { tenantId, ...admin }))
          assert.deepInclude(again, { code: "conflict" })
          const tenant = { id: randomUUID(), key: randomUUID(), name: "n" }
          yield* write("tenant:write:create", tenant)
          const same = yield* Effect.flip(write("tenant:write:create", { ...tenant, key: randomUUID() }))
          assert.deepInclude(same, { code: "version_conflict" })
          // The read rows of a stream leave with it.
          yield* store.archive({ tenantId, aggregateId: id, aggregateType: "tenant-membership", archivedBy: "me" })
          const gone = yield* Effect.flip(write("tenant:write:update-member-roles", membership, { tenantId }))
          assert.deepInclude(gone, { code: "not_found" })
          const stream = { tenantId: Event.systemTenantId, aggregateId: tenant.id, aggregateType: "tenant" }
          yield* store.archive({ ...stream, archivedBy: "me" })
          const archived = yield* Effect.flip(write("tenant:write:create", tenant))
          assert.deepInclude(archived, { code: "stream_archived" })
        })
      )
    )

    it.effect("writes many payloads, all or none, each seeing the ones before", () =>
      asSeed(
        Effect.gen(function* () {
          const payloads = Array.from({ length: 2500 }, (_, n) => ({ key: `many-${n}`, name: `n${n}` }))
          const before = (yield* SeedContext.findTenants).length
          const written = yield* SeedContext.systemWriteAll("tenant:write:create", payloads)
          assert.deepStrictEqual(
            written.map((data) => data["key"]),
            payloads.map(({ key }) => key)
          )
          assert.strictEqual((yield* SeedContext.findTenants).length, before + 2500)
          const twice = [
            { key: "new", name: "n" },
            { key: "new", name: "n" }
          ]
          assert.deepInclude(yield* Effect.flip(SeedContext.systemWriteAll("tenant:write:create", twice)), {
            code: "conflict"
          })
          assert.strictEqual((yield* SeedContext.findTenants).length, before + 2500)
          assert.deepStrictEqual(yield* SeedContext.systemWriteAll("tenant:write:create", []), [])
        })
      )
    )
  })

members("memory", memory)
members("PostgreSQL", postgres)

layer(memory, { excludeTestServices: true })("SeedContext.query in memory", (it) => {
  it.effect("is unavailable", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* asSeed(Effect.flip(SeedContext.query("SELECT 1"))))._tag, "QueryUnavailable")
    })
  )
})

describe("SeedContext.query", () => {
  layer(postgres, { excludeTestServices: true })("on PostgreSQL", (it) => {
    it.effect("answers with rows, takes parameters, and sees the seed's own writes", () =>
      asSeed(
        Effect.gen(function* () {
          yield* write("tenant:write:create", { key: "seen", name: "Seen" })
          const rows = yield* SeedContext.query("SELECT name FROM read_tenants WHERE key = $1", ["seen"])
          assert.deepStrictEqual(rows, [{ name: "Seen" }])
          assert.deepStrictEqual(yield* SeedContext.query("/* a */ -- b\n (SELECT 1 AS one)"), [{ one: 1 }])
          assert.deepStrictEqual(yield* SeedContext.query("VALUES (1), (2)"), [{ column1: 1 }, { column1: 2 }])
          assert.strictEqual((yield* SeedContext.query("TABLE read_tenants")).length, 1)
          assert.deepStrictEqual(yield* SeedContext.query("SHOW transaction_isolation"), [
            { transaction_isolation: "read committed" }
          ])
          assert.isAbove((yield* SeedContext.query("EXPLAIN SELECT 1")).length, 0)
        })
      )
    )

    const smuggled: ReadonlyArray<string> = [
      "INSERT INTO target VALUES (1)",
      "UPDATE target SET n = 2",
      "DELETE FROM target",
      "TRUNCATE target",
      "DROP TABLE target",
      "CREATE TABLE another (n int)",
      "ALTER TABLE target ADD COLUMN m int",
      "COPY target FROM PROGRAM 'echo 1'",
      "CALL write_it_procedure()",
      "DO $$ BEGIN INSERT INTO target VALUES (1); END $$",
      "MERGE INTO target USING (VALUES (1)) AS v (n) ON false WHEN NOT MATCHED THEN INSERT VALUES (v.n)",
      "LOCK TABLE target",
      "COMMIT",
      "ROLLBACK",
      "RELEASE SAVEPOINT es_ops_1",
      "SAVEPOINT mine",
      "SET transaction_read_only = off",
      "PREPARE p AS INSERT INTO target VALUES (1)",
      "EXECUTE p",
      "",
      "; INSERT INTO target VALUES (1)",
      "WITH x AS (INSERT INTO target VALUES (1) RETURNING n) SELECT * FROM x",
      "WITH x AS (DELETE FROM target RETURNING n) SELECT * FROM x",
      "SELECT 1 AS n INTO another",
      "SELECT write_it()",
      "SELECT * FROM target FOR UPDATE",
      "SELECT nextval('counter')",
      "SELECT setval('counter', 100)",
      "SELECT set_config('transaction_read_only', 'off', false)",
      "SELECT 1; INSERT INTO target VALUES (1)",
      "SELECT 1; ROLLBACK TO SAVEPOINT es_ops_1; INSERT INTO target VALUES (1); SAVEPOINT es_ops_1",
      "SELECT 1; COMMIT; INSERT INTO target VALUES (1)",
      "EXPLAIN ANALYZE INSERT INTO target VALUES (1)",
      "EXPLAIN ANALYZE SELECT write_it()",
      "EXPLAIN ANALYZE CREATE TABLE another AS SELECT 1",
      "(WITH x AS (INSERT INTO target VALUES (1) RETURNING n) SELECT * FROM x)",
      "/* /* nested */ */ INSERT INTO target VALUES (1)",
      "-- SELECT\nINSERT INTO target VALUES (1)",
      "TABLE target; DELETE FROM target",
      "VALUES (write_it())",
      "SELECT query_to_xml('INSERT INTO target VALUES (1)', true, true, '')",
      "SELECT lo_from_bytea(4711, 'x')",
      "SELECT pg_notify('channel', 'x')"
    ]
    it.effect("lets no write through, whatever is tried, and the seed goes on each time", () =>
      Effect.gen(function* () {
        const { query } = yield* TestDatabase
        yield* Effect.promise(() =>
          query(`CREATE TABLE target (n int); INSERT INTO target VALUES (0); CREATE SEQUENCE counter;
            CREATE FUNCTION write_it() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO target VALUES (1); RETURN 1; END $$;
            CREATE PROCEDURE write_it_procedure() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO target VALUES (1); END $$`)
        )
        assert.isAtLeast(smuggled.length, 30)
        // Before 16 large objects could be written in a read-only transaction (PostgreSQL 16 release notes).
        const [server] = yield* Effect.promise(() =>
          query("SELECT current_setting('server_version_num')::int AS version")
        )
        const answered =
          Number(server?.["version"]) < 160000
            ? /pg_notify|EXPLAIN ANALYZE CREATE|lo_from_bytea/
            : /pg_notify|EXPLAIN ANALYZE CREATE/
        yield* asSeed(
          Effect.forEach(smuggled, (text) =>
            Effect.gen(function* () {
              const result = yield* Effect.either(SeedContext.query(text))
              // What the server does not count as a write is answered, and undone with the savepoint like everything else.
              if (Either.isRight(result)) assert.match(text, answered, `answered: ${text}`)
              else assert.include(["ReadOnlyViolation", "QueryFailed"], result.left._tag, text)
              // Still in the seed's transaction, still able to write.
              yield* write("tenant:write:create", { key: randomUUID().slice(0, 8), name: text.slice(0, 20) || "-" })
              const sql = yield* SqlClient.SqlClient
              assert.deepStrictEqual(yield* sql`SHOW transaction_read_only`, [{ transaction_read_only: "off" }])
            })
          )
        )
        assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT n FROM target")), [{ n: 0 }])
        assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT is_called FROM counter")), [
          { is_called: false }
        ])
        const made = yield* Effect.promise(() =>
          query("SELECT to_regclass('another')::text AS a, (SELECT count(*)::int FROM pg_largeobject_metadata) AS lo")
        )
        assert.deepStrictEqual(made, [{ a: null, lo: 0 }])
      })
    )

    it.effect("says what was wrong with a query that the server refuses", () =>
      asSeed(
        Effect.gen(function* () {
          const missing = yield* Effect.flip(SeedContext.query("SELECT * FROM nowhere"))
          assert.deepInclude(missing, { _tag: "QueryFailed", code: Option.some("42P01") })
          assert.include(missing.message, "nowhere")
          const written = yield* Effect.flip(
            SeedContext.query("WITH x AS (DELETE FROM read_tenants RETURNING id) SELECT * FROM x")
          )
          assert.deepInclude(written, { _tag: "ReadOnlyViolation", code: Option.some("25006") })
          const unsent = yield* Effect.flip(SeedContext.query("DELETE FROM read_tenants"))
          assert.deepInclude(unsent, { _tag: "ReadOnlyViolation", code: Option.none() })
        })
      )
    )
  })
})

layer(postgres, { excludeTestServices: true })("the spans of a write", (it) => {
  it.effect("are within the seed's own, or within the step where it is run by a fiber that has none", () =>
    asSeed(
      Effect.gen(function* () {
        const parents: Array<string> = []
        const native = yield* Effect.tracer
        const tracer = Tracer.make({
          context: (f, fiber) => native.context(f, fiber),
          span: (name, parent, ...rest) => {
            const of = Option.match(parent, {
              onNone: () => "none",
              onSome: (span) => ("name" in span ? span.name : "")
            })
            if (name === "WriteDispatcher.writeAll") parents.push(of)
            return native.span(name, parent, ...rest)
          }
        })
        const context = yield* SeedContext.SeedContext
        const tenant = (key: string) =>
          Effect.withTracer(context.systemWriteAs("tenant:write:create", { key, name: key }), tracer)
        yield* Effect.withSpan(tenant("in-a-span"), "own")
        yield* Effect.promise(() => Effect.runPromise(tenant("outside")))
        assert.deepStrictEqual(parents, ["own", "Transactor.step"])
      })
    )
  )
})
