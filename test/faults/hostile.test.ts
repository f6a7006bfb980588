/**
 * Hostile code inside a seed: each has a stated outcome, everything or a typed failure with nothing; and afterwards nothing of ours is left
 * on the server.
 */
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, LogLevel, Option } from "effect"
import { EsOps, Seed, SeedContext, SeedRunner } from "effect-es-ops"
import { TestDatabase } from "../support/TestDatabase.js"
import * as Database from "../support/TestDatabase.js"

const tenant = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: "n" })
const statement = (text: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(text))
const ask = (text: string) => Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(text)))

const applyTo = (
  run: Effect.Effect<unknown, unknown, SqlClient.SqlClient | TestDatabase | SeedContext.SeedContext>,
  seedTimeout?: Duration.DurationInput,
  waiting: Effect.Effect<unknown> = Effect.void
) =>
  Effect.gen(function* () {
    const database = yield* TestDatabase
    const seed = Seed.make({ description: "", run: Effect.provideService(run, TestDatabase, database) })
    return yield* Effect.provide(
      SeedRunner.apply({
        appliedBy: "boot",
        observer: {
          planned: () => Effect.void,
          waiting: () => Effect.asVoid(waiting),
          started: () => Effect.void,
          outcome: () => Effect.void
        }
      }),
      EsOps.layer({ seeds: { "1": seed }, ...(seedTimeout === undefined ? {} : { seedTimeout }) })
    )
  })

/** No event, no row, no marker; one attempt that failed; no lock and no transaction of ours. */
const nothingKept = Effect.gen(function* () {
  const [counts] =
    yield* ask(`SELECT (SELECT count(*)::int FROM kumiko_events) AS events, (SELECT count(*)::int FROM read_tenants) AS rows,
    (SELECT count(*)::int FROM notes) AS notes, (SELECT count(*)::int FROM kumiko_es_operations) AS markers`)
  assert.deepStrictEqual(counts, { events: 0, rows: 0, notes: 0, markers: 0 })
  assert.deepStrictEqual(yield* ask("SELECT outcome FROM es_ops_attempts"), [{ outcome: "failed" }])
  yield* nothingLeft
})

