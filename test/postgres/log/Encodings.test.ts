/**
 * Databases whose encoding holds few characters: what is recorded there, and what is refused.
 */
import { assert, describe, it } from "@effect/vitest"
import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { EventStore, Operation, Seed, SeedLedger } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { apply, layerOf, seed, tenant } from "../../support/Applying.js"
import { admin } from "../../support/Command.js"
import * as Database from "../../support/TestDatabase.js"

const text = "a → ä Ж 日 € \u{1f600} \ud800."

/** What each encoding keeps of it. */
const kept = {
  LATIN1: "a ? ä ? ? ? ? ?.",
  WIN1252: "a ? ä ? ? € ? ?.",
  KOI8R: "a ? ? Ж ? ? ? ?.",
  EUC_JP: "a → ä Ж 日 ? ? ?.",
  SQL_ASCII: "a → ä Ж 日 € \u{1f600} \ufffd.",
  UTF8: "a → ä Ж 日 € \u{1f600} \ufffd."
}

/** A database of an encoding, for as long as the test takes. */
const encoded = (encoding: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const name = `encoded_${randomUUID().replaceAll("-", "")}`
      await admin((client) =>
        client.query(`CREATE DATABASE ${name} ENCODING '${encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`)
      )
      return name
    }),
    (name) => Effect.promise(() => admin((client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`)))
  ).pipe(Effect.map(Database.url))

const rows = (url: string, statement: string) =>
  Effect.promise(() => admin(async (client) => (await client.query<Record<string, unknown>>(statement)).rows, url))

describe("a record in a database of another encoding", () => {
  for (const [encoding, expected] of Object.entries(kept))
    it.scopedLive(`has ? for what ${encoding} does not hold, in notes, reasons and errors`, () =>
      Effect.gen(function* () {
        const url = yield* encoded(encoding)
        const insert = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO bodies VALUES (1)`)
        yield* rows(url, "CREATE TABLE bodies (n integer)")
        const fails = Effect.fail(new Error(`${text}\u0000`))
        const error = yield* Effect.flip(apply()).pipe(
          Effect.provide(
            layerOf(Database.clientOf(url), {
              "1": Seed.make({ description: text, run: insert }),
              "2": Seed.make({ description: text, transaction: "none", run: insert }),
              "3": seed(Effect.zipRight(insert, fails))
            })
          )
        )
        assert.strictEqual(error._tag, "SeedFailed", error.message)
        const notes = yield* rows(url, "SELECT notes FROM kumiko_es_operations ORDER BY id")
        assert.deepStrictEqual(notes, [{ notes: expected }, { notes: expected }])
        const failed = yield* rows(
          url,
          "SELECT outcome, error->>'message' AS message FROM es_ops_attempts WHERE operation_id = '3'"
        )
        assert.deepStrictEqual(failed, [
          {
            outcome: "failed",
            message: `${expected}${encoding === "UTF8" || encoding === "SQL_ASCII" ? "\ufffd" : "?"}`
          }
        ])
      })
    )

  it.scopedLive("has ? in the reason of a mark, and of an archived stream", () =>
    Effect.gen(function* () {
      const url = yield* encoded("LATIN1")
      const id = Operation.OperationId.make("1")
      const stream = { tenantId: randomUUID(), aggregateId: randomUUID(), aggregateType: "thing", archivedBy: "me" }
      yield* Effect.gen(function* () {
        yield* SeedLedger.mark({ id, reason: "→ done", appliedBy: "cli" })
        yield* Effect.flatMap(EventStore.EventStore, (store) => store.archive({ ...stream, reason: "→ gone" }))
        yield* SeedLedger.unmark({ id, reason: "→ not done", appliedBy: "cli" })
      }).pipe(Effect.provide(layerOf(Database.clientOf(url), { "1": seed(Effect.void) })))
      const reasons = yield* rows(
        url,
        "SELECT reason FROM es_ops_attempts UNION ALL SELECT reason FROM kumiko_archived_streams"
      )
      assert.deepStrictEqual(
        reasons.map(({ reason }) => reason),
        ["? done", "? not done", "? gone"]
      )
    })
  )
})

describe("a seed whose id the encoding does not hold", () => {
  it.scopedLive("is refused by a message that names it and says what to do, and those before it stay", () =>
    Effect.gen(function* () {
      const url = yield* encoded("LATIN1")
      const id = Operation.OperationId.make("2-→")
      const nothing = seed(Effect.void)
      const outside = Seed.make({ description: "", transaction: "none", run: Effect.void })
      for (const given of [nothing, outside]) {
        const marking = SeedLedger.mark({ id, reason: "x", appliedBy: "cli" })
        const layer = layerOf(Database.clientOf(url), { "1": nothing, [id]: given })
        const both = Effect.all([Effect.flip(apply()), Effect.flip(marking)])
        for (const error of yield* Effect.provide(both, layer)) {
          assert.strictEqual(error._tag, "DatabaseError", error.message)
          assert.include(error.message, 'the id "2-→" cannot be recorded')
          assert.include(error.message, "rename the seed")
        }
      }
      assert.deepStrictEqual(yield* rows(url, "SELECT id FROM kumiko_es_operations"), [{ id: "1" }])
    })
  )
})

describe("a write in a database of another encoding", () => {
  it.scopedLive("is rejected for what that does not hold, and leaves nothing", () =>
    Effect.gen(function* () {
      const url = yield* encoded("LATIN1")
      const errors: Array<unknown> = []
      const run = Effect.gen(function* () {
        yield* tenant("held", "ä")
        errors.push(yield* Effect.flip(tenant("one", "→")), yield* Effect.flip(tenant("→", "two")))
      })
      yield* apply().pipe(Effect.provide(layerOf(Database.clientOf(url), { "1": seed(run) })))
      for (const error of errors) assert.deepInclude(error, { _tag: "WriteRejected", code: "validation_error" })
      assert.deepStrictEqual(yield* rows(url, "SELECT name FROM read_tenants"), [{ name: "ä" }])
      assert.strictEqual((yield* rows(url, "SELECT FROM kumiko_events")).length, 1)
    })
  )
})
