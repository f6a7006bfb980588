/**
 * Bodies that end their transaction, or that leave something running, in ways that are noticed late: nothing of them is kept.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { Seed, Transactor } from "effect-es-ops"
import type { Seeds } from "../../support/Applying.js"
import { apply, event, fresh, layerOf, seed } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

/** Applies the seeds where there is a table of notes; gives how that ended. */
const applied = (seeds: Seeds) =>
  Effect.flatMap(TestDatabase, ({ query, url }) =>
    Effect.zipRight(
      Effect.promise(() => query("CREATE TABLE IF NOT EXISTS notes (text text)")),
      Effect.exit(Effect.provide(apply(), layerOf(Database.clientOf(url), seeds)))
    )
  )

const note = (text: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(`INSERT INTO notes VALUES ('${text}')`))

const rowsOf = (text: string) => Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query(text)))

describe("a body", () => {
  it.effect(
    "that commits inside a longer text and goes on writes into no transaction that is kept, however late it shows",
    () =>
      Effect.gen(function* () {
        const tables = Array.from({ length: 400 }, (_, n) => `CREATE TABLE big_${n} (a int)`).join(";")
        for (let n = 0; n < 3; n++) {
          const run = Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* sql.unsafe(tables)
            yield* Effect.ignore(sql.unsafe("SELECT 1; COMMIT"))
            yield* note("behind the COMMIT")
          })
          assert.isTrue(Exit.isFailure(yield* applied({ [`${n}`]: seed(run) })))
        }
        assert.deepStrictEqual(yield* rowsOf("SELECT * FROM notes"), [])
      }).pipe(fresh)
  )

  it.effect("that begins another transaction, with a savepoint like ours, keeps nothing of it", () =>
    Effect.gen(function* () {
      const text = "SELECT 1; ROLLBACK; BEGIN; INSERT INTO notes VALUES ('smuggled'); SAVEPOINT es_ops_step"
      const smuggled = Effect.ignore(Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(text)))
      assert.isTrue(Exit.isFailure(yield* applied({ a: seed(smuggled) })))
      assert.isTrue(Exit.isFailure(yield* applied({ b: seed(Effect.zipRight(smuggled, Effect.fail("no"))) })))
      assert.deepStrictEqual(yield* rowsOf("SELECT * FROM notes"), [])
    }).pipe(fresh)
  )

  it.effect("that left a write running is closed when its run is interrupted meanwhile", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.promise(() => query("CREATE TABLE notes (text text)"))
      const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const late = yield* Deferred.make<Fiber.RuntimeFiber<unknown, unknown>>()
      const run = Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const part = Deferred.succeed(begun, undefined).pipe(
          Effect.zipRight(Deferred.await(go)),
          Effect.zipRight(note("late"))
        )
        yield* Deferred.succeed(late, yield* Effect.forkDaemon(transactor.savepoint(part)))
        yield* Deferred.await(begun)
      })
      const running = yield* Effect.fork(Effect.provide(apply(), layerOf(Database.clientOf(url), { one: seed(run) })))
      yield* Deferred.await(begun)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(running)))
      yield* Deferred.succeed(go, undefined)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(yield* Deferred.await(late))))
      assert.deepStrictEqual(yield* rowsOf("SELECT * FROM notes"), [])
    }).pipe(fresh)
  )

  it.effect("outside any transaction that leaves one open after a failure that it swallowed fails, each time", () =>
    Effect.gen(function* () {
      for (let n = 0; n < 10; n++) {
        const run = Effect.flatMap(SqlClient.SqlClient, (sql) =>
          Effect.ignore(sql.unsafe("BEGIN; INSERT INTO notes VALUES ('open'); SELECT 1/0"))
        )
        const exit = yield* applied({ [`${n}`]: Seed.make({ description: "", transaction: "none", run }) })
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(exit)) assert.include(Cause.pretty(exit.cause), "left a transaction open")
      }
      assert.deepStrictEqual(yield* rowsOf("SELECT * FROM notes"), [])
    }).pipe(fresh)
  )
})

describe("a write outside any step", () => {
  it.effect("is made whole where it cannot be interrupted, as in a finalizer", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const layer = layerOf(Database.clientOf(url), { a: seed(Effect.void) })
      yield* Effect.gen(function* () {
        yield* apply()
        const transactor = yield* Transactor.Transactor
        const begun = yield* Deferred.make<void>()
        const write = transactor.savepoint(Effect.zipRight(event("kept"), Deferred.succeed(begun, undefined)))
        const fiber = yield* Effect.fork(
          Effect.uninterruptible(Effect.zipRight(write, transactor.savepoint(event("too"))))
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
        const finalizing = yield* Effect.fork(
          Effect.onInterrupt(Effect.never, () => Effect.orDie(transactor.savepoint(event("final"))))
        )
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(finalizing)
      }).pipe(Effect.provide(Layer.merge(layer, Layer.empty)))
      const types = yield* rowsOf("SELECT type FROM kumiko_events ORDER BY id")
      assert.deepStrictEqual(types, [{ type: "kept" }, { type: "too" }, { type: "final" }])
    }).pipe(fresh)
  )
})
