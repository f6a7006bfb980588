/**
 * What one step does on a real server, whatever its seed does.
 */
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Either, Exit, Fiber, Layer, Option, Redacted, Schema } from "effect"
import {
  EsOps,
  Event,
  Feature,
  Identity,
  Projection,
  Seed,
  SeedContext,
  SeedLedger,
  SeedReport,
  SeedRunner,
  SeedSource,
  Transactor,
  WriteHandler
} from "effect-es-ops"
import { inject } from "vitest"
import type { Observer } from "../../support/Applying.js"
import { quiet, seed } from "../../support/Applying.js"
import * as CommitProxy from "../../support/CommitProxy.js"
import { TestDatabase } from "../../support/TestDatabase.js"
import * as Database from "../../support/TestDatabase.js"

const tenant = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: key })

const sql = SqlClient.SqlClient
const statement = (text: string) => Effect.flatMap(sql, (client) => client.unsafe(text))

const events = Effect.flatMap(TestDatabase, ({ query }) =>
  Effect.promise(() => query("SELECT count(*)::int AS n FROM kumiko_events"))
)
const attempts = Effect.flatMap(TestDatabase, ({ query }) =>
  Effect.promise(() => query("SELECT operation_id AS id, outcome, error FROM es_ops_attempts ORDER BY id"))
)
const markers = Effect.flatMap(TestDatabase, ({ query }) =>
  Effect.promise(() => query("SELECT id FROM kumiko_es_operations ORDER BY id"))
)

/** Each test has a database of its own. */
const fresh = (config: Parameters<typeof Database.client>[0] = {}) =>
  Effect.provide(Layer.provideMerge(Database.client(config), Database.layer))

const apply = <S extends SeedSource.Recorded = never>(
  seeds: Readonly<Record<string, S>>,
  { observer, ...settings }: { readonly lockTimeout?: number; readonly observer?: Observer } = {}
) => Effect.provide(SeedRunner.apply({ appliedBy: "boot", observer }), EsOps.layer({ ...settings, seeds }))

/** Says nothing, and does this at each attempt that found the lock held. */
const onWait = (waiting: Effect.Effect<unknown>): Observer => ({ ...quiet, waiting: () => Effect.asVoid(waiting) })

const failureOf = <S extends SeedSource.Recorded = never>(seeds: Readonly<Record<string, S>>) =>
  Effect.flatMap(Effect.either(apply(seeds)), (result) =>
    Either.isLeft(result) && result.left instanceof SeedReport.SeedFailed
      ? Effect.succeed(result.left)
      : Effect.dieMessage(`expected SeedFailed, got ${JSON.stringify(result)}`)
  )

/** Nothing but the attempt; "0" is a seed that was there before, so that the tables are. */
const nothingKept = (id: string, outcome = "failed") =>
  Effect.gen(function* () {
    const others = (rows: ReadonlyArray<Record<string, unknown>>) => rows.filter((row) => row["id"] !== "0")
    assert.deepStrictEqual(yield* events, [{ n: 0 }])
    assert.deepStrictEqual(others(yield* markers), [])
    assert.deepStrictEqual(
      others(yield* attempts).map((row) => [row["id"], row["outcome"]]),
      [[id, outcome]]
    )
  })

