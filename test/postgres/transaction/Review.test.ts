import { SqlClient } from "@effect/sql"
import { describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Option } from "effect"
import { Transactor } from "effect-es-ops"
import * as net from "node:net"
import { apply, fresh, layerOf, quiet, seed } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const NAME = process.cwd().includes("rold") ? "OLD" : "NEW"
const say = (...parts: ReadonlyArray<unknown>) => console.log(`@@ ${NAME}`, ...parts.map((p) => (typeof p === "string" ? p : JSON.stringify(p))))
const savepointOf = (t: any): (<A, E, R>(part: Effect.Effect<A, E, R>) => Effect.Effect<A, any, R>) => t.savepoint ?? t.turn
const told = (exit: Exit.Exit<any, any>) =>
  Exit.isSuccess(exit) ? `ok ${JSON.stringify(exit.value?.outcomes?.map?.((o: any) => [o._tag, o.id]) ?? exit.value)}` : `fail ${Cause.pretty(exit.cause).split("\n")[0]} interrupted=${Cause.isInterrupted(exit.cause)}`
const state = Effect.gen(function* () {
  const { query } = yield* TestDatabase
  const q = (text: string) => Effect.promise(() => query(text).catch((e: any) => [{ error: e.message }]))
  return {
    t: yield* q("SELECT array_agg(a ORDER BY a) AS a FROM t"),
    markers: yield* q("SELECT id FROM kumiko_es_operations"),
    attempts: yield* q("SELECT operation_id, outcome, error->>'message' AS m FROM es_ops_attempts ORDER BY id"),
    locks: yield* q(Database.advisoryLocks),
    idle: yield* q("SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'")
  }
})
const only = process.env.ONLY
const test = (name: string, run: Effect.Effect<any, any, any>) =>
  (only === undefined || only.split(",").some((o) => name.startsWith(o)) ? it.live : it.live.skip)(name, () => Effect.suspend(() => { say("-----", name); return run }).pipe(fresh) as any, 90_000)
const prepare = (pool: number, seeds: any, url?: string) =>
  Effect.gen(function* () {
    const db = yield* TestDatabase
    yield* Effect.promise(() => db.query("CREATE TABLE IF NOT EXISTS t (a text)"))
    const client = yield* Layer.build(Database.clientOf(url ?? db.url, { maxConnections: pool }))
    const layer = layerOf(Layer.succeedContext(client) as any, seeds)
    return { client, layer, db }
  })
