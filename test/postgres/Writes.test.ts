/**
 * What is written is data: whatever it looks like, it is stored as it is, in the database that it is meant for, and leaves the seed as it was
 * where it is refused.
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import { SqlClient } from "@effect/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Predicate } from "effect"
import { EsOps, EventStore, OperationLog, Seed, SeedContext, SeedRunner, Transactor } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { setImmediate } from "node:timers/promises"
import { Client, Pool } from "pg"
import * as FaultProxy from "../support/FaultProxy.js"
import * as Database from "../support/TestDatabase.js"
import { TestDatabase } from "../support/TestDatabase.js"

const seed = <E, R>(run: Effect.Effect<unknown, E, R>) => Seed.make({ description: "", run })

const tenant = (key: string, name = key) => SeedContext.systemWriteAs("tenant:write:create", { key, name })

const event = (type: string, payload: Readonly<Record<string, unknown>> = {}) =>
  Effect.flatMap(EventStore.EventStore, (store) =>
    store.append([
      {
        tenantId: randomUUID(),
        aggregateId: randomUUID(),
        aggregateType: "thing",
        version: 1,
        type,
        eventVersion: 1,
        payload,
        metadata: { userId: "somebody" }
      }
    ])
  )

type Observer = Exclude<SeedRunner.ApplyOptions["observer"], undefined>

const quiet: Observer = {
  planned: () => Effect.void,
  waiting: () => Effect.void,
  started: () => Effect.void,
  outcome: () => Effect.void
}

const apply = (observer: Observer = quiet) => SeedRunner.apply({ appliedBy: "boot", observer })

type Seeds = Readonly<
  Record<string, Seed.Seed<unknown, SqlClient.SqlClient | EventStore.EventStore | Transactor.Transactor>>
>

const layerOf = (client: Layer.Layer<SqlClient.SqlClient>, seeds: Seeds) =>
  Layer.provideMerge(EsOps.layer({ seeds }), client)

const fresh = <A, E>(test: Effect.Effect<A, E, TestDatabase | Scope.Scope>) =>
  test.pipe(Effect.scoped, Effect.provide(Database.layer))

const hostile = [
  "We close all; deals",
  "discard all;",
  "COMMIT",
  "a'; ROLLBACK; --",
  "-- $1",
  "\\'; /*",
  "ä\n\u{1f600}"
]

describe("a write", () => {
  it.effect("stores what looks like SQL as it is, alone and together with others", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const one = seed(Effect.forEach(hostile, (name, n) => tenant(`one-${n}`, name)))
      const all = seed(
        SeedContext.systemWriteAll(
          "tenant:write:create",
          hostile.map((name, n) => ({ key: `all-${n}`, name }))
        )
      )
      yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { one, two: all }))
      const names = yield* Effect.promise(() => query("SELECT name FROM read_tenants ORDER BY inserted_at"))
      assert.deepStrictEqual(
        names.map((row) => Object(row).name),
        [...hostile, ...hostile]
      )
    }).pipe(fresh)
  )

  it.effect("puts no value into the text of a statement, which servers log", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const texts: Array<string> = []
      const layer = layerOf(reading(Database.clientOf(url), texts), {
        "1": seed(tenant("secret-key", "secret name")),
        "2": seed(
          SeedContext.systemWriteAll("tenant:write:create", [
            { key: "secret-2", name: "a" },
            { key: "secret-3", name: "b" }
          ])
        )
      })
      yield* Effect.provide(Effect.zipRight(apply(), event("outside.any.step", { of: "secret" })), layer)
      assert.isTrue(texts.some((text) => text.includes("INSERT INTO kumiko_events")))
      assert.deepStrictEqual(
        texts.filter((text) => text.includes("secret")),
        []
      )
    }).pipe(fresh)
  )

  it.effect("that the server refuses leaves the seed to go on", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const run = Effect.gen(function* () {
        const { turn } = yield* Transactor.Transactor
        yield* tenant("before")
        yield* Effect.flip(turn(event("a\u0000b")))
        yield* Effect.flip(turn(event("ab", { text: "\u0000" })))
        yield* tenant("after")
      })
      yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { one: seed(run) }))
      const events = yield* Effect.promise(() => query("SELECT payload->>'key' AS key FROM kumiko_events ORDER BY id"))
      assert.deepStrictEqual(events, [{ key: "before" }, { key: "after" }])
    }).pipe(fresh)
  )

  it.effect(
    "that is left as soon as it is sent is not cancelled before its savepoint is there, and the seed goes on",
    () =>
      Effect.gen(function* () {
        const { query, url } = yield* TestDatabase
        const texts = yield* sentByDriver
        const { hostname, port } = new URL(url)
        const proxy = yield* Effect.acquireRelease(
          Effect.promise(() => FaultProxy.start({ host: hostname, port: Number(port) })),
          ({ close }) => Effect.promise(close)
        )
        const through = new URL(url)
        through.port = `${proxy.port}`
        const pool = yield* Layer.build(Database.clientOf(through.href, { maxConnections: 2 }))
        const early: Array<number> = []
        const run = Effect.gen(function* () {
          const { turn } = yield* Transactor.Transactor
          const stopped = proxy.stopAt("before a savepoint", 0)
          const write = yield* Effect.fork(turn(event("left")))
          const { resume } = yield* Effect.promise(() => stopped)
          const leaving = yield* Effect.fork(Fiber.interrupt(write))
          // Behind whatever was asked of the pool's other connection by now.
          yield* Effect.promise(() =>
            Effect.runPromise(Context.get(pool, SqlClient.SqlClient).unsafe("SELECT 'behind it'"))
          )
          early.push(texts.filter((text) => text.includes("pg_cancel_backend")).length)
          resume()
          yield* Fiber.join(leaving)
          yield* tenant("after")
        })
        const report = yield* Effect.provide(apply(), layerOf(Layer.succeedContext(pool), { one: seed(run) }))
        assert.lengthOf(report.outcomes, 1)
        assert.deepStrictEqual(early, [0])
        const events = yield* Effect.promise(() => query("SELECT payload->>'key' AS key FROM kumiko_events"))
        assert.deepStrictEqual(events, [{ key: "after" }])
      }).pipe(fresh)
  )

  it.effect("goes as a text through whatever was put around the client's connection, or around its driver", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const texts: Array<string> = []
      const around = Layer.map(Database.clientOf(url), (services) => {
        const sql = Context.get(services, SqlClient.SqlClient)
        const reserve = Effect.map(sql.reserve, (connection) => new Noting(connection, texts))
        return Context.make(SqlClient.SqlClient, replaced(sql, "reserve", reserve))
      })
      yield* Effect.provide(apply(), layerOf(around, { a: seed(tenant("a")) }))
      assert.isTrue(texts.some((text) => text.includes("INSERT INTO kumiko_events")))
      yield* Effect.provide(apply(), layerOf(tagged(url), { a: seed(tenant("a")), b: seed(tenant("b")) }))
      assert.lengthOf(yield* Effect.promise(() => query("SELECT FROM kumiko_events")), 2)
    }).pipe(fresh)
  )

  it.effect("that fails before it has asked for anything, with another inside it, leaves the seed to go on", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const run = Effect.gen(function* () {
        const { turn } = yield* Transactor.Transactor
        yield* Effect.flip(turn(Effect.zipRight(turn(Effect.void), Effect.fail("no"))))
        yield* Effect.flip(turn(Effect.fail("no")))
        yield* tenant("after")
      })
      yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { one: seed(run) }))
      assert.lengthOf(yield* Effect.promise(() => query("SELECT FROM kumiko_events")), 1)
    }).pipe(fresh)
  )
})

describe("writes that a seed does not wait for", () => {
  const outcomes = "SELECT outcome FROM es_ops_attempts ORDER BY id"
  const stored = `SELECT count(*)::int AS events, (SELECT count(*)::int FROM read_tenants) AS rows FROM kumiko_events`
  const endless = Effect.forever(Effect.suspend(() => tenant(randomUUID())))

  /** Applies a seed that does this; gives how that ended, and what is there. */
  const ended = <E>(run: Effect.Effect<unknown, E, SeedContext.SeedContext>) =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const exit = yield* Effect.exit(Effect.provide(apply(), layerOf(Database.clientOf(url), { one: seed(run) })))
      const [found] = yield* Effect.promise(() => query(stored))
      return { exit, found, attempts: yield* Effect.promise(() => query(outcomes)) }
    })

  it.live("leave it to go on when they are left in the middle, again and again", () =>
    Effect.gen(function* () {
      const left = Effect.forEach(
        Array.from({ length: 600 }, (_, n) => n),
        (n) => Effect.timeoutOption(tenant(`left-${n}`), (n % 30) * 0.2)
      )
      const { attempts, exit, found } = yield* ended(Effect.zipRight(left, tenant("after")))
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.strictEqual(found?.events, found?.rows)
      assert.deepStrictEqual(attempts, [{ outcome: "applied" }])
    }).pipe(fresh)
  )

  it.live("end with it, if they would go on for ever", () =>
    Effect.gen(function* () {
      const { attempts, exit, found } = yield* ended(Effect.zipRight(Effect.fork(endless), tenant("after")))
      assert.isTrue(Exit.isSuccess(exit), String(exit))
      assert.strictEqual(found?.events, found?.rows)
      assert.deepStrictEqual(attempts, [{ outcome: "applied" }])
    }).pipe(fresh)
  )

  it.live("are undone with it when it fails, wherever they are, and its attempt is recorded", () =>
    Effect.gen(function* () {
      const turns = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20]
      for (const [times, turn] of turns.entries()) {
        const underWay = yield* Deferred.make<void>()
        const writing = Effect.forever(
          Effect.tap(
            Effect.suspend(() => tenant(randomUUID())),
            Deferred.succeed(underWay, undefined)
          )
        )
        const failing = Effect.fork(writing).pipe(
          Effect.zipRight(Deferred.await(underWay)),
          // So many turns of the event loop later.
          Effect.zipRight(
            Effect.repeatN(
              Effect.promise(() => setImmediate()),
              turn
            )
          ),
          Effect.zipRight(Effect.fail("no"))
        )
        const { attempts, exit, found } = yield* ended(failing)
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual(found, { events: 0, rows: 0 })
        assert.deepStrictEqual(
          attempts,
          Array.from({ length: times + 1 }, () => ({ outcome: "failed" }))
        )
      }
    }).pipe(fresh)
  )

  it.live("take turns in a time that grows as they do, and no faster", () =>
    Effect.gen(function* () {
      const keys = Array.from({ length: 2_000 }, (_, n) => `tenant-${n}`)
      const { found } = yield* ended(
        Effect.forEach(keys, (key) => tenant(key), { concurrency: "unbounded", discard: true })
      )
      assert.deepStrictEqual(found, { events: 2_000, rows: 2_000 })
    }).pipe(fresh)
  )
})

