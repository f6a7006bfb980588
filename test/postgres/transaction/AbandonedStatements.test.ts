/**
 * Writes that a seed leaves in the middle, does not wait for, or makes many of at once.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import type { SeedContext } from "effect-es-ops"
import { Transactor } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { setImmediate } from "node:timers/promises"
import { Client } from "pg"
import { cancelling } from "../../../src/postgres/client/DecoratedConnection.js"
import { apply, event, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import * as FaultProxy from "../../support/FaultProxy.js"
import { TestDatabase } from "../../support/TestDatabase.js"

describe("a write", () => {
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
          const { savepoint: turn } = yield* Transactor.Transactor
          // What comes first in a step is undone to the step's own savepoint.
          yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`)
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
})

describe("the first statement of a write", () => {
  it.live("is cancelled when it is left, and the seed goes on", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const texts = yield* sentByDriver
      const run = Effect.gen(function* () {
        const { savepoint: turn } = yield* Transactor.Transactor
        const sql = yield* SqlClient.SqlClient
        yield* Effect.timeoutOption(turn(sql.unsafe("SELECT pg_sleep($1::int)", [600])), "200 millis")
        yield* tenant("after")
      })
      const report = yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { one: seed(run) }))
      assert.lengthOf(report.outcomes, 1)
      assert.lengthOf(
        texts.filter((text) => text.includes("pg_cancel_backend")),
        1
      )
      assert.lengthOf(yield* Effect.promise(() => query("SELECT FROM kumiko_events")), 1)
    }).pipe(fresh)
  )
})

describe("a statement of ours", () => {
  it.live("is cancelled when it is left, whether or not anybody is told of that", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const sleep = "SELECT pg_sleep(600)"
      const running = Effect.promise(() =>
        query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND query = '${sleep}' AND state = 'active'`
        )
      )
      const told: Array<unknown> = []
      for (const left of [undefined, (fiber: unknown) => void told.push(fiber)]) {
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const connection = cancelling(yield* sql.reserve, left)
          const statement = yield* Effect.fork(connection.executeRaw(sleep, []))
          yield* Effect.repeat(running, { until: (found) => found.length === 1 })
          yield* Fiber.interrupt(statement)
          yield* Effect.repeat(running, { until: (found) => found.length === 0 })
          assert.lengthOf(yield* connection.execute("SELECT 1", [], undefined), 1)
        }).pipe(Effect.scoped, Effect.provide(Database.clientOf(url)))
      }
      assert.lengthOf(told, 1)
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
        Array.from({ length: 240 }, (_, n) => n),
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

  it.live("take turns, and all of them are there, when they are made at once", () =>
    Effect.gen(function* () {
      const keys = Array.from({ length: 300 }, (_, n) => `tenant-${n}`)
      const { found } = yield* ended(
        Effect.forEach(keys, (key) => tenant(key), { concurrency: "unbounded", discard: true })
      )
      assert.deepStrictEqual(found, { events: 300, rows: 300 })
    }).pipe(fresh)
  )
})

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