const insert = (a: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO t VALUES (${a})`)
const insertPlain = (a: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(`INSERT INTO t VALUES ('${a}')`))

describe("review", () => {
  test(
    "T1 daemon write after interrupted seal",
    Effect.gen(function* () {
      const body = Effect.gen(function* () {
        const savepoint = savepointOf(yield* Transactor.Transactor)
        const late = savepoint(Effect.zipRight(Effect.sleep("1500 millis"), insert("late")))
        yield* Effect.forkDaemon(late.pipe(Effect.exit, Effect.tap((e) => Effect.sync(() => say("late write", told(e))))))
        yield* Effect.sleep("50 millis")
      })
      const { layer } = yield* prepare(4, { one: seed(body) })
      const fiber = yield* Effect.fork(Effect.provide(apply(), layer))
      yield* Effect.sleep("700 millis")
      yield* Fiber.interrupt(fiber)
      say("after interrupt", told(yield* Fiber.await(fiber)))
      yield* Effect.sleep("2 seconds")
      say(yield* state)
    })
  )
  test(
    "T1b daemon write that outlives the 30 s",
    Effect.gen(function* () {
      const body = Effect.gen(function* () {
        const savepoint = savepointOf(yield* Transactor.Transactor)
        const late = savepoint(Effect.zipRight(Effect.sleep("32 seconds"), insert("late")))
        yield* Effect.forkDaemon(late.pipe(Effect.exit, Effect.tap((e) => Effect.sync(() => say("late write", told(e))))))
        yield* Effect.sleep("50 millis")
      })
      const { layer } = yield* prepare(4, { one: seed(body) })
      say("apply", told(yield* Effect.exit(Effect.provide(apply(), layer))))
      yield* Effect.sleep("3 seconds")
      say(yield* state)
    })
  )
  const control = (name: string, text: string, ddl: number) =>
    test(
      name,
      Effect.gen(function* () {
        for (let n = 0; n < 5; n++) {
          const body = Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            if (ddl > 0) yield* sql.unsafe(Array.from({ length: ddl }, (_, i) => `CREATE TABLE big${i} (a int)`).join(";"))
            yield* Effect.ignore(sql.unsafe(text))
            const e = yield* Effect.exit(insertPlain(`stray${n}`))
            say("insert", Exit.isSuccess(e) ? "ok" : String((Cause.squash(e.cause) as any)?.cause))
          })
          const { layer } = yield* prepare(4, { [`one${n}`]: seed(body) })
          say("apply", told(yield* Effect.exit(Effect.provide(apply(), layer))))
        }
        say(yield* state)
      })
    )
  control("T2 COMMIT in a longer text, large transaction", "SELECT 1; COMMIT", 400)
  control("T2a COMMIT in a longer text, small transaction", "SELECT 1; COMMIT", 0)
  control("T2b ROLLBACK then failure", "ROLLBACK; SELECT 1/0", 0)
  test(
    "T2c COMMIT in a longer text, ReadyForQuery in a packet of its own",
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const address = new URL(url)
      const proxy = yield* Effect.acquireRelease(Effect.promise(() => splitting(address.hostname, Number(address.port))), (s) => Effect.sync(() => s.close()))
      address.port = String((proxy.address() as net.AddressInfo).port)
      const body = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* Effect.ignore(sql.unsafe("SELECT 1; COMMIT"))
        const e = yield* Effect.exit(insertPlain("stray"))
            say("insert", Exit.isSuccess(e) ? "ok" : String((Cause.squash(e.cause) as any)?.cause))
      })
      const { layer } = yield* prepare(4, { one: seed(body) }, address.href)
      say("apply", told(yield* Effect.exit(Effect.provide(apply(), layer))))
      say(yield* state)
    })
  )
  const claimInterrupted = (pool: number) =>
    test(
      `T3 interrupted in the claim, pool of ${pool}`,
      Effect.gen(function* () {
        const { layer: first } = yield* prepare(4, { zero: seed(Effect.void) })
        yield* Effect.provide(apply(), first)
        const { db, layer } = yield* prepare(pool, { one: seed(insert("x")) })
        const blocker = yield* Effect.promise(() => db.connect())
        const observer = { ...quiet, planned: () => Effect.promise(async () => { await blocker.query("BEGIN; LOCK TABLE kumiko_es_operations IN ACCESS EXCLUSIVE MODE") }) }
        const fiber = yield* Effect.fork(Effect.provide(apply(observer as any), layer))
        yield* Effect.sleep("1500 millis")
        const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
        say("interrupt took", Math.round(Duration.toMillis(took)), told(yield* Fiber.await(fiber)))
        yield* Effect.promise(() => blocker.query("ROLLBACK"))
        say(yield* state)
      })
    )
  claimInterrupted(1)
  claimInterrupted(4)
  test(
    "T4 part closed in the middle, caught, pool of one",
    Effect.gen(function* () {
      const body = Effect.gen(function* () {
        const savepoint = savepointOf(yield* Transactor.Transactor)
        const sql = yield* SqlClient.SqlClient
        const part = Effect.gen(function* () {
          yield* insert("of the failed part")
          yield* Effect.timeoutOption(sql.unsafe("SELECT pg_sleep(2)"), "100 millis")
          yield* insert("b")
        })
        say("part", told(yield* Effect.exit(savepoint(part))))
      })
      const { layer } = yield* prepare(1, { one: seed(body) })
      say("apply", told(yield* Effect.exit(Effect.provide(apply(), layer))))
      say(yield* state)
    })
  )
  test(
    "T5 ROLLBACK; BEGIN; SAVEPOINT of our name",
    Effect.gen(function* () {
      for (const fails of [false, true]) {
        const body = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql.unsafe(`SELECT 1; ROLLBACK; BEGIN; INSERT INTO t VALUES ('smuggled ${fails}'); SAVEPOINT es_ops_step`)
          if (fails) yield* Effect.fail(new Error("x"))
        })
        const { layer } = yield* prepare(4, { [`one${fails}`]: seed(body) })
        say("apply", told(yield* Effect.exit(Effect.provide(apply(), layer))))
      }
      say(yield* state)
    })
  )
  test(
    "T6 uninterruptible write outside a step",
    Effect.gen(function* () {
      const { layer } = yield* prepare(4, {})
      yield* Effect.gen(function* () {
        const savepoint = savepointOf(yield* Transactor.Transactor)
        const write = savepoint(Effect.zipRight(Effect.sleep("500 millis"), insert("uninterruptible")))
        const fiber = yield* Effect.fork(Effect.uninterruptible(write))
        yield* Effect.sleep("200 millis")
        yield* Fiber.interrupt(fiber)
        say("write", told(yield* Fiber.await(fiber)))
        const finalizer = yield* Effect.fork(Effect.ensuring(Effect.never, Effect.exit(savepoint(insert("finalizer")))))
        yield* Effect.sleep("200 millis")
        yield* Fiber.interrupt(finalizer)
      }).pipe(Effect.provide(layer))
      say(yield* state)
    })
  )
  test(
    "T7 hostile error",
    Effect.gen(function* () {
      const hostile = Object.defineProperty(new Error("x"), "message", { get: () => { throw new Error("hostile") } })
      const { layer } = yield* prepare(4, { one: seed(Effect.zipRight(insert("x"), Effect.fail(hostile))) })
      const exit = yield* Effect.exit(Effect.provide(apply(), layer))
      say("apply success", Exit.isSuccess(exit))
      say(yield* state)
    })
  )
  const atCommit = (sleep: number) =>
    test(
      `T9 interrupted at COMMIT that takes ${sleep} s`,
      Effect.gen(function* () {
        const outcomes: Array<string> = []
        const { db, layer } = yield* prepare(4, { one: seed(insert("x")) })
        yield* Effect.promise(() => db.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(${sleep}); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`))
        const fiber = yield* Effect.fork(Effect.provide(apply({ ...quiet, outcome: (o: any) => Effect.sync(() => { outcomes.push(o._tag) }) } as any), layer))
        yield* Effect.repeat(Effect.promise(() => db.query("SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%COMMIT' AND state = 'active'")), { until: (f) => f.length > 0 })
        const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
        say("interrupt took", Math.round(Duration.toMillis(took)), told(yield* Fiber.await(fiber)), outcomes)
        yield* Effect.sleep("200 millis")
        say(yield* state)
      })
    )
  atCommit(0.4)
  atCommit(3)
  test(
    "T10 COMMIT in every way",
    Effect.gen(function* () {
      const ways: Record<string, (sql: any) => Effect.Effect<any, any>> = {
        stream: (sql) => sql.unsafe("COMMIT").stream.pipe((s: any) => Effect.flatMap(Effect.sync(() => s), (st: any) => (Effect as any).promise ? require_run(st) : Effect.void)),
        values: (sql) => sql.unsafe("/* x */ COMMIT").values,
        raw: (sql) => sql.unsafe("-- y\n ; COMMIT AND CHAIN").raw,
        unprepared: (sql) => sql.unsafe("end").unprepared,
        params: (sql) => sql.unsafe("COMMIT", [1]),
        prepare: (sql) => sql.unsafe("PREPARE TRANSACTION 'x'"),
        chain: (sql) => sql.unsafe("SELECT 1; COMMIT AND CHAIN"),
        rollbackChain: (sql) => sql.unsafe("SELECT 1; ROLLBACK AND CHAIN"),
        rollback: (sql) => sql.unsafe("INSERT INTO t VALUES ('r'); ROLLBACK; SELECT 2"),
        values2: (sql) => sql.unsafe("SELECT 1; ROLLBACK").values,
        do: (sql) => sql.unsafe("DO $$ BEGIN COMMIT; END $$"),
        closeall: (sql) => sql.unsafe("SELECT 1; CLOSE ALL; COMMIT")
      }
      for (const [name, way] of Object.entries(ways)) {
        const body = Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* insert(name)
          yield* Effect.exit(way(sql))
          yield* Effect.exit(insert(`after ${name}`))
        })
        const { layer } = yield* prepare(2, { [name]: seed(body) })
        say(name, told(yield* Effect.exit(Effect.provide(apply(), layer))))
      }
      say(yield* state)
    })
  )
  test(
    "T11 attempts locked while a failed body is undone, interrupted",
    Effect.gen(function* () {
      const { layer: first } = yield* prepare(4, { zero: seed(Effect.void) })
      yield* Effect.provide(apply(), first)
      const { db, layer } = yield* prepare(4, { one: seed(Effect.zipRight(insert("x"), Effect.fail(new Error("boom")))) })
      const blocker = yield* Effect.promise(() => db.connect())
      const observer = { ...quiet, started: () => Effect.promise(async () => { await blocker.query("BEGIN; LOCK TABLE es_ops_attempts IN ACCESS EXCLUSIVE MODE") }) }
      const fiber = yield* Effect.fork(Effect.provide(apply(observer as any), layer))
      yield* Effect.sleep("1500 millis")
      yield* Effect.fork(Effect.zipRight(Effect.sleep("4 seconds"), Effect.promise(() => blocker.query("ROLLBACK"))))
      const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
      say("interrupt took", Math.round(Duration.toMillis(took)), told(yield* Fiber.await(fiber)))
      yield* Effect.sleep("4 seconds")
      say(yield* state)
    })
  )
  test(
    "T12 attempts locked while an interrupted body is undone",
    Effect.gen(function* () {
      const { layer: first } = yield* prepare(4, { zero: seed(Effect.void) })
      yield* Effect.provide(apply(), first)
      const { db, layer } = yield* prepare(4, { one: seed(Effect.zipRight(insert("x"), Effect.never)) })
      const blocker = yield* Effect.promise(() => db.connect())
      const observer = { ...quiet, started: () => Effect.promise(async () => { await blocker.query("BEGIN; LOCK TABLE es_ops_attempts IN ACCESS EXCLUSIVE MODE") }) }
      const fiber = yield* Effect.fork(Effect.provide(apply(observer as any), layer))
      yield* Effect.sleep("1500 millis")
      yield* Effect.fork(Effect.zipRight(Effect.sleep("6 seconds"), Effect.promise(() => blocker.query("ROLLBACK"))))
      const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
      say("interrupt took", Math.round(Duration.toMillis(took)), told(yield* Fiber.await(fiber)))
      yield* Effect.sleep("6 seconds")
      say(yield* state)
    })
  )
  test(
    "U8 interrupted in checkDeferred of a dry run, pool of one",
    Effect.gen(function* () {
      const { SeedRunner } = yield* Effect.promise(() => import("effect-es-ops"))
      const { layer: first } = yield* prepare(4, { zero: seed(Effect.void) })
      yield* Effect.provide(apply(), first)
      const { db, layer } = yield* prepare(1, { one: seed(insert("x")) })
      yield* Effect.promise(() => db.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(20); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`))
      const fiber = yield* Effect.fork(Effect.provide(SeedRunner.dryRun({ appliedBy: "boot", observer: quiet } as any), layer))
      yield* Effect.sleep("1500 millis")
      const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
      say("interrupt took", Math.round(Duration.toMillis(took)), told(yield* Fiber.await(fiber)))
      say(yield* state)
    })
  )
  test(
    "U15 interrupted at a COMMIT that is refused then",
    Effect.gen(function* () {
      const { layer: first } = yield* prepare(4, { zero: seed(Effect.void) })
      yield* Effect.provide(apply(), first)
      const { db, layer } = yield* prepare(4, { one: seed(insert("x")) })
      yield* Effect.promise(() => db.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RAISE EXCEPTION ''deferred no''; END'; CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`))
      const fiber = yield* Effect.fork(Effect.provide(apply(), layer))
      yield* Effect.repeat(Effect.promise(() => db.query("SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%COMMIT' AND state = 'active'")), { until: (f) => f.length > 0 })
      const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
      say("interrupt took", Math.round(Duration.toMillis(took)), told(yield* Fiber.await(fiber)))
      say(yield* state)
    })
  )
  test(
    "U27 observer that does not return",
    Effect.gen(function* () {
      const { layer } = yield* prepare(4, { one: seed(insert("x")) })
      const fiber = yield* Effect.fork(Effect.provide(apply({ ...quiet, outcome: () => Effect.sleep("6 seconds") } as any), layer))
      yield* Effect.sleep("2 seconds")
      const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
      say("interrupt took", Math.round(Duration.toMillis(took)), told(yield* Fiber.await(fiber)))
      say(yield* state)
    })
  )
  test(
    "U28 uninterruptible write through the dispatcher and in a finalizer, and in memory",
    Effect.gen(function* () {
      const { EsOps } = yield* Effect.promise(() => import("effect-es-ops"))
      const done: Array<string> = []
      const go = Effect.gen(function* () {
        const savepoint = savepointOf(yield* Transactor.Transactor)
        const fiber = yield* Effect.fork(Effect.uninterruptible(savepoint(Effect.zipRight(Effect.sleep("300 millis"), Effect.sync(() => done.push("write"))))))
        yield* Effect.sleep("100 millis")
        yield* Fiber.interrupt(fiber)
        const finalizer = yield* Effect.fork(Effect.ensuring(Effect.never, Effect.exit(savepoint(Effect.zipRight(Effect.void, Effect.sync(() => done.push("finalizer")))))))
        yield* Effect.sleep("100 millis")
        yield* Fiber.interrupt(finalizer)
      })
      yield* Effect.provide(go, (EsOps as any).layerMemory({ seeds: {} }) as any)
      say("memory", done)
      done.length = 0
      const { layer } = yield* prepare(4, {})
      yield* Effect.provide(go, layer)
      say("postgres", done)
    })
  )
  test(
    "U29 statement of a daemon while a failed body is undone, in the body and in a savepoint",
    Effect.gen(function* () {
      for (const how of ["fail", "interrupt"]) {
        const body = Effect.gen(function* () {
          const savepoint = savepointOf(yield* Transactor.Transactor)
          const loop = (name: string) => Effect.forever(Effect.zipRight(insert(name), Effect.sleep("1 millis")))
          yield* Effect.forkDaemon(savepoint(loop("savepoint")))
          yield* Effect.forkDaemon(loop("plain"))
          yield* Effect.sleep("150 millis")
          yield* how === "fail" ? Effect.fail(new Error("boom")) : Effect.never
        })
        const { layer } = yield* prepare(4, { [how]: seed(body) })
        const fiber = yield* Effect.fork(Effect.provide(apply(), layer))
        if (how === "interrupt") { yield* Effect.sleep("900 millis"); yield* Fiber.interrupt(fiber) }
        say(how, told(yield* Fiber.await(fiber)))
        yield* Effect.sleep("300 millis")
      }
      say(yield* state)
    })
  )
  test(
    "V1 transaction none, BEGIN that is left open by a failure that is swallowed",
    Effect.gen(function* () {
      const { Seed } = yield* Effect.promise(() => import("effect-es-ops"))
      for (let n = 0; n < 40; n++) {
        const run = Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.ignore(sql.unsafe("BEGIN; INSERT INTO t VALUES ('open'); SELECT 1/0")))
        const { layer } = yield* prepare(4, { [`n${n}`]: (Seed as any).make({ description: "", transaction: "none", run }) })
        say("apply", told(yield* Effect.exit(Effect.provide(apply(), layer))))
      }
    })
  )
  test(
    "V2 abandoned text with a COMMIT, pool of one",
    Effect.gen(function* () {
      const body = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* Effect.timeoutOption(sql.unsafe("SELECT pg_sleep(0.6); COMMIT"), "100 millis")
        yield* Effect.sleep("900 millis")
        const e = yield* Effect.exit(insertPlain("stray"))
        say("insert", Exit.isSuccess(e) ? "ok" : String((Cause.squash(e.cause) as any)?.cause))
      })
      const { layer } = yield* prepare(1, { one: seed(body) })
      say("apply", told(yield* Effect.exit(Effect.provide(apply(), layer))))
      say(yield* state)
    })
  )
  test(
    "V3 memory, a write that is left running and never ends",
    Effect.gen(function* () {
      const { EsOps } = yield* Effect.promise(() => import("effect-es-ops"))
      const body = Effect.gen(function* () {
        const savepoint = savepointOf(yield* Transactor.Transactor)
        yield* Effect.forkDaemon(savepoint(Effect.never))
        yield* Effect.sleep("50 millis")
      })
      const fiber = yield* Effect.forkDaemon(Effect.provide(apply(), (EsOps as any).layerMemory({ seeds: { one: seed(body as any) } }) as any) as any)
      yield* Effect.sleep("300 millis")
      const end = yield* Effect.timeoutOption(Effect.disconnect(Fiber.interrupt(fiber as any)), "4 seconds")
      say("interrupt ended within 4 s:", Option.isSome(end))
    })
  )
})
import { Stream } from "effect"
const require_run = (st: any): Effect.Effect<any, any> => Stream.runDrain(st as any) as any
void Option