describe("a run", () => {
  it.effect("keeps to its database, whatever is done with another between its seeds", () =>
    Effect.gen(function* () {
      const here = Context.get(yield* Layer.build(Layer.fresh(Database.layer)), TestDatabase)
      const there = Context.get(yield* Layer.build(Layer.fresh(Database.layer)), TestDatabase)
      const seeds = { a: seed(Effect.void), b: seed(Effect.void) }
      const other = yield* Layer.build(layerOf(Database.clientOf(there.url), seeds))
      const seen: Array<ReadonlyArray<string>> = []
      const beside = Effect.gen(function* () {
        yield* apply()
        yield* event("there")
        seen.push([...(yield* Effect.flatMap(OperationLog.OperationLog, ({ applied }) => applied)).keys()])
      }).pipe(Effect.provide(other), Effect.orDie)
      yield* Effect.provide(apply({ ...quiet, outcome: () => beside }), layerOf(Database.clientOf(here.url), seeds))
      assert.deepStrictEqual(seen, [
        ["a", "b"],
        ["a", "b"]
      ])
      const count = "SELECT count(*)::int AS n FROM kumiko_events"
      assert.deepStrictEqual(yield* Effect.promise(() => here.query(count)), [{ n: 0 }])
      assert.deepStrictEqual(yield* Effect.promise(() => there.query(count)), [{ n: 2 }])
      const ids = "SELECT id FROM kumiko_es_operations ORDER BY id"
      for (const { query } of [here, there]) {
        assert.deepStrictEqual(yield* Effect.promise(() => query(ids)), [{ id: "a" }, { id: "b" }])
      }
    }).pipe(Effect.scoped)
  )

  it.effect("lets whoever waits for a connection have it between two seeds", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const pool = yield* Layer.build(Database.clientOf(url, { maxConnections: 1 }))
      const sql = Context.get(pool, SqlClient.SqlClient)
      const done: Array<string> = []
      const asked = Effect.tap(sql`SELECT 1`, () => Effect.sync(() => done.push("asked")))
      const observer: Observer = {
        ...quiet,
        // By a program of its own, as a fiber of the run would ask on the connection of its step.
        started: (id) => Effect.sync(() => void (id === "b" && Effect.runFork(asked))),
        outcome: ({ id }) => Effect.sync(() => done.push(id))
      }
      const body = seed(Effect.flatMap(SqlClient.SqlClient, (own) => own`SELECT pg_sleep(0.02)`))
      const seeds = Object.fromEntries([..."abcdefgh"].map((id) => [id, body]))
      yield* Effect.provide(apply(observer), layerOf(Layer.succeedContext(pool), seeds))
      assert.deepStrictEqual(
        done.filter((each) => each !== "asked"),
        [..."abcdefgh"]
      )
      assert.isBelow(done.indexOf("asked"), done.indexOf("d"))
      assert.include(done, "asked")
    }).pipe(fresh)
  )

  it.effect("runs a seed as whoever wrapped it has it", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const log: Array<string> = []
      const inner = seed(Effect.sync(() => log.push("inner")))
      const outer: typeof inner = {
        ...inner,
        run: (context) =>
          Effect.zipRight(
            Effect.sync(() => log.push("outer")),
            inner.run(context)
          )
      }
      yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { outer }))
      assert.deepStrictEqual(log, ["outer", "inner"])
    }).pipe(fresh)
  )
})

