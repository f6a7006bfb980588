/**
 * The transaction that only reads, when its handler is interrupted.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import * as ReadOnlyTransaction from "../../../src/postgres/replay/ReadOnlyTransaction.js"
import * as HeldConnection from "../../support/HeldConnection.js"

describe("a transaction that only reads", () => {
  it.scoped("is left at once when its handler is interrupted in a statement, and its connection closed", () =>
    Effect.gen(function* () {
      const { asked, seen, sql } = yield* HeldConnection.make
      const handler = sql.unsafe("SELECT 1")
      const running = yield* Effect.fork(ReadOnlyTransaction.inTurn(sql, ({ run }) => run(handler)))
      yield* Deferred.await(asked)
      yield* Fiber.interruptFork(running)
      yield* HeldConnection.settled
      assert.deepStrictEqual(seen, ["BEGIN", "closed", "given back"])
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(running)))
    })
  )

  it.scoped("does not keep its handler waiting for a connection when that is interrupted", () =>
    Effect.gen(function* () {
      const { asked, seen, sql } = yield* HeldConnection.make
      const wanted = yield* Deferred.make<void>()
      const busy = {
        ...sql,
        lend: Effect.map(sql.lend, (loan) => {
          const never = Effect.zipRight(Deferred.succeed(wanted, undefined), Effect.never)
          return { ...loan, connection: never, leavable: never }
        })
      }
      const running = yield* Effect.fork(
        ReadOnlyTransaction.inTurn(Object.assign(sql, busy), ({ run }) => run(sql.unsafe("SELECT 1")))
      )
      yield* Deferred.await(wanted)
      yield* Fiber.interruptFork(running)
      yield* HeldConnection.settled
      assert.deepStrictEqual(seen, ["given back"])
      assert.isFalse(yield* Deferred.isDone(asked))
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(running)))
    })
  )
})
