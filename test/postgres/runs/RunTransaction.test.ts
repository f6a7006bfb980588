/**
 * Transactions of runs, a statement of which is abandoned in the middle.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, TestClock } from "effect"
import { OperationConfig } from "effect-es-ops"
import * as RunTransaction from "../../../src/postgres/runs/RunTransaction.js"
import * as HeldConnection from "../../support/HeldConnection.js"

/** Leaves its first statement, and goes on with another. */
const transaction = Effect.gen(function* () {
  const config = yield* Effect.provide(OperationConfig.OperationConfig, OperationConfig.layer({}))
  const held = yield* HeldConnection.make
  const { asked, sql } = held
  const work = Effect.raceFirst(sql.unsafe("SELECT 1"), Deferred.await(asked)).pipe(
    Effect.zipRight(sql.unsafe("ROLLBACK TO SAVEPOINT a")),
    Effect.as({ value: undefined, statements: [] })
  )
  const database = { sql, config, host: "here", tables: [], waits: Effect.never }
  const running = yield* Effect.fork(
    RunTransaction.run(database, { action: "counting", name: "count", opening: [], work: () => work })
  )
  yield* Deferred.await(asked)
  yield* HeldConnection.settled
  return { ...held, running }
})

describe("a statement behind one that was abandoned in a batch", () => {
  it.scoped("waits for its cancellation, which would hit it", () =>
    Effect.gen(function* () {
      const { cancelled, running, seen } = yield* transaction
      assert.deepStrictEqual(seen, ["BEGIN"])
      yield* Deferred.succeed(cancelled, undefined)
      yield* Effect.exit(Fiber.join(running))
      assert.deepStrictEqual(seen.slice(0, 3), ["BEGIN", "cancelled", "ROLLBACK"])
    })
  )

  it.scoped("is not sent where that does not end: the connection is closed, and the transaction with it", () =>
    Effect.gen(function* () {
      const { running, seen } = yield* transaction
      yield* TestClock.adjust("1 second")
      yield* HeldConnection.settled
      // Nor is the ROLLBACK of the transaction.
      yield* TestClock.adjust("1 second")
      yield* Effect.exit(Fiber.join(running))
      assert.deepStrictEqual(seen, ["BEGIN", "closed", "given back"])
    })
  )
})