/** A client whose connections note the text of every statement. */
const reading = (client: Layer.Layer<SqlClient.SqlClient>, texts: Array<string>): Layer.Layer<SqlClient.SqlClient> =>
  Layer.map(client, (services) => {
    const sql = Context.get(services, SqlClient.SqlClient)
    const noting = (connection: Connection): Connection =>
      new Proxy(connection, {
        get: (target, key) => {
          const member = Reflect.get(target, key)
          if (typeof key !== "string" || !key.startsWith("execute")) return member
          return (...args: ReadonlyArray<unknown>) => {
            texts.push(String(args[0]))
            return Reflect.apply(member, target, args)
          }
        }
      })
    return Context.make(
      SqlClient.SqlClient,
      new Proxy(sql, {
        get: (target, key) => (key === "reserve" ? Effect.map(target.reserve, noting) : Reflect.get(target, key))
      })
    )
  })

/** The same object with another member. */
const replaced = <A extends object, K extends keyof A>(of: A, name: K, member: A[K]): A =>
  new Proxy(of, { get: (target, key) => (key === name ? member : Reflect.get(target, key)) })

/** A connection of an application's own class around the client's, which reads every text. */
class Noting implements Connection {
  readonly pg: unknown

  constructor(
    private readonly inner: Connection,
    private readonly texts: Array<string>
  ) {
    this.pg = Predicate.hasProperty(inner, "pg") ? inner.pg : undefined
  }