const nothingLeft = Effect.gen(function* () {
  assert.deepStrictEqual(yield* ask(Database.advisoryLocks), [])
  assert.deepStrictEqual(
    yield* ask(
      "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    ),
    []
  )
})

const unreadable = {
  get message(): string {
    throw new Error("not even this")
  }
}

interface Hostile {
  readonly name: string
  readonly run: Effect.Effect<unknown, unknown, SqlClient.SqlClient | TestDatabase | SeedContext.SeedContext>
  /** What the failure says. */
  readonly says: RegExp
  readonly seedTimeout?: Duration.DurationInput
}

const hostile: ReadonlyArray<Hostile> = [
  {
    name: "throws a string",
    run: Effect.sync(() => {
      throw "a text"
    }),
    says: /failed: a text$/
  },
  { name: "fails with undefined", run: Effect.fail(undefined), says: /failed: undefined$/ },
  { name: "fails with null", run: Effect.fail(null), says: /failed: null$/ },
  { name: "fails with an object that cannot be read", run: Effect.fail(unreadable), says: /^seed "1" failed: / },
  {
    name: "fails with a plain object",
    run: Effect.fail({ _tag: "NotFound", email: "a@b" }),
    says: /NotFound \{"email":"a@b"\}/
  },
  { name: "fails with a megabyte of text", run: Effect.fail(new Error("x".repeat(1_000_000))), says: /x{1000}/ },
  { name: "fails with text that jsonb refuses", run: Effect.fail(new Error("a\u0000b\uD800")), says: /a.b/ },
  { name: "dies", run: Effect.die(new TypeError("a bug")), says: /failed: a bug$/ },
  { name: "interrupts itself", run: Effect.interrupt, says: /it interrupted itself/ },
  { name: "never ends", run: Effect.never, says: /longer than seedTimeout/, seedTimeout: "200 millis" },
  {
    name: "never ends inside a statement",
    run: statement("SELECT pg_sleep(60)"),
    says: /seedTimeout|statement timeout/,
    seedTimeout: "200 millis"
  },
  {
    name: "rolls back in a longer text",
    run: statement("SELECT 1; ROLLBACK; SELECT 2"),
    says: /COMMIT or ROLLBACK inside a longer text|ROLLBACK/
  },
  {
    name: "commits in a longer text",
    run: statement("INSERT INTO notes VALUES (1); COMMIT; SELECT 2"),
    says: /COMMIT/
  },
  { name: "begins", run: statement("BEGIN"), says: /BEGIN: the transaction belongs to the runner/ },
  { name: "prepares a transaction", run: statement("PREPARE TRANSACTION 'x'"), says: /PREPARE TRANSACTION/ },
  {
    name: "swallows every error after a COMMIT",
    run: Effect.ignore(statement("COMMIT")),
    says: /COMMIT: the transaction belongs to the runner/
  },
  {
    name: "swallows a SQL error",
    run: Effect.ignore(statement("SELECT nothing")),
    says: /column "nothing" does not exist/
  },
  {
    name: "leaves a deferred constraint broken",
    run: statement("INSERT INTO child VALUES (1)"),
    says: /violates foreign key constraint/
  },
  {
    name: "writes its own marker",
    run: statement("INSERT INTO kumiko_es_operations VALUES ('1', 'seed-migration', now(), 0, 'cli', null)"),
    says: /duplicate key/
  },
  { name: "makes the transaction read-only", run: statement("SET TRANSACTION READ ONLY"), says: /read-only/ },
  {
    name: "ends its own session",
    run: statement("SELECT pg_terminate_backend(pg_backend_pid())"),
    says: /running a step.*seed "1".*failed/s
  }
]

const fresh = Effect.provide(Layer.provideMerge(Database.client({ maxConnections: 3 }), Database.layer))

const prepare = Effect.gen(function* () {
  yield* ask(`CREATE TABLE notes (n int); CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`)
})

layer(Layer.empty, { excludeTestServices: true })("a seed that", (it) => {
  for (const { name, run, says, seedTimeout } of hostile) {
    it.effect(`${name}: a typed failure, and nothing`, () =>
      Effect.gen(function* () {
        yield* prepare
        const body = Effect.zipRight(Effect.zipRight(tenant("a"), statement("INSERT INTO notes VALUES (0)")), run)
        const error = yield* Effect.flip(applyTo(body, seedTimeout))
        assert.include(["SeedFailed", "DatabaseError"], error._tag)
        assert.match(error.message, says)
        yield* nothingKept
        // The same pool goes on.
        yield* applyTo(tenant("b"))
        assert.deepStrictEqual(yield* ask("SELECT key FROM read_tenants"), [{ key: "b" }])
      }).pipe(fresh, Logger.withMinimumLogLevel(LogLevel.None))
    )
  }

  it.effect("writes through another client of its own writes in the seed's transaction all the same", () =>
    Effect.gen(function* () {
      yield* prepare
      const { url } = yield* TestDatabase
      const other = yield* Layer.build(Database.clientOf(url))
      const elsewhere = Effect.provide(statement("INSERT INTO notes SELECT pg_backend_pid()"), other)
      const same = statement("SELECT 1 / (count(*) FILTER (WHERE n = pg_backend_pid()))::int FROM notes")
      yield* applyTo(Effect.zipRight(elsewhere, Effect.zipRight(same, statement("DELETE FROM notes"))))
      yield* ask("DELETE FROM kumiko_es_operations; DELETE FROM es_ops_attempts")
      yield* Effect.flip(applyTo(Effect.zipRight(elsewhere, Effect.fail(new Error("after all")))))
      yield* nothingKept
    }).pipe(Effect.scoped, fresh)
  )
})

layer(Layer.empty, { excludeTestServices: true })("an interruption", (it) => {
  const interrupted = <E, R>(run: Effect.Effect<unknown, E, R>) =>
    Effect.gen(function* () {
      const [took, exit] = yield* Effect.timed(Fiber.interrupt(yield* Effect.fork(run)))
      return { exit, took }
    })

  it.effect("while it waits for a slot of the pool leaves no connection behind", () =>
    Effect.gen(function* () {
      yield* prepare
      const sql = yield* SqlClient.SqlClient
      const held = yield* Deferred.make<void>()
      const free = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(
        sql.withTransaction(
          Effect.zipRight(sql`SELECT 1`, Effect.zipRight(Deferred.succeed(held, undefined), Deferred.await(free)))
        )
      )
      yield* Deferred.await(held)
      const { exit } = yield* interrupted(applyTo(tenant("a")))
      assert.isTrue(Exit.isInterrupted(exit))
      yield* Deferred.succeed(free, undefined)
      yield* Fiber.join(holder)
      yield* applyTo(tenant("b"))
      yield* nothingLeft
    }).pipe(Effect.provide(Layer.provideMerge(Database.client({ maxConnections: 1 }), Database.layer)))
  )

  it.effect("while it waits for the lock, and inside a statement, is rolled back, and the pool goes on", () =>
    Effect.gen(function* () {
      yield* prepare
      const { connect } = yield* TestDatabase
      const holder = yield* Effect.promise(connect)
      yield* Effect.promise(() => holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)"))
      const waits = yield* Deferred.make<void>()
      const waiting = yield* Effect.fork(applyTo(tenant("a"), undefined, Deferred.succeed(waits, undefined)))
      yield* Deferred.await(waits)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(waiting)))
      yield* Effect.promise(() => holder.query("COMMIT"))
      const running = yield* Effect.fork(applyTo(Effect.zipRight(tenant("b"), statement("SELECT pg_sleep(60)"))))
      const sleeping = ask(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
      )
      yield* Effect.repeat(sleeping, { until: (found) => found.length === 1 })
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(running)))
      yield* Effect.repeat(ask(Database.advisoryLocks), { until: (locks) => locks.length === 0 })
      assert.deepStrictEqual(yield* ask("SELECT outcome FROM es_ops_attempts"), [{ outcome: "interrupted" }])
      yield* applyTo(tenant("c"))
      assert.deepStrictEqual(yield* ask("SELECT key FROM read_tenants"), [{ key: "c" }])
    }).pipe(fresh)
  )
})

layer(Layer.empty, { excludeTestServices: true })("an attempt", (it) => {
  it.effect("that cannot be written is logged, and changes nothing of the outcome", () =>
    Effect.gen(function* () {
      yield* prepare
      yield* applyTo(Effect.void)
      yield* ask(`DELETE FROM kumiko_es_operations; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no attempts today'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON es_ops_attempts FOR EACH ROW WHEN (NEW.outcome = 'failed') EXECUTE FUNCTION refuse()`)
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      const error = yield* Effect.flip(applyTo(Effect.fail(new RangeError("its own error")))).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      assert.strictEqual(error.message, 'seed "1" failed: its own error')
      assert.isTrue(
        logged.some((line) => line.includes("The attempt was not recorded") && line.includes("no attempts today"))
      )
      yield* nothingLeft
      assert.deepStrictEqual(Option.some(yield* ask("SELECT id FROM kumiko_es_operations")), Option.some([]))
    }).pipe(fresh)
  )
})
