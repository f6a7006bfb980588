/**
 * The tables of a step on a real server: where they are, who makes them, and what is written to them.
 */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Layer, Option, Redacted, Schema } from "effect"
import {
  EsOps,
  Event,
  Feature,
  Identity,
  Projection,
  SeedContext,
  SeedLedger,
  SeedRunner,
  WriteHandler
} from "effect-es-ops"
import { seed } from "../../support/Applying.js"
import { TestDatabase } from "../../support/TestDatabase.js"
import * as Database from "../../support/TestDatabase.js"
import {
  tenant,
  sql,
  statement,
  events,
  markers,
  fresh,
  apply,
  failureOf,
  nothingKept
} from "../../support/Protocol.js"

layer(Layer.empty, { excludeTestServices: true })("one step on PostgreSQL", (it) => {
  it.effect("takes no marker for another that only looks like it in one text", () =>
    Effect.gen(function* () {
      yield* apply({ "0": seed(Effect.void) })
      const { query } = yield* TestDatabase
      const like = (id: string) =>
        `INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) VALUES ('${id}', 'seed-migration', 0, 'x')`
      yield* Effect.promise(() => query(like("a\u001f")))
      const all = { "0": seed(Effect.void), a: seed(tenant("a")) }
      assert.strictEqual((yield* apply(all)).outcomes[0]?._tag, "Applied")
      assert.deepStrictEqual((yield* apply(all)).outcomes, [])
      yield* Effect.promise(() => query(like("b\u001fc")))
      const more = { ...all, b: seed(Effect.void), c: seed(Effect.void) }
      assert.deepStrictEqual(
        (yield* apply(more)).outcomes.map(({ id }) => id),
        ["b", "c"]
      )
    }).pipe(fresh())
  )

  it.effect("records text that PostgreSQL does not store, as far as it can", () =>
    Effect.gen(function* () {
      yield* apply({ "0": seed(Effect.void) })
      const layer = EsOps.layer({ seeds: { "1": seed(Effect.void) } })
      const mark = SeedLedger.mark({ id: "1", reason: "it's \\ a\u0000b", appliedBy: "cli" })
      assert.deepStrictEqual(yield* Effect.provide(mark, layer), { id: "1", changed: true })
      const { query } = yield* TestDatabase
      assert.deepStrictEqual(
        yield* Effect.promise(() => query("SELECT reason FROM es_ops_attempts WHERE operation_id = '1'")),
        [{ reason: "it's \\ a\uFFFDb" }]
      )
    }).pipe(fresh())
  )

  it.effect("is not confused by a client that renames columns", () =>
    Effect.gen(function* () {
      yield* apply({
        "1": seed(
          Effect.gen(function* () {
            const { id } = yield* tenant("a")
            yield* SeedContext.systemWriteAs("user:write:create", { email: "a@example.com", tenantId: id })
            const user = Option.getOrThrow(yield* SeedContext.findUserByEmail("a@example.com"))
            assert.strictEqual(user.tenantId, id)
            const rows = yield* SeedContext.query("SELECT tenant_id::text FROM read_users")
            assert.deepStrictEqual(rows, [{ tenant_id: id }])
          })
        )
      })
      assert.deepStrictEqual(yield* events, [{ n: 2 }])
    }).pipe(
      fresh({
        transformQueryNames: (name) => `not_${name}`,
        transformResultNames: (name) => name.toUpperCase(),
        transformJson: true
      })
    )
  )

  it.effect(
    "links every event to the operation, and those of a step to each other; notifies; acts as the system user",
    () =>
      Effect.gen(function* () {
        const { connect, query } = yield* TestDatabase
        const listener = yield* Effect.promise(connect)
        const heard = yield* Deferred.make<string>()
        listener.on("notification", ({ channel }) => Deferred.unsafeDone(heard, Effect.succeed(channel)))
        yield* Effect.promise(() => listener.query("LISTEN kumiko_events_new"))
        yield* apply({ "1": seed(Effect.all([tenant("a"), tenant("b")])), "2": seed(tenant("c")) })
        assert.strictEqual(yield* Deferred.await(heard), "kumiko_events_new")
        const rows = yield* Effect.promise(() =>
          query("SELECT metadata, created_by, tenant_id::text FROM kumiko_events ORDER BY id")
        )
        const metadata = rows.map((row) => Schema.decodeUnknownSync(Event.EventMetadata)(row["metadata"]))
        assert.deepStrictEqual(
          metadata.map(({ headers }) => headers),
          [{ operationId: "1" }, { operationId: "1" }, { operationId: "2" }]
        )
        assert.strictEqual(metadata[0]?.correlationId, metadata[1]?.correlationId)
        assert.notStrictEqual(metadata[0]?.correlationId, metadata[2]?.correlationId)
        assert.deepInclude(rows[0], { created_by: Event.systemUserId, tenant_id: Event.systemTenantId })
      }).pipe(fresh())
  )

  it.effect("runs the inline projections of an application's own feature over a table that it owns", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const place = WriteHandler.make({
        name: "orders:write:place",
        payload: Schema.Struct({ id: Schema.UUID, total: Schema.Int }),
        access: ["system"],
        handle: ({ id, total }) => ({
          events: [
            { aggregateId: id, aggregateType: "order", version: 1, type: "order.placed", payload: { id, total } }
          ],
          data: { id, total }
        })
      })
      const orders = Feature.make({
        name: "orders",
        handlers: [place],
        projections: [
          Projection.make({
            name: "read_orders",
            events: ["order.placed"],
            apply: (placed) =>
              Effect.flatMap(sql, (client) =>
                Effect.forEach(
                  placed,
                  ({ payload }) =>
                    client`INSERT INTO read_orders ${client.insert({ id: String(payload["id"]), total: Number(payload["total"]) })}`,
                  {
                    discard: true
                  }
                )
              )
          })
        ],
        tables: [
          {
            name: "read_orders",
            primaryKey: ["id"],
            indexes: [["total"]],
            columns: [
              { name: "id", type: "uuid" },
              { name: "total", type: "integer" }
            ]
          }
        ]
      })
      const id = "11111111-1111-4111-8111-111111111111"
      const seeds = {
        "1": seed(
          Effect.gen(function* () {
            const placed = yield* SeedContext.write(place, { id, total: 12 })
            assert.deepStrictEqual(placed, { id, total: 12 })
          })
        )
      }
      yield* Effect.provide(
        SeedRunner.apply({ appliedBy: "boot" }),
        EsOps.layer({ seeds, features: [Identity.feature, orders] })
      )
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM read_orders")), [{ id, total: 12 }])
    }).pipe(fresh())
  )

  it.effect("leaves the record of a failure also when it is the first on an empty database", () =>
    Effect.gen(function* () {
      yield* failureOf({ "1": seed(statement("SELECT 1; COMMIT")) })
      yield* nothingKept("1")
    }).pipe(fresh())
  )

  it.effect("does not let a SET of one seed decide where the next one writes", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* apply({ "0": seed(Effect.void) })
      yield* Effect.promise(() => query("CREATE SCHEMA other; CREATE TABLE other.kumiko_events (LIKE kumiko_events)"))
      yield* apply({ "1": seed(statement("SET search_path TO other")), "2": seed(tenant("a")) })
      assert.deepStrictEqual(yield* markers, [{ id: "0" }, { id: "1" }, { id: "2" }])
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
    }).pipe(fresh({ maxConnections: 1 }))
  )

  it.effect("makes its tables on an empty database where the role may not read who holds locks", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const role = `blind_${new URL(url).pathname.slice(1)}`
      yield* Effect.promise(() =>
        query(`CREATE ROLE ${role}; GRANT CREATE ON SCHEMA public TO ${role}; REVOKE SELECT ON pg_locks FROM PUBLIC`)
      )
      const asRole = Database.client({ url: Redacted.make(`${url}?options=-c%20role%3D${role}`) })
      const { outcomes } = yield* Effect.provide(apply({ "1": seed(tenant("a")) }), asRole)
      assert.strictEqual(outcomes[0]?._tag, "Applied")
      yield* Effect.promise(() => query(`DROP OWNED BY ${role}; DROP ROLE ${role}`))
    }).pipe(fresh())
  )

  it.effect("makes its tables again where they were dropped meanwhile", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const seeds = { "1": seed(tenant("a")) }
      const twice = Effect.gen(function* () {
        const first = yield* SeedRunner.apply({ appliedBy: "boot" })
        yield* Effect.promise(() => query("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
        return [first, yield* SeedRunner.apply({ appliedBy: "boot" })]
      }).pipe(Effect.provide(EsOps.layer({ seeds })))
      const tags = (yield* twice).map(({ outcomes }) => outcomes.map(({ _tag }) => _tag))
      assert.deepStrictEqual(tags, [["Applied"], ["Applied"]])
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
    }).pipe(fresh())
  )

  it.effect("finds tables, lock and schema by the names of the settings", () =>
    Effect.gen(function* () {
      const { connect, query } = yield* TestDatabase
      yield* Effect.promise(() => query("CREATE SCHEMA ops"))
      const settings = { schema: "ops", table: "Markers", attemptsTable: "tries", lockKey: -7n, version: "1.2.3" }
      const holder = yield* Effect.promise(connect)
      yield* Effect.promise(() => holder.query("SET application_name = 'negative'; SELECT pg_advisory_lock(-7)"))
      const seeds = { "1": seed(tenant("a")) }
      const run = (lockTimeout?: number) =>
        Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), EsOps.layer({ ...settings, lockTimeout, seeds }))
      assert.include((yield* Effect.flip(run(0))).message, "(negative)")
      yield* Effect.promise(() => holder.query("SELECT pg_advisory_unlock(-7)"))
      yield* run()
      const rows = yield* Effect.promise(() =>
        query(`SELECT m.id, t.version FROM ops."Markers" m JOIN ops.tries t ON t.operation_id = m.id`)
      )
      assert.deepStrictEqual(rows, [{ id: "1", version: "1.2.3" }])
      const name = yield* Effect.flip(Effect.provide(Effect.void, EsOps.layer({ seeds: {}, table: "x; DROP TABLE y" })))
      assert.deepInclude(name, { _tag: "SettingError", key: "table" })
      const key = yield* Effect.flip(Effect.provide(Effect.void, EsOps.layer({ seeds: {}, lockKey: 2n ** 64n })))
      assert.deepInclude(key, { _tag: "SettingError", key: "lockKey" })
    }).pipe(fresh())
  )
})