/** Gives each ReadyForQuery that follows an ErrorResponse 30 ms later than that. */
const splitting = (host: string, port: number): Promise<net.Server> =>
  new Promise((resolve) => {
    const server = net.createServer((client) => {
      const up = net.connect(port, host)
      let buffer = Buffer.alloc(0)
      let chain = Promise.resolve()
      let errored = false
      const send = (b: Buffer, delay: number) => { chain = chain.then(async () => { if (delay) await new Promise((r) => setTimeout(r, delay)); client.write(b) }) }
      let plain = true
      up.on("data", (d) => {
        buffer = Buffer.concat([buffer, d])
        while (buffer.length >= 5) {
          if (plain && buffer.length >= 1 && false) break
          const length = buffer.readInt32BE(1) + 1
          if (buffer.length < length) break
          const m = buffer.subarray(0, length)
          buffer = buffer.subarray(length)
          const type = String.fromCharCode(m[0]!)
          if (type === "E") errored = true
          const wait = type === "Z" && errored
          if (type === "Z") errored = false
          send(Buffer.from(m), wait ? 30 : 0)
        }
      })
      client.on("data", (d) => up.write(d))
      const end = () => { client.destroy(); up.destroy() }
      client.on("error", end); up.on("error", end); client.on("close", end); up.on("close", end)
    })
    server.listen(0, "127.0.0.1", () => resolve(server))
  })
