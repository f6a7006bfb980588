/**
 * A claim that waits for a table which another session has locked.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { apply, fresh, layerOf, quiet, seed } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

describe("a claim that waits for a table", () => {
  it.live("is abandoned at once when its run is interrupted, with a pool of one, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { connect, query, url } = yield* TestDatabase
      yield* Effect.gen(function* () {
        yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { a: seed(Effect.void) }))
        const holder = yield* Effect.promise(connect)
        const locked = yield* Deferred.make<void>()
        // When the run is planned, and before its seed is claimed.
        const planned = () =>
          Effect.zipRight(
            Effect.promise(() => holder.query("BEGIN; LOCK TABLE kumiko_es_operations IN ACCESS EXCLUSIVE MODE")),
            Effect.asVoid(Deferred.succeed(locked, undefined))
          )
        const seeds = { a: seed(Effect.void), b: seed(Effect.void) }
        const fiber = yield* Effect.fork(
          Effect.provide(apply({ ...quiet, planned }), layerOf(Database.clientOf(url, { maxConnections: 1 }), seeds))
        )
        yield* Deferred.await(locked)
        yield* Effect.repeat(
          Effect.promise(() =>
            query(
              "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'BEGIN%'"
            )
          ),
          { until: (found) => found.length === 1 }
        )
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        yield* Effect.promise(() => holder.query("ROLLBACK"))
        const { outcomes } = yield* Effect.provide(apply(), layerOf(Database.clientOf(url), seeds))
        assert.deepStrictEqual(
          outcomes.map(({ _tag, id }) => [_tag, id]),
          [["Applied", "b"]]
        )
      })
    }).pipe(fresh)
  )
})