  private noted(text: string): string {
    this.texts.push(text.trim())
    return text
  }

  execute(text: string, ...rest: Tail<Connection["execute"]>) {
    return this.inner.execute(this.noted(text), ...rest)
  }
  executeRaw(text: string, ...rest: Tail<Connection["executeRaw"]>) {
    return this.inner.executeRaw(this.noted(text), ...rest)
  }
  executeStream(text: string, ...rest: Tail<Connection["executeStream"]>) {
    return this.inner.executeStream(this.noted(text), ...rest)
  }
  executeValues(text: string, ...rest: Tail<Connection["executeValues"]>) {
    return this.inner.executeValues(this.noted(text), ...rest)
  }
  executeUnprepared(text: string, ...rest: Tail<Connection["executeUnprepared"]>) {
    return this.inner.executeUnprepared(this.noted(text), ...rest)
  }
}

type Tail<F extends (text: string, ...rest: never) => unknown> = F extends (text: string, ...rest: infer R) => unknown
  ? R
  : never

/** A client whose driver tags every query with a comment, by a copy of what it is asked. */
const tagged = (url: string): Layer.Layer<SqlClient.SqlClient> => {
  const tag = (asked: unknown): unknown =>
    Predicate.hasProperty(asked, "text") ? { ...asked, text: `/* tagged */ ${String(asked.text)}` } : asked
  const acquire = Effect.acquireRelease(
    Effect.sync(() => {
      const pool = new Pool({ connectionString: url, max: 2 })
      return pool.on("connect", (client) => {
        const { query } = client
        Reflect.set(client, "query", (...asked: ReadonlyArray<unknown>) => Reflect.apply(query, client, asked.map(tag)))
      })
    }),
    (pool) => Effect.promise(() => pool.end())
  )
  return Layer.scopedContext(
    Effect.map(PgClient.fromPool({ acquire }), (client) => Context.make(SqlClient.SqlClient, client))
  ).pipe(Layer.provide(Reactivity.layer), Layer.orDie)
}

/** The texts that the driver is asked from here on. */
const sentByDriver = Effect.gen(function* () {
  const texts: Array<string> = []
  const { query } = Client.prototype
  const noting = function (this: Client, ...asked: ReadonlyArray<unknown>): unknown {
    texts.push(...asked.slice(0, 1).map(String))
    return Reflect.apply(query, this, asked)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => Reflect.set(Client.prototype, "query", noting)),
    () => Effect.sync(() => Reflect.set(Client.prototype, "query", query))
  )
  return texts
})
