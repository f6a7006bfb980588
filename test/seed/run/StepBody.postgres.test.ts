/**
 * What a step on a real server keeps of its body, whatever that does.
 */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Layer, Option, Schema } from "effect"
import { EsOps, Feature, SeedContext, SeedRunner, Transactor, WriteHandler } from "effect-es-ops"
import { seed } from "../../support/Applying.js"
import { TestDatabase } from "../../support/TestDatabase.js"
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
})
