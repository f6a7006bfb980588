/**
 * Connections that are asked for while none is free: how long is waited, and where one goes that comes too late.
 */
import { Reactivity } from "@effect/experimental"
import { SqlClient } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, TestClock } from "effect"
import * as PgSqls from "../../../src/postgres/client/PgSql.js"
import * as HeldConnection from "../../support/HeldConnection.js"

/** A pool whose one connection is free once `freed` is told; `seen` has what happens to it. */
const busyPool = Effect.gen(function* () {
  const seen: Array<string> = []
  const freed = yield* Deferred.make<void>()
  const connection = {
    execute: () => Effect.sync(() => [{ n: seen.push("asked") }])
  } as unknown as Connection
  const acquirer = Effect.acquireRelease(Effect.as(Deferred.await(freed), connection), () =>
    Effect.sync(() => seen.push("given back"))
  )
  const client = yield* SqlClient.make({ acquirer, compiler: PgClient.makeCompiler(), spanAttributes: [] }).pipe(
    Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make)
  )
  const sql = yield* Effect.provideService(PgSqls.make, SqlClient.SqlClient, client)
  return { freed, seen, sql }
})

/** The first beat, and so long behind it. */
const pass = (rest: "29 seconds" | "29900 millis") =>
  Effect.zipRight(
    Effect.zipRight(TestClock.adjust("100 millis"), HeldConnection.settled),
    Effect.zipRight(TestClock.adjust(rest), HeldConnection.settled)
  )

describe("a connection that is not free", () => {
  it.scoped("is waited for, and used when it comes in time", () =>
    Effect.gen(function* () {
      const { freed, seen, sql } = yield* busyPool
      const asking = yield* Effect.fork(sql.unsafe("SELECT 1"))
      yield* pass("29 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(asking)))
      yield* Deferred.succeed(freed, undefined)
      yield* Fiber.join(asking)
      yield* pass("29900 millis")
      assert.deepStrictEqual(seen, ["asked", "given back"])
    })
  )

  it.scoped("is an error after 30 seconds, and goes back to the pool when it comes after that", () =>
    Effect.gen(function* () {
      const { freed, seen, sql } = yield* busyPool
      const asking = yield* Effect.fork(Effect.flip(sql.unsafe("SELECT 1")))
      yield* pass("29900 millis")
      const { cause } = yield* Fiber.join(asking)
      assert.include(String(cause), "no connection of the pool became free within 30 seconds")
      assert.deepStrictEqual(seen, [])
      yield* Deferred.succeed(freed, undefined)
      yield* HeldConnection.settled
      assert.deepStrictEqual(seen, ["given back"])
    })
  )

  it.scoped("goes back to the pool when who asked for it was interrupted meanwhile", () =>
    Effect.gen(function* () {
      const { freed, seen, sql } = yield* busyPool
      const asking = yield* Effect.fork(sql.unsafe("SELECT 1"))
      yield* HeldConnection.settled
      yield* Fiber.interrupt(asking)
      assert.deepStrictEqual(seen, [])
      yield* Deferred.succeed(freed, undefined)
      yield* HeldConnection.settled
      assert.deepStrictEqual(seen, ["given back"])
    })
  )
})
