/**
 * Statements of ours outside steps and runs that are interrupted: what the pool gets back.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { alone } from "../../../src/postgres/client/DecoratedConnection.js"
import type * as PgSqls from "../../../src/postgres/client/PgSql.js"
import * as HeldConnection from "../../support/HeldConnection.js"

const ways: ReadonlyArray<
  readonly [way: string, run: (sql: PgSqls.PgSql["Type"]) => Effect.Effect<unknown, unknown>, before: Array<string>]
> = [
  ["by itself", (sql) => sql.unsafe("SELECT 1"), []],
  ["with a watch beside it", (sql) => alone(sql, Effect.never)(sql.unsafe("SELECT 1")), []],
  ["on a connection of its own", (sql) => alone(sql)(sql.unsafe("SELECT 1")), []],
  ["in a transaction", (sql) => sql.withTransaction(sql.unsafe("SELECT 1")), ["BEGIN"]]
]

describe("a statement of ours that is interrupted", () => {
  for (const [way, run, before] of ways)
    it.scoped(
      `${way} does not give its connection back with a cancellation under way, when it is interrupted twice`,
      () =>
        Effect.gen(function* () {
          const { asked, cancelled, seen, sql } = yield* HeldConnection.make
          const running = yield* Effect.fork(run(sql))
          yield* Deferred.await(asked)
          yield* Fiber.interruptFork(running)
          yield* HeldConnection.settled
          yield* Fiber.interruptFork(running)
          yield* HeldConnection.settled
          assert.deepStrictEqual(seen, [...before, "closed", "given back"])
          const exit = yield* Fiber.await(running)
          assert.isTrue(Exit.isInterrupted(exit), String(exit))
          yield* Deferred.succeed(cancelled, undefined)
          yield* HeldConnection.settled
          assert.deepStrictEqual(seen, [...before, "closed", "given back", "cancelled"])
        })
    )
})
