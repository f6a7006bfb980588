/**
 * An application with a dispatcher of its own.
 */
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { EsOps, Seed, SeedContext, SeedRunner, WriteDispatcher } from "effect-es-ops"
import { TestDatabase } from "../support/TestDatabase.js"
import * as Database from "../support/TestDatabase.js"

const { WriteRejected } = WriteDispatcher

/** Writes rows of a table; `elsewhere` tells of another connection than it is called on. */
const dispatcher = (elsewhere: boolean) =>
  Layer.effect(
    WriteDispatcher.WriteDispatcher,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { query } = yield* TestDatabase
      return WriteDispatcher.WriteDispatcher.of({
        names: ["notes:write:add"],
        transactionId: elsewhere
          ? Effect.map(
              Effect.promise(() => query("SELECT pg_current_xact_id()::text AS id")),
              ([row]) => String(row?.["id"])
            )
          : Effect.orDie(
              Effect.map(sql<{ id: string }>`SELECT pg_current_xact_id()::text AS id`, ([row]) => row?.id ?? "")
            ),
        write: ({ handler, payload }) =>
          payload === "bad"
            ? new WriteRejected({ handler, code: "bad_payload", reason: "not that one" })
            : sql`INSERT INTO notes VALUES (${String(payload)})`.pipe(
                Effect.orDie,
                Effect.as({ data: { id: String(payload) }, events: [] })
              )
      })
    })
  )

const add = (text: string) => SeedContext.systemWriteAs("notes:write:add", text)

layer(Layer.empty, { excludeTestServices: true })("a dispatcher of the application's own", (it) => {
  const fresh = Effect.provide(Layer.provideMerge(Database.client(), Database.layer))
  const notes = Effect.flatMap(TestDatabase, ({ query }) => Effect.promise(() => query("SELECT text FROM notes")))
  const prepare = Effect.flatMap(TestDatabase, ({ query }) =>
    Effect.promise(() => query("CREATE TABLE notes (text text)"))
  )

  it.effect("writes in the seed's transaction, and no event tables are created", () =>
    Effect.gen(function* () {
      yield* prepare
      const run = Effect.gen(function* () {
        yield* add("kept")
        const rejected = yield* Effect.flip(SeedContext.systemWriteAll("notes:write:add", ["undone", "bad"]))
        assert.deepInclude(rejected, { _tag: "WriteRejected", code: "bad_payload" })
      })
      const seeds = {
        "1": Seed.make({ description: "", run }),
        "2": Seed.make({ description: "", run: Effect.zipRight(add("undone too"), Effect.fail(new Error("no"))) })
      }
      const error = yield* Effect.flip(
        Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), EsOps.layer({ seeds, dispatcher: dispatcher(false) }))
      )
      assert.deepInclude(error, { _tag: "SeedFailed", id: "2", applied: ["1"] })
      assert.deepStrictEqual(yield* notes, [{ text: "kept" }])
      const { query } = yield* TestDatabase
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT to_regclass('kumiko_events')::text AS t")), [
        { t: null }
      ])
    }).pipe(fresh)
  )

  it.effect(
    "is refused before the first write when it writes through another connection, unless the settings allow it",
    () =>
      Effect.gen(function* () {
        yield* prepare
        const seeds = { "1": Seed.make({ description: "", run: add("x") }) }
        const on = (allowNonAtomicWriter: boolean) =>
          Effect.provide(
            SeedRunner.apply({ appliedBy: "boot" }),
            EsOps.layer({ seeds, dispatcher: dispatcher(true), allowNonAtomicWriter })
          )
        const error = yield* Effect.flip(on(false))
        assert.strictEqual(error._tag, "SeedsInconsistent")
        assert.include(error.message, "allowNonAtomicWriter")
        assert.deepStrictEqual(yield* notes, [])
        assert.strictEqual((yield* on(true)).outcomes.length, 1)
        assert.deepStrictEqual(yield* notes, [{ text: "x" }])
      }).pipe(fresh)
  )
})
