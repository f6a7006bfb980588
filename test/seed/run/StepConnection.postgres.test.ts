/**
 * The connection of a step on a real server: what a COMMIT that is refused or lost leaves, and who may use it.
 */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Either, Layer, Option, Redacted } from "effect"
import { SeedContext } from "effect-es-ops"
import { inject } from "vitest"
import { seed } from "../../support/Applying.js"
import * as CommitProxy from "../../support/CommitProxy.js"
import { TestDatabase } from "../../support/TestDatabase.js"
import * as Database from "../../support/TestDatabase.js"
import {
  tenant,
  sql,
  statement,
  events,
  attempts,
  markers,
  fresh,
  apply,
  failureOf,
  nothingKept
} from "../../support/Protocol.js"

layer(Layer.empty, { excludeTestServices: true })("one step on PostgreSQL", (it) => {
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
})
