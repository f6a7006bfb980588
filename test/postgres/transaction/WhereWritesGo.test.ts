/**
 * Seeds whose session, or whose database, would take events and rows of read tables elsewhere or not at all.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option } from "effect"
import { EsOps, EventStore, Seed, SeedContext, SeedRunner } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import type { Seeds } from "../../support/Applying.js"
import { apply, event, fresh, layerOf, quiet, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const applying = (client: Layer.Layer<SqlClient.SqlClient>, seeds: Seeds) =>
  Effect.exit(Effect.provide(apply(), layerOf(client, seeds)))

const applied = (seeds: Seeds) => Effect.flatMap(TestDatabase, ({ url }) => applying(Database.clientOf(url), seeds))

const rows = (text: string) => Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(text)))

const texts = (...all: ReadonlyArray<string>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.forEach(all, (text) => sql.unsafe(text), { discard: true }))

const outside = <E, R>(run: Effect.Effect<unknown, E, R>) =>
  Seed.make({ description: "", transaction: "none", idempotent: true, run })

const stream = { tenantId: randomUUID(), aggregateId: randomUUID(), aggregateType: "thing" }

const things = (first: number, count: number) =>
  Effect.flatMap(EventStore.EventStore, (store) => {
    const [one, ...more] = Array.from({ length: count }, (_, n) => ({
      ...stream,
      version: first + n,
      type: "happened",
      eventVersion: 1,
      payload: { n },
      metadata: { userId: "somebody" }
    }))
    return one === undefined ? Effect.void : store.append([one, ...more])
  })

const ours = ["kumiko_events", "kumiko_archived_streams", "read_tenants", "read_users", "read_tenant_memberships"]

const shadows = [
  ...ours.map((table) => `CREATE TEMP TABLE ${table} (LIKE ${table} INCLUDING ALL)`),
  "SET search_path = pg_temp"
]

const admin = { extraRoles: ["SystemAdmin"] }

/** Every statement of the event store and the finders, behind these texts. */
const writes = (before: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* texts(...before)
    const { id } = yield* tenant("two")
    const tenantId = String(id)
    const user = yield* SeedContext.systemWriteAs("user:write:create", { email: "a@example.com", tenantId })
    const member = { userId: String(user.id), tenantId }
    yield* SeedContext.systemWriteAs("tenant:write:add-member", { ...member, roles: ["User"] }, admin)
    yield* SeedContext.systemWriteAs("tenant:write:update-member-roles", { ...member, roles: ["Admin"] }, admin)
    assert.isTrue(Option.isSome(yield* SeedContext.findUserByEmail("a@example.com")))
    assert.deepStrictEqual(
      (yield* SeedContext.findMembershipsOfUser(member.userId)).map(({ roles }) => roles),
      [["Admin"]]
    )
    assert.deepStrictEqual(
      (yield* SeedContext.findTenants).map(({ tenantKey }) => tenantKey),
      ["one", "two"]
    )
    const store = yield* EventStore.EventStore
    yield* things(1, 2)
    yield* store.archive({ ...stream, archivedBy: "somebody" })
    assert.strictEqual(yield* store.version(stream), 2)
    assert.lengthOf(yield* store.load(stream), 2)
    assert.strictEqual((yield* Effect.flip(things(3, 1)))._tag, "StreamArchived")
  })

const counts = ours.map((table) => `(SELECT count(*)::int FROM public.${table}) AS ${table}`).join(", ")

const complete = {
  kumiko_events: 7,
  kumiko_archived_streams: 1,
  read_tenants: 2,
  read_users: 1,
  read_tenant_memberships: 1
}

describe("the writes of a seed", () => {
  for (const [title, make] of [
    ["in a transaction", seed],
    ["outside any transaction", outside]
  ] as const) {
    it.effect(`go where the claim looked, whatever temporary tables and search path it has: ${title}`, () =>
      Effect.gen(function* () {
        const setUp = yield* applied({ a: seed(tenant("one")) })
        assert.isTrue(Exit.isSuccess(setUp), String(setUp))
        const exit = yield* applied({ a: seed(Effect.void), b: make(writes(shadows)) })
        assert.isTrue(Exit.isSuccess(exit), String(exit))
        assert.deepStrictEqual(yield* rows(`SELECT ${counts}`), [complete])
      }).pipe(fresh)
    )

    it.live(`go there in an embedded database as well: ${title}`, () =>
      Effect.gen(function* () {
        const client = Layer.orDie(EsOps.layerEmbedded())
        const sql = Effect.flatMap(SqlClient.SqlClient, (found) => found.unsafe(`SELECT ${counts}`))
        const kept = Effect.flatMap(sql, (found) => Effect.sync(() => assert.deepStrictEqual(found, [complete])))
        const exit = yield* applying(client, { a: seed(tenant("one")), b: make(writes(shadows)), c: seed(kept) })
        assert.isTrue(Exit.isSuccess(exit), String(exit))
      })
    )
  }

  it.effect("go to a table of the name that an earlier seed made, as the claim finds it", () =>
    Effect.gen(function* () {
      const own = texts(
        "DO $$ BEGIN EXECUTE format('CREATE SCHEMA %I', current_user); END $$",
        "DO $$ BEGIN EXECUTE format('CREATE TABLE %I.kumiko_events (LIKE public.kumiko_events INCLUDING ALL)', current_user); END $$",
        "SELECT 1"
      )
      const exit = yield* applied({ a: seed(Effect.zipRight(own, event("first"))), b: seed(event("second")) })
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.deepStrictEqual(yield* rows("SELECT type FROM public.kumiko_events"), [{ type: "first" }])
      assert.deepStrictEqual(yield* rows("SELECT type FROM kumiko_events"), [{ type: "second" }])
    }).pipe(fresh)
  )
})

