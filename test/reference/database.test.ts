/**
 * On a database that the reference created: it stays as it is, its markers count, and ours are what it expects.
 */
import { assert, describe, it } from "@effect/vitest"
import { admin, bundled, database, decodeApply, decodeStatus, tenant, untilTrue } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Reference from "../support/Reference.js"
import * as Database from "../support/TestDatabase.js"

const seeds = {
  "seeds/1-theirs.mjs": tenant("theirs"),
  "seeds/2-ours.mjs": Projects.seedSource(`
    const acme = yield* SeedContext.systemWriteAs("tenant:write:create", { key: "acme", name: "Acme" })
    const user = yield* SeedContext.systemWriteAs("user:write:create", { email: "a@example.com", tenantId: acme.id })
    const membership = { userId: user.id, tenantId: acme.id, roles: ["Member"] }
    yield* SeedContext.systemWriteAs("tenant:write:add-member", membership, { tenantId: acme.id, extraRoles: ["SystemAdmin"] })
    yield* SeedContext.systemWriteAs("tenant:write:update-member-roles", { ...membership, roles: ["Admin"] }, { tenantId: acme.id })`)
}

const theirMarker = `INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by, notes)
  VALUES ('1-theirs', 'seed-migration', 12, 'boot', 'their notes')`

