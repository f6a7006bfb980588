/**
 * Seeds outside any transaction on a server: what PostgreSQL refuses in one, processes that wait or are killed, and poolers.
 */
import { assert, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import {
  admin,
  bundled,
  database,
  decodeApply,
  decodeDoctor,
  decodeHistory,
  decodeStatus,
  tenant,
  untilTrue
} from "../../support/Command.js"
import * as EmbeddedFolder from "../../support/EmbeddedFolder.js"
import * as PgBouncer from "../../support/PgBouncer.js"
import * as Projects from "../../support/Project.js"
import * as Database from "../../support/TestDatabase.js"
import * as TransactionPooler from "../../support/TransactionPooler.js"

const none = `\n  transaction: "none",`

const index = Projects.seedSource("yield* sql`CREATE INDEX CONCURRENTLY tenants_name_idx ON read_tenants (name)`", none)

describe("on a server", () => {
  it("CREATE INDEX CONCURRENTLY does not deadlock with five processes that wait; one applies it, and the lock goes", async () => {
    const { env, query, url } = await database()
    const { run, start } = await bundled({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": index })
    await run(["seed:apply", "--to", "1"], env)
    await admin(async (old) => {
      // The index waits for this transaction, and so the seed goes on until it ends.
      await old.query("BEGIN; INSERT INTO read_tenants VALUES (gen_random_uuid(), 'old', 'old', now())")
      const holder = start(["seed:apply", "--json"], env)
      await untilTrue(() =>
        query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX%'`
        )
      )
      const waiters = Array.from({ length: 5 }, () => start(["seed:apply", "--json"], env))
      for (const waiter of waiters) await waiter.says("waits, 0 s so far")
      const meanwhile = decodeStatus((await run(["seed:status", "--json"], env)).stdout)
      assert.deepStrictEqual(
        meanwhile.seeds.map(({ id, lastAttempt, state }) => [id, state, lastAttempt?.outcome]),
        [
          ["1", "applied", "applied"],
          ["2", "running", "running"]
        ]
      )
      await old.query("COMMIT")
      const first = await holder.result
      assert.strictEqual(first.code, 0, first.stderr)
      assert.deepStrictEqual(
        decodeApply(first.stdout).applied.map(({ id }) => id),
        ["2"]
      )
      for (const { result } of waiters) {
        const { code, stderr, stdout } = await result
        assert.strictEqual(code, 0, stderr)
        assert.deepStrictEqual(decodeApply(stdout).raced, ["2"])
      }
    }, url)
    assert.deepStrictEqual(
      await query("SELECT indisvalid AS v FROM pg_index WHERE indexrelid = 'tenants_name_idx'::regclass"),
      [{ v: true }]
    )
    assert.deepStrictEqual(await query(Database.advisoryLocks), [])
  })

  it("a kill half-way leaves it interrupted for status, doctor and history; --retry runs it again", async () => {
    const { env, query, url } = await database()
    const { run, start } = await bundled({
      "seeds/1.mjs": tenant("one"),
      "seeds/2.mjs": index,
      "seeds/3.mjs": tenant("three")
    })
    await run(["seed:apply", "--to", "1"], env)
    await admin(async (old) => {
      await old.query("BEGIN; INSERT INTO read_tenants VALUES (gen_random_uuid(), 'old', 'old', now())")
      const killed = start(["seed:apply"], env)
      await untilTrue(() =>
        query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX%'`
        )
      )
      killed.process.kill("SIGKILL")
      await killed.result
      // The server notices that its client is gone, and gives the lock back.
      await untilTrue(async () => ((await query(Database.advisoryLocks)).length === 0 ? [1] : []))
      await old.query("COMMIT")
    }, url)
    const { seeds } = decodeStatus((await run(["seed:status", "--json"], env)).stdout)
    assert.deepStrictEqual(
      seeds.map(({ id, state }) => [id, state]),
      [
        ["1", "applied"],
        ["2", "interrupted"],
        ["3", "pending"]
      ]
    )
    const checked = await run(["seed:status", "--check"], env)
    assert.strictEqual(checked.code, 3)
    assert.include(checked.stderr, "es-ops seed:apply --retry 2 runs it again")
    const { checks } = decodeDoctor((await run(["doctor", "--json"], env)).stdout)
    const wrong = Object.fromEntries(
      checks.filter(({ ok }) => !ok).map(({ detail, fix, name }) => [name, `${detail} ${fix}`])
    )
    assert.include(wrong["interrupted"], "never ended: 2")
    assert.include(wrong["interrupted"], "--retry 2 runs it again")
    assert.include(wrong["indexes"], "tenants_name_idx")
    const refused = await run(["seed:apply", "--json"], env)
    assert.strictEqual(refused.code, 1)
    const { failed, notAttempted } = decodeApply(refused.stdout)
    assert.deepInclude(failed, { id: "2" })
    assert.deepStrictEqual([failed?.error._tag, notAttempted], ["SeedInterrupted", ["3"]])
    await query("DROP INDEX tenants_name_idx")
    const retried = await run(["seed:apply", "--retry", "2", "--json"], env)
    assert.strictEqual(retried.code, 0, retried.stderr)
    assert.deepStrictEqual(
      decodeApply(retried.stdout).applied.map(({ id }) => id),
      ["2", "3"]
    )
    const history = decodeHistory((await run(["history", "2", "--json"], env)).stdout)
    assert.deepStrictEqual(
      history.map(({ attempt, endedAt, outcome, reason }) => [attempt, outcome, endedAt === null, reason]),
      [
        [2, "applied", false, 'transaction: "none"'],
        [1, "interrupted", true, 'transaction: "none"']
      ]
    )
    assert.strictEqual((await run(["seed:apply", "--retry", "nope"], env)).code, 2)
  })

  it("its own transactions, writes in them and many at once share its connection, and a signal is recorded", async () => {
    const { env, query } = await database()
    const { start, run } = await bundled({
      "seeds/1.mjs": Projects.seedSource(
        `
    const create = (key) => SeedContext.systemWriteAs("tenant:write:create", { key, name: key })
    yield* sql.withTransaction(Effect.zipRight(create("kept"), sql\`CREATE TABLE mine AS SELECT pg_backend_pid() AS pid\`))
    yield* Effect.ignore(sql.withTransaction(Effect.zipRight(create("undone"), Effect.fail("no"))))
    yield* Effect.all(["a", "b", "c"].map(create), { concurrency: "unbounded" })
    yield* sql\`INSERT INTO mine SELECT pg_backend_pid()\`
    const [{ n }] = yield* SeedContext.query("SELECT count(DISTINCT pid)::int AS n FROM mine")
    yield* Effect.log("sessions: " + n)
    yield* Effect.log("inside")
    yield* Effect.never`,
        none
      )
    })
    const running = start(["seed:apply"], env)
    await running.says("inside")
    running.process.kill("SIGTERM")
    const { code, stderr } = await running.result
    assert.strictEqual(code, 143, stderr)
    assert.include(stderr, "sessions: 1")
    assert.include(stderr, '"1" was under way and what it did is not undone')
    assert.deepStrictEqual(await query("SELECT key FROM read_tenants ORDER BY key"), [
      { key: "a" },
      { key: "b" },
      { key: "c" },
      { key: "kept" }
    ])
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts"), [{ outcome: "interrupted" }])
    assert.deepStrictEqual(await query(Database.advisoryLocks), [])
    assert.strictEqual((await run(["seed:apply"], env)).code, 1)
  })

  it("reads and streams inside its own transactions, and what it sets does not decide where the marker goes", async () => {
    const { env, query } = await database()
    const { run } = await bundled({
      "seeds/1.mjs": Projects.seedSource(
        `
    yield* sql\`CREATE TABLE mine (n integer)\`
    yield* sql\`INSERT INTO mine SELECT generate_series(1, 3)\`
    const rows = yield* sql.withTransaction(Effect.zipRight(sql\`INSERT INTO mine VALUES (4)\`, SeedContext.query("SELECT count(*)::int AS n FROM mine")))
    yield* Effect.log("inside its own: " + rows[0].n)
    const smuggled = yield* sql.withTransaction(Effect.flip(SeedContext.query("SELECT 1; INSERT INTO mine VALUES (99)")))
    yield* Effect.log("smuggled: " + smuggled._tag)
    yield* Stream.runForEach(sql\`SELECT n FROM mine\`.stream, ({ n }) => sql\`UPDATE mine SET n = n + 10 WHERE n = \${n}\`)
    yield* sql\`CREATE SCHEMA elsewhere\`
    yield* sql\`SET search_path = elsewhere\``,
        none
      ).replace("Option }", "Option, Stream }")
    })
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, "inside its own: 4")
    assert.match(stderr, /smuggled: (ReadOnlyViolation|QueryFailed)/)
    assert.deepStrictEqual(await query("SELECT n FROM mine ORDER BY n"), [{ n: 11 }, { n: 12 }, { n: 13 }, { n: 14 }])
    assert.deepStrictEqual(await query("SELECT id FROM public.kumiko_es_operations"), [{ id: "1" }])
  })

  it("fails when it leaves a transaction open: what it did there is lost, and no marker says otherwise", async () => {
    const { env, query } = await database()
    const { run } = await bundled({
      "seeds/1.mjs": Projects.seedSource(`yield* sql.unsafe("BEGIN; CREATE TABLE half (n integer)")`, none)
    })
    const { code, stdout } = await run(["seed:apply", "--json"], env)
    assert.strictEqual(code, 1)
    assert.strictEqual(decodeApply(stdout).failed?.error.cause?._tag, "TransactionLeftOpen")
    assert.deepStrictEqual(await query("SELECT to_regclass('public.half')::text AS t"), [{ t: null }])
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [])
    assert.deepStrictEqual(await query("SELECT outcome, error ->> '_tag' AS tag FROM es_ops_attempts"), [
      { outcome: "failed", tag: "TransactionLeftOpen" }
    ])
  })

  it("is not begun by a role that may not record its end", async () => {
    const { env, name, query, url } = await database()
    const { run } = await bundled({ "seeds/1.mjs": tenant("one") })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    const role = `inserts_${name}`
    await query(`CREATE TABLE done (n integer); CREATE ROLE ${role} LOGIN PASSWORD 'pw';
      GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
    const own = new URL(url)
    own.username = role
    own.password = "pw"
    const made = await bundled({ "seeds/2.mjs": Projects.seedSource("yield* sql`INSERT INTO done VALUES (1)`", none) })
    const refused = await made.run(["seed:apply", "--json"], { DATABASE_URL: own.href })
    assert.strictEqual(refused.code, 6, refused.stderr)
    const { failed } = decodeApply(refused.stdout)
    assert.deepStrictEqual([failed?.id, failed?.error._tag], ["2", "DatabaseError"])
    assert.deepStrictEqual(await query("SELECT n FROM done"), [])
    await query(`GRANT UPDATE ON es_ops_attempts TO ${role}`)
    assert.strictEqual((await made.run(["seed:apply"], { DATABASE_URL: own.href })).code, 0)
    assert.deepStrictEqual(await query("SELECT n FROM done"), [{ n: 1 }])
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("that fails says that nothing of it is undone, before it says what to do next", async () => {
    const { env } = await database()
    const { run } = await bundled({
      "seeds/1.mjs": Projects.seedSource(`return yield* Effect.fail(new Error("broken"))`, none)
    })
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 1)
    assert.match(
      stderr,
      /broken\nat .*\nWhat "1" did outside its transaction, or without one, before it failed is not undone\.\nMend the seed, then/
    )
  })

  it("whose connection goes is no failure of the seed, and interrupted", async () => {
    const { env } = await database()
    const { run } = await bundled({
      "seeds/1.mjs": Projects.seedSource("yield* sql`SELECT pg_terminate_backend(pg_backend_pid())`", none),
      "seeds/2.mjs": tenant("two")
    })
    const lost = await run(["seed:apply", "--json"], env)
    assert.strictEqual(lost.code, 6, lost.stderr)
    const { failed, notAttempted } = decodeApply(lost.stdout)
    assert.deepStrictEqual([failed?.id, failed?.error._tag, notAttempted], ["1", "DatabaseError", ["2"]])
    assert.strictEqual(decodeStatus((await run(["seed:status", "--json"], env)).stdout).seeds[0]?.state, "interrupted")
    const dry = await run(["seed:apply", "--dry-run"], env)
    assert.include(dry.stderr, '"1" was interrupted half-way: seed:apply stops there')
  })

  it("that fails is not run again by those that waited", async () => {
    const { env, query } = await database()
    const { start } = await bundled({
      "seeds/1.mjs": Projects.seedSource(
        `yield* Effect.log("the body runs")
    yield* Effect.repeat(sql\`SELECT 1 FROM go\`, { until: (rows) => rows.length > 0 })
    return yield* Effect.fail(new Error("broken"))`,
        none
      )
    })
    await query("CREATE TABLE go (n integer)")
    const first = start(["seed:apply", "--json"], env)
    await first.says("the body runs")
    const second = start(["seed:apply", "--json"], env)
    await second.says("waits, 0 s so far")
    await query("INSERT INTO go VALUES (1)")
    assert.strictEqual(decodeApply((await first.result).stdout).failed?.error._tag, "SeedFailed")
    const { stderr, stdout } = await second.result
    assert.strictEqual(decodeApply(stdout).failed?.error._tag, "SeedFailedElsewhere")
    assert.notInclude(stderr, "the body runs")
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts"), [{ outcome: "failed" }])
  })

  it("the embedded database runs it on its one connection", async () => {
    const made = await bundled({
      "seeds/1.mjs": tenant("one"),
      "seeds/2.mjs": Projects.seedSource("yield* sql`VACUUM read_tenants`", none)
    })
    const { run } = made
    await EmbeddedFolder.prepare(made)
    const dry = await run(["seed:apply", "--embedded", "--dry-run"])
    assert.include(dry.stdout, "not run     2\n1 would be applied, 1 not attempted.")
    assert.include(dry.stderr, '"2" runs outside any transaction and cannot be rolled back: it is not run here')
    const { code, stderr, stdout } = await run(["seed:apply", "--embedded"])
    assert.strictEqual(code, 0, stderr)
    assert.include(stdout, "2 applied, 0 not attempted.")
  })

  const refusedBehind = async (
    start: (url: string) => Promise<{ readonly port: number; readonly close: () => Promise<void> }>
  ) => {
    const { env, name, query, url } = await database()
    const { run } = await bundled({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": index })
    const pooler = await start(url)
    try {
      const behind = { DATABASE_URL: `postgres://postgres@127.0.0.1:${pooler.port}/${name}` }
      const refused = await run(["seed:apply", "--json"], behind)
      assert.strictEqual(refused.code, 4, refused.stderr)
      assert.deepStrictEqual(
        decodeApply(refused.stdout).failed?.error.problems?.map(({ _tag, id }) => [_tag, id]),
        [["PoolerUnsupported", "2"]]
      )
      assert.deepStrictEqual(await query("SELECT to_regclass('kumiko_es_operations')::text AS t"), [{ t: null }])
      const transactional = await run(["seed:apply", "--to", "1"], behind)
      assert.strictEqual(transactional.code, 0, transactional.stderr)
      // Nothing of ours stays with the pooler's sessions: neither a lock nor a setting.
      assert.deepStrictEqual(await query(Database.advisoryLocks), [])
      assert.deepStrictEqual(
        await query(
          "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ 'es-ops .*1$'"
        ),
        []
      )
    } finally {
      await pooler.close()
    }
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
  }

  it("a pooler in transaction mode is refused before anything is written; transactional seeds are applied through it", () =>
    refusedBehind((url) => TransactionPooler.start(url, 3)))

  it.skipIf(!PgBouncer.isInstalled)("so is PgBouncer (skipped where it is not installed)", () =>
    refusedBehind(() => PgBouncer.start(inject("postgres")))
  )
})