const returning = (body: string) => `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} END $$`

const before = (table: string) =>
  `CREATE TRIGGER t BEFORE INSERT OR UPDATE ON ${table} FOR EACH ROW EXECUTE FUNCTION f()`

const instead = (table: string) => `CREATE RULE r AS ON INSERT TO ${table} DO INSTEAD NOTHING`

const archiving = Effect.flatMap(EventStore.EventStore, (store) => store.archive({ ...stream, archivedBy: "somebody" }))

/** Behind the rows, where RETURNING does not see what becomes of them. */
const after = (table: string, change: string) => [
  returning(`${change}; RETURN NULL;`),
  `CREATE TRIGGER t AFTER INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION f()`
]

/** The same at COMMIT, behind everything else. */
const late = (change: string, table = "kumiko_events") => [
  returning(`${change}; RETURN NULL;`).replace("CREATE", "CREATE OR REPLACE"),
  `CREATE CONSTRAINT TRIGGER t AFTER INSERT ON ${table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()`
]

const altered: ReadonlyArray<
  readonly [
    table: string,
    statements: ReadonlyArray<string>,
    write: Effect.Effect<unknown, unknown, EventStore.EventStore | SeedContext.SeedContext>
  ]
> = [
  ...["NEW.payload := '{}';", "NEW.metadata := '{}';", "NEW.type := 'x';", "NEW.aggregate_type := 'x';"].flatMap(
    (change) =>
      [1, 3].map((count): (typeof altered)[number] => [
        "kumiko_events",
        [returning(`${change} RETURN NEW;`), before("kumiko_events")],
        things(1, count)
      ])
  ),
  ...[
    after("kumiko_events", "DELETE FROM kumiko_events WHERE id = NEW.id"),
    after("kumiko_events", "UPDATE kumiko_events SET payload = '{}' WHERE id = NEW.id"),
    late("DELETE FROM kumiko_events WHERE id = NEW.id"),
    late("UPDATE kumiko_events SET payload = '{}' WHERE id = NEW.id"),
    [
      "CREATE TABLE IF NOT EXISTS elsewhere (LIKE kumiko_events INCLUDING ALL)",
      "CREATE RULE r AS ON INSERT TO kumiko_events DO INSTEAD INSERT INTO elsewhere VALUES (NEW.*) RETURNING *"
    ]
  ].flatMap((statements) =>
    [1, 3].map((count): (typeof altered)[number] => ["kumiko_events", statements, things(1, count)])
  ),
  ["kumiko_archived_streams", after("kumiko_archived_streams", "DELETE FROM kumiko_archived_streams"), archiving],
  ["kumiko_archived_streams", late("DELETE FROM kumiko_archived_streams", "kumiko_archived_streams"), archiving],
  ["read_tenants", after("read_tenants", "DELETE FROM read_tenants WHERE id = NEW.id"), tenant("two")],
  ...[
    tenant("two"),
    SeedContext.systemWriteAll(
      "tenant:write:create",
      ["two", "three"].map((key) => ({ key, name: key }))
    )
  ].map((write): (typeof altered)[number] => [
    "read_tenants",
    late("DELETE FROM read_tenants WHERE key = 'two'", "read_tenants"),
    write
  ]),
  ["kumiko_events", [returning("RETURN NULL;"), before("kumiko_events")], things(1, 3)],
  ["kumiko_events", [instead("kumiko_events")], things(1, 1)],
  ["kumiko_events", [instead("kumiko_events")], things(1, 3)],
  ["kumiko_archived_streams", [returning("RETURN NULL;"), before("kumiko_archived_streams")], archiving],
  ["kumiko_archived_streams", [instead("kumiko_archived_streams")], archiving],
  ["read_tenants", [returning("RETURN NULL;"), before("read_tenants")], tenant("two")],
  ["read_tenants", [instead("read_tenants")], tenant("two")],
  [
    "read_tenants",
    [returning("IF NEW.key = 'c' THEN RETURN NULL; END IF; RETURN NEW;"), before("read_tenants")],
    SeedContext.systemWriteAll(
      "tenant:write:create",
      ["b", "c", "d"].map((key) => ({ key, name: key }))
    )
  ]
]