describe("a database of the reference", () => {
  it.each(["absent", "valid", "INVALID"])(
    "is applied to and stays as it is, with extra columns, grants, a policy, and the idempotency index %s",
    async (index) => {
      const { env, name, query } = await database()
      const role = `app_${name}`
      await query(`${Reference.tables}; ${Reference.readTables}; ${theirMarker}`)
      if (index !== "absent") await query(Reference.idempotencyIndex)
      if (index === "INVALID") {
        await query("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_idempotency_uq'::regclass")
      }
      await query(`CREATE INDEX their_own_idx ON kumiko_events (type);
        CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT CREATE ON SCHEMA public TO ${role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role};
        ALTER TABLE kumiko_events ENABLE ROW LEVEL SECURITY;
        CREATE POLICY their_policy ON kumiko_events TO ${role} USING (current_setting('app.closed', true) IS DISTINCT FROM 'yes')`)
      const before = await query(Reference.dump)
      assert.isAbove(before.length, 40)
      const { run } = await bundled(seeds)
      const asRole = { DATABASE_URL: Database.url(name, role, "pw") }
      const dry = await run(["seed:apply", "--dry-run"], asRole)
      assert.strictEqual(dry.code, 0, dry.stderr)
      const { code, stderr, stdout } = await run(["seed:apply", "--json"], asRole)
      assert.strictEqual(code, 0, stderr)
      assert.deepStrictEqual(
        decodeApply(stdout).applied.map(({ events, id }) => [id, events]),
        [["2-ours", 4]]
      )
      await run(["seed:unmark", "2-ours", "--reason", "x"], asRole)
      await run(["seed:mark", "2-ours", "--reason", "y"], asRole)
      assert.deepStrictEqual(await query(Reference.dump), before)
      assert.deepStrictEqual(
        await query("SELECT tableowner AS by FROM pg_tables WHERE tablename = 'es_ops_attempts'"),
        [{ by: role }]
      )
      assert.deepStrictEqual(await query("SELECT roles FROM read_tenant_memberships"), [{ roles: '["Admin"]' }])
      const status = decodeStatus((await run(["seed:status", "--json"], env)).stdout)
      assert.deepStrictEqual(
        status.seeds.map(({ appliedBy, description, durationMs, id, state }) => [
          id,
          state,
          appliedBy,
          description,
          durationMs
        ]),
        [
          ["1-theirs", "applied", "boot", "their notes", 12],
          ["2-ours", "applied", "cli", "a seed of a test", 0]
        ]
      )
      await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  )

  it("gets markers as the reference writes and reads them", async () => {
    const { env, query } = await database()
    await query(`${Reference.tables}; ${Reference.readTables}`)
    const { run } = await bundled({ "seeds/1.mjs": tenant("one") })
    await run(["seed:apply"], { ...env, ES_OPS_APPLIED_BY: "ci-pipeline" })
    const [marker] = await query("SELECT * FROM kumiko_es_operations")
    assert.deepInclude(marker, {
      id: "1",
      operation_type: "seed-migration",
      applied_by: "ci-pipeline",
      notes: "a seed of a test"
    })
    assert.isTrue(Number.isInteger(marker?.["duration_ms"]))
    assert.instanceOf(marker?.["applied_at"], Date)
  })

  it("is found by the search path, and what is missing is created where it says", async () => {
    const { env, name, query } = await database()
    await query(`CREATE SCHEMA theirs; SET search_path = theirs; ${Reference.tables}; ${Reference.readTables};
      ${theirMarker}; ALTER DATABASE ${name} SET search_path = theirs, public`)
    const { run } = await bundled(seeds)
    const { code, stderr, stdout } = await run(["seed:apply", "--json"], env)
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      decodeApply(stdout).applied.map(({ id }) => id),
      ["2-ours"]
    )
    assert.deepStrictEqual(
      await query("SELECT schemaname AS schema FROM pg_tables WHERE tablename ~ '^(kumiko|read_|es_ops)' GROUP BY 1"),
      [{ schema: "theirs" }]
    )
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM theirs.kumiko_events"), [{ n: 4 }])
  })

  it.each(["pg_advisory_xact_lock", "pg_advisory_lock"])(
    "is waited for while a session holds %s, whose holder is named",
    async (lock) => {
      const { env, url } = await database()
      const { start } = await bundled({ "seeds/1.mjs": tenant("one") })
      await admin(async (holder) => {
        await holder.query(`SET application_name = 'the reference'; BEGIN; SELECT ${lock}(1702063984)`)
        const waiting = start(["seed:apply"], env)
        await waiting.says("(the reference)")
        await holder.query("COMMIT")
        if (lock === "pg_advisory_lock") await holder.query("SELECT pg_advisory_unlock(1702063984)")
        assert.strictEqual((await waiting.result).code, 0)
      }, url)
    }
  )

  it("makes a session of the reference wait while a seed runs, until its marker is there", async () => {
    const { env, query, url } = await database()
    const { start } = await bundled({
      "seeds/1.mjs": Projects.seedSource(`yield* Effect.log("inside")
    yield* Effect.repeat(sql\`SELECT 1 FROM go\`, { until: (rows) => rows.length > 0 })`)
    })
    await query("CREATE TABLE go (n integer)")
    const running = start(["seed:apply"], env)
    await running.says("inside")
    await admin(async (other) => {
      const got = other.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984); SELECT id FROM kumiko_es_operations")
      await untilTrue(() =>
        query(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`)
      )
      await query("INSERT INTO go VALUES (1)")
      const results: unknown = await got
      assert.deepStrictEqual(Array.isArray(results) ? results[2].rows : results, [{ id: "1" }])
    }, url)
    assert.strictEqual((await running.result).code, 0)
  })
})

describe("old rows", () => {
  const ids = { tenant: "10000000-0000-4000-8000-000000000001", other: "10000000-0000-4000-8000-000000000002" }
  const membership = "20000000-0000-4000-8000-000000000001"

  it("with a jsonb string for an object are read as objects, by streams, finders and projections", async () => {
    const { env, query } = await database()
    await query(`${Reference.tables}; ${Reference.readTables};
      INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by) VALUES
        ('${membership}', 'tenant-membership', '${ids.other}', 1, 'tenant-membership.created',
          to_jsonb('{"userId":"u","tenantId":"${ids.tenant}","roles":["Member"]}'::text), to_jsonb('{"userId":"u"}'::text), 'u'),
        ('20000000-0000-4000-8000-000000000002', 'tenant-membership', '${ids.other}', 1, 'tenant-membership.created', '{}', '{}', 'u'),
        ('20000000-0000-4000-8000-000000000003', 'tenant-membership', '${ids.tenant.replace(/1$/, "3")}', 1,
          'tenant-membership.created', '{}', '{}', 'u');
      INSERT INTO read_tenant_memberships (id, user_id, tenant_id, roles) VALUES
        ('${membership}', 'u', '${ids.tenant}', '["Member"]'),
        ('20000000-0000-4000-8000-000000000002', 'u', '${ids.other}', 'not json'),
        ('20000000-0000-4000-8000-000000000003', 'u', '${ids.tenant.replace(/1$/, "3")}', '{"a":1}')`)
    const seed = `
import { Effect } from "effect"
import { EventStore, Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "",
  run: Effect.gen(function* () {
    const store = yield* EventStore.EventStore
    const [event] = yield* store.load({ tenantId: "${ids.other}", aggregateId: "${membership}" })
    yield* Effect.log("payload " + event.payload.userId + " metadata " + event.metadata.userId)
    const found = yield* SeedContext.findMembershipsOfUser("u")
    yield* Effect.log(JSON.stringify(found.map(({ roles, streamTenantId, tenantId }) => [tenantId.slice(-1), streamTenantId.slice(-1), roles])))
    const payload = { userId: "u", tenantId: "${ids.tenant}", roles: ["Member", "Admin"] }
    const update = (tenantId) => SeedContext.systemWriteAs("tenant:write:update-member-roles", payload, { tenantId })
    const wrong = yield* Effect.flip(update("${ids.tenant}"))
    yield* Effect.log("wrong stream: " + wrong.code)
    yield* update("${ids.other}")
  })
})`
    const { run } = await bundled({ "seeds/1.mjs": seed })
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, "payload u metadata u")
    assert.include(stderr, '[["1","2",["Member"]],["2","2",[]],["3","3",[]]]')
    assert.include(stderr, "wrong stream: version_conflict")
    assert.deepStrictEqual(
      await query(`SELECT tenant_id, version FROM kumiko_events WHERE aggregate_id = '${membership}' ORDER BY id`),
      [
        { tenant_id: ids.other, version: 1 },
        { tenant_id: ids.other, version: 2 }
      ]
    )
    assert.deepStrictEqual(await query(`SELECT roles FROM read_tenant_memberships WHERE id = '${membership}'`), [
      { roles: '["Member","Admin"]' }
    ])
  })
})
