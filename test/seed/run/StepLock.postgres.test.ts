/**
 * How a step on a real server waits for the lock, and what it does when others were there before it.
 */
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { Seed, SeedContext } from "effect-es-ops"
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
  onWait,
  failureOf,
  nothingKept
} from "../../support/Protocol.js"

layer(Layer.empty, { excludeTestServices: true })("one step on PostgreSQL", (it) => {
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
})
