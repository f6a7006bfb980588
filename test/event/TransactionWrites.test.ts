/**
 * Writes inside a transaction that is the application's, or a seed's: a refused one is undone alone, all of them with it.
 */
import { assert, describe, it } from "@effect/vitest"
import { SqlClient } from "@effect/sql"
import { Effect, Layer, Schema } from "effect"
import { EsOps, MemoryDatabase, Seed, SeedContext, SeedRunner, WriteDispatcher, WriteHandler } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Database from "../support/TestDatabase.js"
import type { Everything } from "./ShopFeature.js"
import { actor, hows, isStored, keys, open, server, shop, SubDispatcher, submit } from "./ShopFeature.js"

describe("a write inside the application's own transaction", () => {
  const test = <E>(effect: Effect.Effect<void, E, Everything | SqlClient.SqlClient | Database.TestDatabase>) =>
    Effect.provide(effect, server(1))

  it.live.each(hows)("is undone alone when a projection %s, and the transaction goes on", (how) =>
    test(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const [id, later] = [randomUUID(), randomUUID()]
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO read_users (id, email, tenant_id) VALUES (${id}, 'a@b', ${id})`
            assert.strictEqual((yield* Effect.exit(submit(how, id)))._tag, "Failure")
            yield* submit("", later, "later")
          })
        )
        assert.deepStrictEqual(yield* keys, ["later"])
        assert.isFalse(yield* isStored(id))
        assert.strictEqual((yield* sql`SELECT 1 FROM read_users`).length, 1)
      })
    )
  )

  it.live("is undone with it", () =>
    test(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const id = randomUUID()
        yield* Effect.ignore(sql.withTransaction(Effect.zipRight(submit("", id), Effect.fail("no"))))
        assert.deepStrictEqual(yield* keys, [])
        assert.isFalse(yield* isStored(id))
      })
    )
  )

  it.live("takes turns with others, so that a refused one undoes itself only, and holds no lock for each", () =>
    test(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* Effect.forEach(
              Array.from({ length: 30 }, (_, n) => n),
              (n) => Effect.either(submit(n % 3 === 0 ? "refuses" : "", randomUUID(), `k${n + 10}`)),
              { concurrency: "unbounded" }
            )
            const [locks] = yield* sql`SELECT count(*)::int AS n FROM pg_locks
              WHERE pid = pg_backend_pid() AND locktype = 'transactionid'`
            assert.isBelow(Number(locks?.["n"]), 30)
          })
        )
        assert.strictEqual((yield* keys).length, 20)
      })
    )
  )

  it.live("goes through a dispatcher of the application's own as well, of which a refused write leaves nothing", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE notes (id text)`
      const dispatcher = Layer.succeed(WriteDispatcher.WriteDispatcher, {
        write: ({ handler, payload }) =>
          Effect.zipRight(
            Effect.orDie(sql`INSERT INTO notes VALUES (${String(payload)})`),
            payload === "bad"
              ? new WriteDispatcher.WriteRejected({ handler, code: "conflict", reason: "no" })
              : Effect.succeed({ data: { id: String(payload) }, events: [] })
          )
      })
      const add = WriteHandler.make({
        name: "notes:write:add",
        payload: Schema.String,
        access: [],
        handle: () => WriteHandler.reject("conflict", "the application's own dispatcher writes")
      })
      const program = Effect.gen(function* () {
        const { write } = yield* WriteDispatcher.WriteDispatcher
        const refusals = [
          WriteDispatcher.submit(add, "bad", { actor }),
          write({ handler: "notes:write:add", actor, operationId: "o", correlationId: "c", payload: "bad" })
        ]
        for (const refusal of refusals)
          assert.strictEqual(
            (yield* Effect.flip(
              Effect.asVoid<unknown, WriteDispatcher.WriteError, WriteDispatcher.WriteDispatcher>(refusal)
            ))._tag,
            "WriteRejected"
          )
        yield* WriteDispatcher.submit(add, "good", { actor })
      })
      yield* Effect.provide(program, EsOps.layer({ seeds: {}, dispatcher }))
      assert.deepStrictEqual(yield* sql`SELECT id FROM notes`, [{ id: "good" }])
    }).pipe(Effect.provide(Database.client({ maxConnections: 1 })), Effect.provide(Database.layer))
  )
})

describe("a write of a seed's own", () => {
  it.live("that goes past SeedContext is undone alone when it is refused", () =>
    Effect.gen(function* () {
      const [good, bad] = [randomUUID(), randomUUID()]
      const seed = Seed.make({
        description: "it writes through the dispatcher",
        run: Effect.gen(function* () {
          yield* Effect.ignore(submit("refuses", bad))
          yield* submit("", good, "good")
          const { id } = yield* SeedContext.write(
            open,
            { id: randomUUID(), key: "too", how: "" },
            { extraRoles: ["Shop"] }
          )
          yield* Effect.log(id)
        })
      })
      const own = Layer.effect(
        WriteDispatcher.WriteDispatcher,
        Effect.flatMap(MemoryDatabase.MemoryDatabase, (database) =>
          WriteDispatcher.WriteDispatcher.pipe(
            Effect.provide(EsOps.layerMemory({ seeds: {}, features: [shop], database }))
          )
        )
      )
      yield* Effect.gen(function* () {
        const database = yield* MemoryDatabase.MemoryDatabase
        const services = EsOps.layerMemory({ seeds: { seed }, features: [shop], database })
        yield* Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), services)
        assert.deepStrictEqual(yield* Effect.provide(keys, services), ["good", "too"])
        assert.isFalse(yield* Effect.provide(isStored(bad), services))
      }).pipe(Effect.provide(Layer.provideMerge(own, MemoryDatabase.layer)))
    }).pipe(Effect.provide(SubDispatcher.Default))
  )
})