layer(Layer.empty, { excludeTestServices: true })("one step on PostgreSQL", (it) => {
  it.effect("keeps nothing of a body that fails after five events but its attempt", () =>
    Effect.gen(function* () {
      const five = Effect.forEach(["a", "b", "c", "d", "e"], tenant)
      const failed = yield* failureOf({ "1": seed(Effect.zipRight(five, Effect.fail(new Error("after five")))) })
      assert.strictEqual(failed.message, 'seed "1" failed: after five')
      yield* nothingKept("1")
      const { query } = yield* TestDatabase
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM read_tenants")), [])
    }).pipe(fresh())
  )

  it.effect("fails a body that swallows a SQL error, and names that error", () =>
    Effect.gen(function* () {
      const failed = yield* failureOf({
        "1": seed(Effect.zipRight(tenant("a"), Effect.ignore(statement("INSERT INTO nowhere VALUES (1)"))))
      })
      assert.include(failed.message, 'relation "nowhere" does not exist')
      assert.deepInclude(failed.cause, { _tag: "SwallowedSqlError", code: Option.some("42P01") })
      yield* nothingKept("1")
    }).pipe(fresh())
  )

  it.effect("goes on after a SQL error that is caught inside sql.withTransaction", () =>
    Effect.gen(function* () {
      yield* apply({
        "1": seed(
          Effect.gen(function* () {
            const client = yield* sql
            yield* Effect.ignore(client.withTransaction(statement("INSERT INTO nowhere VALUES (1)")))
            yield* tenant("a")
          })
        )
      })
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
      assert.deepStrictEqual(yield* markers, [{ id: "1" }])
    }).pipe(fresh())
  )

  it.effect("fails a body whose deferred constraint does not hold, and keeps the lock until the attempt is there", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() =>
        query(
          "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
        )
      )
      const failed = yield* failureOf({
        "1": seed(Effect.zipRight(tenant("a"), statement("INSERT INTO child VALUES (1)")))
      })
      assert.deepInclude(failed.cause, { _tag: "CommitRefused", code: Option.some("23503") })
      assert.include(failed.message, "violates foreign key constraint")
      yield* nothingKept("1")
    }).pipe(fresh())
  )

  it.effect("fails a body whose commit the server refuses at the very end", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* apply({ "0": seed(Effect.void) })
      // A deferred trigger that, when it is looked at early, defers its own harm to COMMIT.
      yield* Effect.promise(() =>
        query(`CREATE TABLE parent (id int PRIMARY KEY);
          CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
          CREATE TABLE bait (id int);
          CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO child VALUES (1); RETURN NULL; END $$;
          CREATE CONSTRAINT TRIGGER spring AFTER INSERT ON bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spring()`)
      )
      const trap = Effect.zipRight(tenant("a"), statement("INSERT INTO bait VALUES (1)"))
      const failed = yield* failureOf({ "1": seed(trap) })
      assert.deepInclude(failed.cause, { _tag: "CommitRefused", code: Option.some("23503") })
      yield* nothingKept("1")
    }).pipe(fresh())
  )

  const endings: ReadonlyArray<string> = [
    "COMMIT",
    "commit and chain",
    "/* a comment */ COMMIT",
    "-- a comment\n ROLLBACK",
    "END",
    "ABORT",
    "BEGIN",
    "START TRANSACTION",
    "ROLLBACK WORK",
    "PREPARE TRANSACTION 'x'",
    ";; COMMIT",
    "SELECT 1; COMMIT",
    "SELECT 1; COMMIT; SELECT 2",
    "SELECT 1; COMMIT; BEGIN",
    "SELECT 1; ROLLBACK",
    "SELECT 1; ROLLBACK; BEGIN",
    "SELECT 1; PREPARE TRANSACTION 'y'",
    "SELECT 1; COMMIT AND CHAIN"
  ]
  for (const how of ["fails", "swallows"] as const) {
    it.effect.each(endings)(`refuses a body that sends %s, and ${how} it: nothing is kept`, (text) =>
      Effect.gen(function* () {
        yield* apply({ "0": seed(Effect.void) })
        const ending = how === "swallows" ? Effect.ignore(statement(text)) : statement(text)
        const after = how === "swallows" ? Effect.ignore(tenant("after")) : Effect.void
        const failed = yield* failureOf({
          "1": seed(tenant("a").pipe(Effect.zipRight(ending), Effect.zipRight(after)))
        })
        assert.deepInclude(failed.cause, { _tag: "TransactionControl" })
        yield* nothingKept("1")
        const { query } = yield* TestDatabase
        assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM pg_prepared_xacts")), [])
      }).pipe(fresh())
    )
  }

  it.effect("waits for a session that holds the lock, names it, and goes on when it is gone", () =>
    Effect.gen(function* () {
      const { connect } = yield* TestDatabase
      const holder = yield* Effect.promise(connect)
      yield* Effect.promise(() =>
        holder.query("SET application_name = 'the holder'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      )
      const held = yield* Effect.flip(apply({ "1": seed(tenant("a")) }, { lockTimeout: 0 }))
      assert.strictEqual(held._tag, "LockTimeout")
      assert.include(held.message, "(the holder) since 20")
      const waiting = yield* Effect.fork(apply({ "1": seed(tenant("a")) }))
      yield* Effect.promise(() => holder.query("COMMIT"))
      const report = yield* Fiber.join(waiting)
      assert.strictEqual(report.outcomes.length, 1)
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
    }).pipe(fresh())
  )

  it.effect("waits for the session form of the lock too, and holds its own against it", () =>
    Effect.gen(function* () {
      const { connect } = yield* TestDatabase
      const other = yield* Effect.promise(connect)
      yield* Effect.promise(() => other.query("SELECT pg_advisory_lock(1702063984)"))
      assert.strictEqual(
        (yield* Effect.flip(apply({ "1": seed(tenant("a")) }, { lockTimeout: 0 })))._tag,
        "LockTimeout"
      )
      yield* Effect.promise(() => other.query("SELECT pg_advisory_unlock(1702063984)"))
      const tried = yield* Deferred.make<unknown>()
      const attempt = Effect.promise(
        async () => (await other.query("SELECT pg_try_advisory_lock(1702063984) AS got")).rows
      )
      yield* apply({ "1": seed(Effect.flatMap(attempt, (rows) => Deferred.succeed(tried, rows))) })
      assert.deepStrictEqual(yield* Deferred.await(tried), [{ got: false }])
    }).pipe(fresh())
  )

  it.effect("needs one connection", () =>
    Effect.gen(function* () {
      yield* apply({
        "1": seed(tenant("a")),
        "2": seed(Effect.flatMap(SeedContext.query("SELECT 1"), () => tenant("b")))
      })
      const failed = yield* failureOf({ "3": seed(Effect.fail(new Error("x"))) })
      assert.strictEqual(failed.id, "3")
      assert.deepStrictEqual(yield* events, [{ n: 2 }])
      const left = yield* statement(`SELECT count(*)::int AS n FROM (${Database.advisoryLocks}) AS held`)
      assert.deepStrictEqual(left, [{ n: 0 }])
    }).pipe(fresh({ maxConnections: 1 }))
  )

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

  it.effect("can be left while its marker waits for another session: undone, recorded, the lock given back", () =>
    Effect.gen(function* () {
      yield* apply({ "0": seed(Effect.void) })
      const { connect, query } = yield* TestDatabase
      const blocker = yield* Effect.promise(connect)
      yield* Effect.promise(() =>
        blocker.query(
          "BEGIN; INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) VALUES ('1', 'x', 0, 'x')"
        )
      )
      const fiber = yield* Effect.fork(apply({ "1": seed(tenant("a")) }))
      yield* Effect.promise(async () => {
        while (
          (
            await query(
              "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
          ).length === 0
        );
      })
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.deepStrictEqual(yield* Effect.promise(() => query(Database.advisoryLocks)), [])
      yield* Effect.promise(() => blocker.query("ROLLBACK"))
      yield* nothingKept("1", "interrupted")
      assert.strictEqual((yield* apply({ "1": seed(tenant("a")) })).outcomes[0]?._tag, "Applied")
    }).pipe(fresh())
  )

  it.effect("gives the lock of a seed outside any transaction back while the application's pool stays open", () =>
    Effect.gen(function* () {
      const outside = (run: Effect.Effect<unknown, unknown>) => Seed.make({ description: "", transaction: "none", run })
      const held = Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(Database.advisoryLocks)))
      yield* apply({ "1": outside(Effect.void) })
      assert.deepStrictEqual(yield* held, [])
      yield* failureOf({ "2": outside(Effect.fail(new Error("x"))) })
      assert.deepStrictEqual(yield* held, [])
      const inside = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        apply({ "3": outside(Effect.zipRight(Deferred.succeed(inside, void 0), Effect.never)) })
      )
      yield* Deferred.await(inside)
      assert.strictEqual((yield* held).length, 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* held, [])
    }).pipe(fresh({ maxConnections: 2 }))
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

  it.effect("does not join a transaction of the program that calls it", () =>
    Effect.gen(function* () {
      const client = yield* sql
      yield* Effect.ignore(
        client.withTransaction(Effect.zipRight(apply({ "1": seed(tenant("a")) }), Effect.fail("rolled back")))
      )
      assert.deepStrictEqual(yield* markers, [{ id: "1" }])
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
    }).pipe(fresh())
  )

  it.effect("joins a seed's own statements, and undoes them with the rest", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() => query("CREATE TABLE notes (text text)"))
      yield* failureOf({
        "1": seed(Effect.zipRight(statement("INSERT INTO notes VALUES ('x')"), Effect.fail(new Error("no"))))
      })
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM notes")), [])
      yield* apply({ "2": seed(statement("INSERT INTO notes VALUES ('y')")) })
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM notes")), [{ text: "y" }])
    }).pipe(fresh())
  )

  it.effect("loses no row to concurrency inside a seed", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() => query("CREATE TABLE notes (n int)"))
      const jobs = Array.from({ length: 40 }, (_, n) => {
        if (n % 4 === 0) return Effect.asVoid(statement(`INSERT INTO notes VALUES (${n})`))
        if (n % 4 === 1) return Effect.asVoid(tenant(`t${n}`))
        if (n % 4 === 2) return Effect.ignore(SeedContext.systemWriteAs("tenant:write:create", { key: "", name: "x" }))
        return Effect.ignore(SeedContext.query(n % 8 === 3 ? "SELECT nextval('nothing')" : "SELECT * FROM notes"))
      })
      yield* apply({ "1": seed(Effect.all(jobs, { concurrency: "unbounded", discard: true })) })
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT count(*)::int AS n FROM notes")), [{ n: 10 }])
      assert.deepStrictEqual(yield* events, [{ n: 10 }])
    }).pipe(fresh())
  )

  it.effect("refuses statements of a fiber that outlives the seed", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() => query("CREATE TABLE notes (text text)"))
      const over = yield* Deferred.make<void>()
      const result = yield* Deferred.make<string>()
      const late = Deferred.await(over).pipe(
        Effect.zipRight(statement("INSERT INTO notes VALUES ('late')")),
        Effect.match({ onSuccess: () => "written", onFailure: ({ cause }) => String(cause) }),
        Effect.flatMap((text) => Deferred.succeed(result, text))
      )
      yield* apply({ "1": seed(Effect.forkDaemon(late)) })
      yield* Deferred.succeed(over, void 0)
      assert.include(yield* Deferred.await(result), "is over")
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM notes")), [])
    }).pipe(fresh())
  )

  it.effect(
    "tells of a backend that is ended in the body: DatabaseError with the seed's id, nothing kept, the attempt on another connection",
    () =>
      Effect.gen(function* () {
        const { query } = yield* TestDatabase
        const end = Effect.flatMap(statement("SELECT pg_backend_pid() AS pid"), (rows) =>
          Effect.promise(() =>
            query("SELECT pg_terminate_backend(($1::jsonb->0->>'pid')::int)", [JSON.stringify(rows)])
          )
        )
        const body = tenant("a").pipe(Effect.zipRight(end), Effect.zipRight(tenant("b")))
        const error = yield* Effect.flip(apply({ "1": seed(body) }))
        assert.deepInclude(error, { _tag: "DatabaseError", id: Option.some("1"), connectionLost: true })
        // What the driver knows of it: the server's last word, or that there was none.
        assert.match(error.message, /terminating connection|connection error/)
        const rows = yield* attempts
        assert.deepStrictEqual(
          rows.map((row) => [row["id"], row["outcome"]]),
          [["1", "failed"]]
        )
        assert.match(JSON.stringify(rows), /terminating connection|connection error/)
        assert.deepStrictEqual(yield* events, [{ n: 0 }])
      }).pipe(fresh())
  )

  it.effect("runs under the timeouts of a role that are shorter than the body", () =>
    Effect.gen(function* () {
      yield* apply({
        "1": seed(
          Effect.zipRight(tenant("a"), Effect.zipRight(statement("SELECT pg_sleep(0.4)"), Effect.sleep("400 millis")))
        )
      })
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
    }).pipe(
      Effect.provide(
        Layer.unwrapEffect(
          Effect.gen(function* () {
            const { query } = yield* TestDatabase
            yield* Effect.promise(async () => {
              const [row] = await query("SELECT current_database() AS name")
              // The last one is new in 17.
              const known = await query(`SELECT name FROM pg_settings WHERE name IN
                ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')`)
              assert.isAtLeast(known.length, 2)
              for (const { name: setting } of known) {
                await query(`ALTER DATABASE ${String(row?.["name"])} SET ${String(setting)} = '200ms'`)
              }
              await query(`ALTER DATABASE ${String(row?.["name"])} SET default_transaction_isolation = 'serializable'`)
            })
            return Database.client()
          })
        ).pipe(Layer.provideMerge(Database.layer))
      )
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

  it.effect("undoes a rejected write that is caught, events and projections, and the seed goes on", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* apply({
        "1": seed(
          Effect.gen(function* () {
            yield* tenant("a")
            const taken = yield* Effect.flip(tenant("a"))
            assert.deepInclude(taken, { _tag: "WriteRejected", handler: "tenant:write:create", code: "conflict" })
            const both = yield* Effect.flip(
              SeedContext.systemWriteAll("tenant:write:create", [
                { key: "b", name: "b" },
                { key: "a", name: "a" }
              ])
            )
            assert.deepInclude(both, { _tag: "WriteRejected", code: "conflict" })
            yield* tenant("c")
          })
        )
      })
      const rows = yield* Effect.promise(() => query("SELECT key FROM read_tenants ORDER BY key"))
      assert.deepStrictEqual(rows, [{ key: "a" }, { key: "c" }])
      assert.deepStrictEqual(yield* events, [{ n: 2 }])
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

  it.effect(
    "lets twelve runs on an empty database create everything once, apply every seed once, and fail nowhere",
    () =>
      Effect.gen(function* () {
        const seeds = Object.fromEntries(["1", "2", "3", "4"].map((id) => [id, seed(tenant(id))]))
        const reports = yield* Effect.all(
          Array.from({ length: 12 }, () => apply(seeds)),
          { concurrency: "unbounded" }
        )
        const applied = reports.flatMap(({ outcomes }) =>
          outcomes.filter(({ _tag }) => _tag === "Applied").map(({ id }) => id)
        )
        assert.deepStrictEqual(applied.toSorted(), ["1", "2", "3", "4"])
        assert.deepStrictEqual(yield* events, [{ n: 4 }])
      }).pipe(fresh({ maxConnections: 15 }))
  )

  it.effect("survives a program that creates the marker table without the lock at the same moment", () =>
    Effect.gen(function* () {
      const { connect } = yield* TestDatabase
      const other = yield* Effect.promise(connect)
      yield* Effect.promise(() =>
        other.query(
          "BEGIN; CREATE TABLE kumiko_es_operations (id text PRIMARY KEY, operation_type text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(), duration_ms integer NOT NULL, applied_by text NOT NULL, notes text)"
        )
      )
      const running = yield* Effect.fork(apply({ "1": seed(tenant("a")) }))
      const watcher = yield* Effect.promise(connect)
      const blocked = Effect.promise(() =>
        watcher.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
      )
      yield* Effect.repeat(blocked, { until: ({ rowCount }) => rowCount === 1 })
      yield* Effect.promise(() => other.query("COMMIT"))
      assert.strictEqual((yield* Fiber.join(running)).outcomes.length, 1)
      assert.deepStrictEqual(yield* markers, [{ id: "1" }])
    }).pipe(fresh())
  )

  it.effect("leaves the record of a failure also when it is the first on an empty database", () =>
    Effect.gen(function* () {
      yield* failureOf({ "1": seed(statement("SELECT 1; COMMIT")) })
      yield* nothingKept("1")
    }).pipe(fresh())
  )

  const meddlers: ReadonlyArray<readonly [string, string, string]> = [
    ["SET LOCAL search_path", "SET LOCAL search_path = other, public", "applied"],
    ["SET search_path", "SET search_path = other", "applied"],
    ["SET LOCAL ROLE", "SET LOCAL ROLE pg_monitor", "applied"],
    ["CLOSE ALL", "CLOSE ALL", "failed"],
    ["CLOSE ALL; COMMIT", "SELECT 1; CLOSE ALL; COMMIT", "failed"],
    ["CLOSE ALL; COMMIT with comments", "CLOSE/* a */ALL; COMMIT", "failed"],
    ["CLOSE ALL after a comment", "-- tidy\n CLOSE ALL", "failed"],
    ["SET ROLE", "SET ROLE pg_monitor", "applied"],
    ["DISCARD ALL", "DISCARD ALL", "failed"],
    ["SET TRANSACTION READ ONLY", "SET TRANSACTION READ ONLY", "failed"],
    ["a marker of its own", "INSERT INTO kumiko_es_operations VALUES ('1', 'x', now(), 0, 'x', null)", "failed"],
    ["DROP TABLE of the markers", "DROP TABLE kumiko_es_operations", "failed"]
  ]
  it.effect.each(meddlers)("keeps all or nothing of a body that ends with %s", ([, text, outcome]) =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* apply({ "0": seed(Effect.void) })
      yield* Effect.promise(() =>
        query("CREATE SCHEMA other; CREATE TABLE other.kumiko_es_operations (LIKE kumiko_es_operations)")
      )
      const seeds = { "1": seed(Effect.zipRight(tenant("a"), statement(text))) }
      if (outcome === "applied") {
        assert.strictEqual((yield* apply(seeds)).outcomes[0]?._tag, "Applied")
        assert.deepStrictEqual(yield* markers, [{ id: "0" }, { id: "1" }])
        assert.deepStrictEqual(yield* events, [{ n: 1 }])
      } else {
        yield* failureOf(seeds)
        yield* nothingKept("1")
      }
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM other.kumiko_es_operations")), [])
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

  it.effect("never gives back a connection whose transaction may be open", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* apply({ "0": seed(Effect.void) })
      // The driver stops waiting by itself, without a word from the server.
      const impatient = Database.client({ url: Redacted.make(`${url}?query_timeout=400`), maxConnections: 1 })
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(
          apply({ "1": seed(Effect.zipRight(tenant("a"), statement("SELECT pg_sleep(2)"))) })
        )
        assert.include(["DatabaseError", "SeedFailed"], error._tag)
        const client = yield* sql
        yield* client.withTransaction(client`SELECT 1`)
      }).pipe(Effect.provide(impatient))
      const held = Effect.promise(() => query(Database.advisoryLocks))
      yield* Effect.repeat(held, { until: (rows) => rows.length === 0 })
      assert.deepStrictEqual(yield* markers, [{ id: "0" }])
      assert.deepStrictEqual(yield* events, [{ n: 0 }])
    }).pipe(fresh())
  )

  it.effect("says Raced, and keeps nothing, when somebody wrote the marker meanwhile without the lock", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* apply({ "0": seed(Effect.void) })
      const other = Effect.promise(() =>
        query("INSERT INTO kumiko_es_operations VALUES ('1', 'seed-migration', now(), 0, 'boot', null)")
      )
      const report = yield* apply({ "1": seed(Effect.zipRight(tenant("a"), other)) })
      assert.deepStrictEqual(
        report.outcomes.map(({ _tag }) => _tag),
        ["Raced"]
      )
      assert.deepStrictEqual(yield* events, [{ n: 0 }])
    }).pipe(fresh())
  )

  it.effect("goes on after a value that the driver could not send, caught in sql.withTransaction", () =>
    Effect.gen(function* () {
      const circular: Record<string, unknown> = {}
      circular["self"] = circular
      const send = Effect.flatMap(sql, (client) =>
        Effect.ignore(client.withTransaction(client.unsafe("SELECT $1::jsonb", [circular])))
      )
      yield* apply({ "1": seed(Effect.zipRight(send, tenant("a"))) })
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
    }).pipe(fresh())
  )

  it.effect("says that a statement failed before, where the next one is the first to notice", () =>
    Effect.gen(function* () {
      const slow = Effect.timeoutOption(statement("SELECT pg_sleep(30)"), "100 millis")
      const failed = yield* failureOf({ "1": seed(Effect.zipRight(slow, tenant("a"))) })
      assert.include(failed.message, "caught outside sql.withTransaction")
    }).pipe(fresh())
  )

  const sleep = "SELECT pg_sleep(600)"
  const sleepers: ReadonlyArray<
    readonly [string, Effect.Effect<unknown, unknown, SqlClient.SqlClient | SeedContext.SeedContext>]
  > = [
    ["a statement", statement(sleep)],
    ["a query", SeedContext.query(sleep)],
    ["a nested transaction", Effect.flatMap(sql, (client) => client.withTransaction(statement(sleep)))]
  ]
  it.effect.each(sleepers)("can be interrupted in the middle of %s, with a pool of one", ([, body]) =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const fiber = yield* Effect.fork(apply({ "1": seed(body) }))
      const sleeping = Effect.promise(() =>
        query(
          `SELECT 1 FROM pg_stat_activity WHERE query = '${sleep}' AND state = 'active' AND datname = current_database()`
        )
      )
      yield* Effect.repeat(sleeping, { until: (rows) => rows.length === 1 })
      yield* Fiber.interrupt(fiber)
      const held = Effect.promise(() => query(Database.advisoryLocks))
      yield* Effect.repeat(held, { until: (rows) => rows.length === 0 })
      assert.deepStrictEqual(yield* markers, [])
    }).pipe(fresh({ maxConnections: 1 }))
  )

  it.effect("refuses statements that a write handler left running, and loses no row to them", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() => query("CREATE TABLE notes (text text)"))
      const go = yield* Deferred.make<void>()
      const result = yield* Deferred.make<string>()
      const leave = WriteHandler.make({
        name: "notes:write:leave",
        payload: Schema.Struct({ id: Schema.UUID }),
        access: ["system"],
        handle: ({ id }) =>
          Effect.gen(function* () {
            yield* Deferred.await(go).pipe(
              Effect.zipRight(statement("INSERT INTO notes VALUES ('left')")),
              Effect.match({ onSuccess: () => "written", onFailure: ({ cause }) => String(cause) }),
              Effect.flatMap((text) => Deferred.succeed(result, text)),
              Effect.forkDaemon
            )
            const event = { aggregateId: id, aggregateType: "note", version: 1, type: "note.left", payload: { id } }
            return { events: [event], data: { id } }
          })
      })
      const feature = Feature.make({ name: "notes", handlers: [leave] })
      const body = Effect.gen(function* () {
        yield* SeedContext.write(leave, { id: "22222222-2222-4222-8222-222222222222" })
        yield* Deferred.succeed(go, void 0)
        assert.include(yield* Deferred.await(result), "is over")
      })
      const seeds = { "1": seed(body) }
      yield* Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), EsOps.layer({ seeds, features: [feature] }))
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT * FROM notes")), [])
    }).pipe(fresh())
  )

  it.effect("runs what belongs to a turn in it, also through the context: no turn waits for itself", () =>
    Effect.gen(function* () {
      const nested = Effect.flatMap(Transactor.Transactor, (transactor) =>
        transactor.savepoint(
          Effect.gen(function* () {
            yield* tenant("a")
            assert.strictEqual((yield* SeedContext.findTenants).length, 1)
            const [row] = yield* SeedContext.query("SELECT count(*)::int AS n FROM read_tenants")
            assert.deepStrictEqual(row, { n: 1 })
            const several = "SELECT 1; ROLLBACK TO es_ops_1; DELETE FROM read_tenants"
            assert.strictEqual((yield* Effect.flip(SeedContext.query(several)))._tag, "QueryFailed")
          })
        )
      )
      yield* apply({ "1": seed(nested) })
      assert.deepStrictEqual(yield* events, [{ n: 1 }])
    }).pipe(fresh())
  )

  it.effect("finds out what became of a COMMIT whose connection was lost: it was not kept, and that is recorded", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* apply({ "0": seed(Effect.void) })
      // Ends its own backend while the server commits: a deferred trigger that, looked at early, puts that off to COMMIT.
      yield* Effect.promise(() =>
        query(`CREATE TABLE bait (id int);
          CREATE TABLE trap (id int);
          CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF TG_TABLE_NAME = 'bait' THEN SET CONSTRAINTS ALL DEFERRED; INSERT INTO trap VALUES (1);
            ELSE PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$;
          CREATE CONSTRAINT TRIGGER spring AFTER INSERT ON bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spring();
          CREATE CONSTRAINT TRIGGER spring AFTER INSERT ON trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spring()`)
      )
      const seeds = { "1": seed(Effect.zipRight(tenant("a"), statement("INSERT INTO bait VALUES (1)"))) }
      const error = yield* Effect.flip(apply(seeds))
      assert.deepInclude(error, { _tag: "DatabaseError", id: Option.some("1"), connectionLost: true })
      assert.include(error.message, "the server did not commit")
      yield* nothingKept("1")
    }).pipe(fresh())
  )

  for (const [when, outcome] of [
    ["after", "Applied"],
    ["before", "DatabaseError"]
  ] as const) {
    it.effect(`answers ${outcome} when the wire breaks ${when} the server has seen COMMIT`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestDatabase
        yield* apply({ "0": seed(Effect.void) })
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => CommitProxy.start(inject("postgres"))),
          ({ close }) => Effect.promise(close)
        )
        const through = new URL(url)
        through.port = `${proxy.port}`
        const wire = Database.client({ url: Redacted.make(through.href) })
        const body = Effect.tap(tenant("a"), () => Effect.sync(() => proxy.arm(when)))
        const result = yield* Effect.either(Effect.provide(apply({ "1": seed(body) }), wire))
        if (Either.isRight(result)) {
          assert.deepInclude(result.right.outcomes[0], { id: "1", events: 1 })
          assert.deepStrictEqual(yield* markers, [{ id: "0" }, { id: "1" }])
          assert.deepStrictEqual(yield* events, [{ n: 1 }])
        } else {
          assert.deepInclude(result.left, { id: Option.some("1") })
          yield* nothingKept("1")
        }
        const tag = Either.match(result, { onLeft: ({ _tag }) => _tag, onRight: ({ outcomes }) => outcomes[0]?._tag })
        assert.strictEqual(tag, outcome)
      }).pipe(Effect.scoped, fresh())
    )
  }

  it.effect("does not run a seed again that failed elsewhere while it waited", () =>
    Effect.gen(function* () {
      yield* apply({ "0": seed(Effect.void) })
      const inside = yield* Deferred.make<void>()
      const leave = yield* Deferred.make<void>()
      const waited = yield* Deferred.make<void>()
      let [runs, waits] = [0, 0]
      const body = Effect.suspend(() => {
        runs++
        return Deferred.succeed(inside, void 0).pipe(
          Effect.zipRight(Deferred.await(leave)),
          Effect.zipRight(Effect.fail(new Error("once")))
        )
      })
      const observer = onWait(Effect.suspend(() => (++waits < 12 ? Effect.void : Deferred.succeed(waited, void 0))))
      const run = apply({ "1": seed(body) }, { observer })
      const first = yield* Effect.fork(Effect.flip(run))
      yield* Deferred.await(inside)
      const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(Effect.flip(run)))
      yield* Deferred.await(waited)
      yield* Deferred.succeed(leave, void 0)
      assert.strictEqual((yield* Fiber.join(first))._tag, "SeedFailed")
      for (const other of others) assert.strictEqual((yield* Fiber.join(other))._tag, "SeedFailedElsewhere")
      assert.strictEqual(runs, 1)
    }).pipe(fresh({ maxConnections: 8 }))
  )

  it.effect("waits and goes on also where there is no table of attempts and none may be created", () =>
    Effect.gen(function* () {
      const { connect, query, url } = yield* TestDatabase
      yield* apply({ "0": seed(Effect.void) })
      const role = `w_${new URL(url).pathname.slice(1)}`
      yield* Effect.promise(() =>
        query(`DROP TABLE es_ops_attempts; CREATE ROLE ${role};
          GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
          GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
      )
      const asRole = Database.client({ url: Redacted.make(`${url}?options=-c%20role%3D${role}`) })
      const holder = yield* Effect.promise(connect)
      yield* Effect.promise(() => holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)"))
      const seeds = { "1": seed(tenant("a")), "2": seed(tenant("b")) }
      const waited = yield* Deferred.make<void>()
      const observer = onWait(Deferred.succeed(waited, void 0))
      const waiting = yield* Effect.fork(Effect.provide(apply(seeds, { observer }), asRole))
      yield* Deferred.await(waited)
      yield* Effect.promise(() => holder.query("COMMIT"))
      assert.strictEqual((yield* Fiber.join(waiting)).outcomes.length, 2)
      assert.deepStrictEqual(yield* events, [{ n: 2 }])
      yield* Effect.promise(() => query(`DROP OWNED BY ${role}; DROP ROLE ${role}`))
    }).pipe(fresh())
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
