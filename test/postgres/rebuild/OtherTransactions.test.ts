/**
 * Rebuilds beside transactions of others: who is in their way, and what is committed while they go on.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import * as World from "../../support/RebuildWorld.js"
import * as Database from "../../support/TestDatabase.js"
import { at, damage, during, isRight, query, rebuild, using } from "./Rebuilds.js"

/** A table of the sums of 40 streams of three events each. */
const filled = Layer.effectDiscard(
  Effect.zipRight(
    using((client) => World.fill(client, 40, 3)),
    rebuild()
  )
).pipe(Layer.provideMerge(World.layer()))

layer(filled, { excludeTestServices: true })("a rebuild beside other transactions", (it) => {
  it.effect("is held up by a prepared transaction with an event, which is named", () =>
    Effect.gen(function* () {
      yield* using(async (client) => {
        await client.query("BEGIN")
        await World.append(client, World.idOf(3), 5)
        await World.upsert(client, World.idOf(3), 5)
        await client.query("PREPARE TRANSACTION 'held for a test'")
      })
      const error = yield* Effect.flip(rebuild({ lockTimeout: "300 millis" }))
      assert.strictEqual(error._tag, "SettleTimeout")
      assert.include(error.message, "held for a test")
      yield* query("COMMIT PREPARED 'held for a test'")
      yield* rebuild()
      yield* isRight
    })
  )

  it.effect("tries a swap until a slow reader is through; one that stays is named, and nothing is computed twice", () =>
    Effect.gen(function* () {
      yield* damage(4)
      const reader = yield* using(async (client) => {
        await client.query("SET application_name = 'slow reader'")
        await client.query("BEGIN")
        await client.query("SELECT count(*) FROM read_counters")
        return client
      })
      const error = yield* Effect.flip(rebuild({ mode: "swap", lockTimeout: "300 millis" }))
      assert.strictEqual(error._tag, "CutOverTimeout")
      assert.include(error.message, "slow reader")
      const tried = Logger.make(({ message }) => {
        if (String(message).includes("tries the cut-over")) void reader.query("COMMIT")
      })
      const report = yield* rebuild({ mode: "swap" }).pipe(Effect.provide(Logger.add(tried)))
      assert.deepInclude(report, { mode: "swap", events: 121, rows: { inserted: 0, updated: 1, deleted: 0 } })
      assert.isAbove(report?.cutOver.tries ?? 0, 1)
      yield* isRight
    })
  )

  it.effect("is right where a lower id commits late, with a stream that is archived meanwhile", () =>
    Effect.gen(function* () {
      for (const mode of ["merge", "gradual", "swap"] as const) {
        yield* damage(8)
        const holder = yield* using((client) => Promise.resolve(client))
        const other = yield* using((client) => Promise.resolve(client))
        const observer = during({
          comparing: async () => {
            await holder.query("BEGIN")
            await World.append(holder, World.idOf(10), 5)
            await World.append(other, World.idOf(11), 3)
            await World.upsert(other, World.idOf(11), 3)
            await other.query(
              "INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_by) VALUES ($1, $2, 'counter', 'x')",
              [World.tenant, World.idOf(12)]
            )
            await other.query("DELETE FROM read_counters WHERE id = $1", [World.idOf(12)])
          },
          settling: async () => {
            await World.upsert(holder, World.idOf(10), 5)
            await holder.query("COMMIT")
          }
        })
        // A cut-over that took long would be given up, and the holder waited for, who is told to commit behind it.
        assert.deepInclude(yield* rebuild({ mode, observer, maxStall: "1 minute" }), { mode })
        yield* isRight
        yield* query("DELETE FROM kumiko_archived_streams")
        yield* rebuild()
        yield* isRight
      }
    })
  )

  it.effect("is right where a writer in REPEATABLE READ had touched nothing yet at the cut-over", () =>
    Effect.gen(function* () {
      for (const mode of ["merge", "gradual", "swap"] as const) {
        yield* damage(13)
        const writer = yield* using(async (client) => {
          await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
          await client.query("SELECT 1")
          return client
        })
        const settling = async () => {
          await World.append(writer, World.idOf(14), 5)
          await writer.query("UPDATE read_counters SET total = total + 5 WHERE id = $1", [World.idOf(14)])
          await writer.query("COMMIT")
        }
        // It does not see the rows of a table that was swapped.
        const mended = mode === "swap" ? 1 : 0
        assert.deepInclude(yield* rebuild({ mode, observer: at("settling", settling) }), { mode, mended })
        yield* isRight
      }
    })
  )

  it.effect("folds what came while rows were compared before it locks the table, in each mode", () =>
    Effect.gen(function* () {
      for (const mode of ["merge", "gradual", "swap"] as const) {
        yield* damage(18)
        const meanwhile = yield* using(async (client) => async () => {
          for (const n of [18, 19, 50]) {
            await World.append(client, World.idOf(n), 5)
            await World.upsert(client, World.idOf(n), 5)
          }
        })
        const report = yield* rebuild({ mode, observer: at("comparing", meanwhile) })
        const [found] = yield* query(
          "SELECT (SELECT max(id) FROM kumiko_events) = (cursor->>'at')::bigint AS \"isFolded\" FROM es_ops_runs WHERE id = $1",
          [report?.runId]
        )
        assert.deepStrictEqual(found, { isFolded: true })
        yield* isRight
      }
    })
  )

  it.effect(
    "keeps the row of a key whose event cannot be folded, also where it had differed and the event came later",
    () =>
      Effect.gen(function* () {
        const id = World.idOf(20)
        const row = "SELECT total FROM read_counters WHERE id = $1"
        const { query: send } = yield* Database.TestDatabase
        for (const mode of ["merge", "gradual", "swap"] as const) {
          yield* query("UPDATE read_counters SET total = 4321 WHERE id = $1", [id])
          const observer = at("comparing", () =>
            send(
              `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
            SELECT aggregate_id, 'counter', tenant_id, max(version) + 1, 'counter.added', '{"by":"much"}', '{"userId":"x"}', 'x'
            FROM kumiko_events WHERE aggregate_id = $1 GROUP BY 1, 3`,
              [id]
            )
          )
          assert.deepInclude(yield* rebuild({ mode, onPoison: "quarantine", observer }), { mode, deadLetters: 1 })
          // Those that differ are put right before the cut-over, while the event is not there.
          if (mode !== "gradual") assert.deepStrictEqual(yield* query(row, [id]), [{ total: 4321 }])
          yield* query(`DELETE FROM kumiko_events WHERE payload->>'by' = 'much'`)
        }
        yield* rebuild()
        yield* isRight
      })
  )
})
