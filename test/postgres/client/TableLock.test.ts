/**
 * The watch beside a statement that waits for a table: what it leaves behind when nobody waits any more.
 */
import { Reactivity } from "@effect/experimental"
import { SqlClient } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, TestClock } from "effect"
import * as PgSqls from "../../../src/postgres/client/PgSql.js"
import * as TableLock from "../../../src/postgres/client/TableLock.js"

describe("the watch beside a statement", () => {
  it.scoped("lets go of its question without cancelling it, which would take another connection of the pool", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const left: Array<string> = []
      const answer = yield* Deferred.make<void>()
      const question = Effect.as(Effect.zipRight(Deferred.succeed(asked, undefined), Deferred.await(answer)), []).pipe(
        Effect.onInterrupt(() => Effect.sync(() => left.push("cancelled")))
      )
      const connection = { execute: () => question } as unknown as Connection
      const acquirer = Effect.acquireRelease(Effect.succeed(connection), () =>
        Effect.sync(() => left.push("given back"))
      )
      const client = yield* SqlClient.make({ acquirer, compiler: PgClient.makeCompiler(), spanAttributes: [] }).pipe(
        Effect.provideServiceEffect(Reactivity.Reactivity, Reactivity.make)
      )
      const sql = yield* Effect.provideService(PgSqls.make, SqlClient.SqlClient, client)
      const watching = yield* Effect.fork(
        TableLock.watch(sql, { tables: ["orders"], access: "write", bound: Option.none() })
      )
      yield* TestClock.adjust("500 millis")
      yield* Deferred.await(asked)
      yield* Fiber.interrupt(watching)
      assert.deepStrictEqual(left, [])
      yield* Deferred.succeed(answer, undefined)
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      assert.deepStrictEqual(left, ["given back"])
    })
  )
})