describe("a write whose row is not stored as it is sent", () => {
  it.effect("fails its seed, and names the table", () =>
    Effect.gen(function* () {
      const setUp = yield* applied({ a: seed(tenant("one")) })
      assert.isTrue(Exit.isSuccess(setUp), String(setUp))
      for (const [table, statements, write] of altered) {
        yield* rows(statements.join("; "))
        const exit = yield* applied({ a: seed(Effect.void), b: seed(write) })
        assert.include(String(exit), `${table} did not store the row as it was sent`, statements.join("; "))
        assert.notInclude(String(exit), "invalid input syntax", statements.join("; "))
        yield* rows(`DROP FUNCTION IF EXISTS f CASCADE; DROP RULE IF EXISTS r ON ${table}`)
      }
      assert.deepStrictEqual(yield* rows("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
      const exit = yield* applied({ a: seed(Effect.void), b: seed(tenant("one")) })
      assert.include(String(exit), "is taken")
      // A deferred trigger that takes nothing away is in nobody's way, whatever the body undoes itself.
      yield* rows(late("PERFORM 1").join("; "))
      const undone = Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.ignore(sql.withTransaction(Effect.zipRight(things(2, 1), Effect.fail("no"))))
      )
      const kept = yield* applied({ a: seed(Effect.void), b: seed(Effect.zipRight(things(1, 1), undone)) })
      assert.isTrue(Exit.isSuccess(kept), String(kept))
    }).pipe(fresh)
  )

  it.effect("fails it for a deferred trigger in a dry run and outside any transaction as well", () =>
    Effect.gen(function* () {
      const setUp = yield* applied({ a: seed(tenant("one")) })
      assert.isTrue(Exit.isSuccess(setUp), String(setUp))
      for (const table of ["kumiko_events", "read_tenants"]) {
        yield* rows(late(`DELETE FROM ${table} WHERE id = NEW.id`, table).join("; "))
        const { url } = yield* TestDatabase
        const dry = SeedRunner.dryRun({ appliedBy: "boot", observer: quiet })
        const client = Database.clientOf(url)
        const exits = [
          yield* Effect.exit(Effect.provide(dry, layerOf(client, { a: seed(Effect.void), b: seed(tenant("two")) }))),
          yield* applied({ a: seed(Effect.void), b: outside(tenant("two")) })
        ]
        for (const exit of exits) {
          assert.include(String(exit), `${table} did not store the row as it was sent`)
          assert.include(String(exit), "es-ops doctor names a trigger")
          assert.notInclude(String(exit), "invalid input syntax")
        }
        yield* rows("DROP FUNCTION f CASCADE; DELETE FROM kumiko_es_operations WHERE id = 'b'")
      }
      assert.deepStrictEqual(yield* rows("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 1 }])
    }).pipe(fresh)
  )

  it.effect("is one that a deferred trigger takes away, and not one that the seed itself removes or changes", () =>
    Effect.gen(function* () {
      const setUp = yield* applied({ a: seed(tenant("one")) })
      assert.isTrue(Exit.isSuccess(setUp), String(setUp))
      for (const table of ["read_tenants", "kumiko_archived_streams"]) yield* rows(late("PERFORM 1", table).join("; "))
      const body = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* Effect.ignore(sql.withTransaction(Effect.zipRight(tenant("undone"), Effect.fail("no"))))
        yield* tenant("removed")
        yield* sql`DELETE FROM read_tenants WHERE key = 'removed'`
        yield* tenant("changed")
        yield* sql`UPDATE read_tenants SET name = 'other' WHERE key = 'changed'`
        yield* archiving
        yield* sql`DELETE FROM kumiko_archived_streams`
      })
      const exit = yield* applied({ a: seed(Effect.void), b: seed(body) })
      assert.isTrue(Exit.isSuccess(exit), String(exit))
    }).pipe(fresh)
  )

  it.effect("fails it also where the seed itself makes the trigger or rule, behind writes that were stored", () =>
    Effect.gen(function* () {
      for (const [table, statements, write] of altered) {
        const body = tenant("one").pipe(Effect.zipRight(texts(...statements)), Effect.zipRight(write))
        const exit = yield* applied({ a: seed(body) })
        assert.include(String(exit), `${table} did not store the row as it was sent`, statements.join("; "))
      }
      assert.deepStrictEqual(yield* rows("SELECT count(*)::int AS n FROM kumiko_events"), [{ n: 0 }])
    }).pipe(fresh)
  )
})
