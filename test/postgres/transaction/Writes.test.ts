/**
 * What is written is data: whatever it looks like, it is stored as it is, in the database that it is meant for, and leaves the seed as it was
 * where it is refused.
 */
import { SqlClient } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { OperationLog, SeedContext, Transactor } from "effect-es-ops"
import type { Observer } from "../../support/Applying.js"
import { apply, event, fresh, layerOf, quiet, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

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
        const { savepoint: turn } = yield* Transactor.Transactor
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

  it.effect("that fails before it has asked for anything, with another inside it, leaves the seed to go on", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      const run = Effect.gen(function* () {
        const { savepoint: turn } = yield* Transactor.Transactor
        yield* Effect.flip(turn(Effect.zipRight(turn(Effect.void), Effect.fail("no"))))
        yield* Effect.flip(turn(Effect.fail("no")))
        yield* tenant("after")
      })
      yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { one: seed(run) }))
      assert.lengthOf(yield* Effect.promise(() => query("SELECT FROM kumiko_events")), 1)
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
