/**
 * Writes outside a seed: each is a transaction of its own, or a savepoint of one that is open.
 */
import { assert, describe, it } from "@effect/vitest"
import { SqlClient } from "@effect/sql"
import type { Scope } from "effect"
import { Effect, Layer, Option, Schema } from "effect"
import {
  Directory,
  EsOps,
  EventStore,
  Feature,
  Identity,
  MemoryDatabase,
  Projection,
  ReadTables,
  Seed,
  SeedContext,
  SeedRunner,
  Transactor,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Database from "../support/TestDatabase.js"

const actor = { id: "u", tenantId: randomUUID(), roles: ["Shop", "system"] }

const Open = Schema.Struct({ id: Schema.UUID, key: Schema.String, how: Schema.String })

/** Appends a tenant's event, which a projection writes before another one refuses, fails, dies or never ends. */
const open = WriteHandler.make({
  name: "shop:write:shop:open",
  payload: Open,
  access: ["Shop"],
  handle: ({ how, id, key }) => ({
    events: [{ aggregateId: id, aggregateType: "shop", version: 1, type: "shop.opened", payload: { id, key, how } }],
    data: { id, key }
  })
})

/** Writes through the dispatcher itself, and goes on after a refusal. */
const openTwo = WriteHandler.make({
  name: "shop:write:shop:open-two",
  payload: Schema.Struct({ id: Schema.UUID, refused: Schema.UUID, key: Schema.String }),
  access: ["Shop"],
  handle: ({ id, key, refused }) =>
    Effect.gen(function* () {
      const dispatcher = yield* SubDispatcher
      yield* Effect.ignore(dispatcher.submit({ id: refused, key: `${key}-inner`, how: "refuses" }))
      return {
        events: [
          { aggregateId: id, aggregateType: "shop", version: 1, type: "shop.opened", payload: { id, key, how: "" } }
        ],
        data: { id }
      }
    })
})

class SubDispatcher extends Effect.Service<SubDispatcher>()("test/SubDispatcher", {
  sync: () => {
    const holder: { dispatcher: Option.Option<WriteDispatcher.WriteDispatcher["Type"]> } = { dispatcher: Option.none() }
    return {
      set: (dispatcher: WriteDispatcher.WriteDispatcher["Type"]) => {
        holder.dispatcher = Option.some(dispatcher)
      },
      submit: (payload: typeof Open.Type) =>
        Effect.flatMap(Effect.orDie(holder.dispatcher), (dispatcher) =>
          Effect.provideService(
            WriteDispatcher.submit(open, payload, { actor }),
            WriteDispatcher.WriteDispatcher,
            dispatcher
          )
        )
    }
  }
}) {}

const tenants: Feature.Table = {
  name: "read_tenants",
  columns: [
    { name: "id", type: "uuid" },
    { name: "name", type: "text" },
    { name: "key", type: "text" },
    { name: "inserted_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["key"]]
}

const rows = Projection.make({
  name: "rows",
  events: ["shop.opened"],
  apply: (events) =>
    Effect.gen(function* () {
      const tables = yield* ReadTables.ReadTables
      for (const { aggregateId, payload } of events) {
        const key = String(payload["key"])
        yield* Effect.orDie(tables.add(tenants, [{ id: aggregateId, name: key, key }]))
      }
    })
})

const ends = Projection.make({
  name: "ends",
  events: ["shop.opened"],
  apply: (events) =>
    Effect.forEach(
      events,
      ({ payload }) => {
        switch (payload["how"]) {
          case "refuses":
            return WriteHandler.reject("conflict", "it refuses")
          case "fails":
            return Effect.fail(new Error("it fails"))
          case "dies":
            return Effect.dieMessage("it dies")
          case "interrupts":
            return Effect.interrupt
          default:
            return Effect.void
        }
      },
      { discard: true }
    )
})

const shop = Feature.make({
  name: "shop",
  handlers: [open, openTwo],
  projections: [rows, ends],
  tables: Identity.feature.tables
})

type Everything = EsOps.Services | SubDispatcher

const memory: Layer.Layer<Everything> = EsOps.layerMemory({ seeds: {}, features: [shop] }).pipe(
  Layer.provideMerge(SubDispatcher.Default),
  Layer.orDie
)

const first = Seed.make({
  description: "a seed that creates the tables",
  run: Effect.void
})

const server = (maxConnections: number) =>
  Layer.effectDiscard(Effect.orDie(SeedRunner.apply({ appliedBy: "boot" }))).pipe(
    Layer.provideMerge(EsOps.layer({ seeds: { first }, features: [shop] })),
    Layer.provideMerge(SubDispatcher.Default),
    Layer.provideMerge(Database.client({ maxConnections })),
    Layer.provideMerge(Database.layer),
    Layer.orDie
  )

const keys = Effect.gen(function* () {
  const { findTenants } = yield* Directory.Directory
  return (yield* findTenants).map(({ tenantKey }) => tenantKey).toSorted()
})

const isStored = (id: string) =>
  Effect.map(
    Effect.flatMap(EventStore.EventStore, (store) => store.load({ tenantId: actor.tenantId, aggregateId: id })),
    ({ length }) => length > 0
  )

const submit = (how: string, id = randomUUID(), key = `${how}-${id}`) =>
  WriteDispatcher.submit(open, { id, key, how }, { actor })

const hows = ["refuses", "fails", "dies", "interrupts"] as const

describe.each([
  ["memory", memory],
  ["PostgreSQL", server(4)],
  ["PostgreSQL with one connection", server(1)]
] as const)("a write outside a seed: %s", (_, services) => {
  const test = (effect: Effect.Effect<void, unknown, Everything | Scope.Scope>) =>
    Effect.scoped(effect).pipe(Effect.provide(services))

  it.live.each(hows)("leaves nothing when a projection %s", (how) =>
    test(
      Effect.gen(function* () {
        const { write, writeAll } = yield* WriteDispatcher.WriteDispatcher
        const [good, one, two, three] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
        yield* submit("", good, "good")
        const request = { handler: open.name, actor, operationId: "o", correlationId: "c" }
        for (const wrong of [
          submit(how, one),
          write({ ...request, payload: { id: two, key: "two", how } }),
          writeAll?.({
            ...request,
            payloads: [
              { id: two, key: "two", how: "" },
              { id: three, key: "three", how }
            ]
          }) ?? Effect.dieMessage("it has writeAll")
        ]) {
          assert.strictEqual(
            (yield* Effect.exit(Effect.asVoid<unknown, unknown, WriteDispatcher.WriteDispatcher>(wrong)))._tag,
            "Failure"
          )
        }
        assert.deepStrictEqual(yield* keys, ["good"])
        assert.isTrue(yield* isStored(good))
        for (const id of [one, two, three]) assert.isFalse(yield* isStored(id))
      })
    )
  )

  it.live("leaves nothing of a part that is refused inside a write that goes on", () =>
    test(
      Effect.gen(function* () {
        ;(yield* SubDispatcher).set(yield* WriteDispatcher.WriteDispatcher)
        const [id, refused] = [randomUUID(), randomUUID()]
        yield* WriteDispatcher.submit(openTwo, { id, refused, key: "outer" }, { actor })
        assert.deepStrictEqual(yield* keys, ["outer"])
        assert.isTrue(yield* isStored(id))
        assert.isFalse(yield* isStored(refused))
      })
    )
  )

  it.live("keeps all that were accepted of many at once, and nothing of those that were refused", () =>
    test(
      Effect.gen(function* () {
        const written = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, n) => n),
          (n) => Effect.either(submit(n % 2 === 0 ? "" : "refuses", randomUUID(), `k${n + 10}`)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(written.filter(({ _tag }) => _tag === "Right").length, 10)
        assert.deepStrictEqual(
          yield* keys,
          Array.from({ length: 10 }, (_, n) => `k${2 * n + 10}`)
        )
      })
    )
  )

  it.live("answers with what its handler decided, on the actor's tenant, with or without a correlation", () =>
    test(
      Effect.gen(function* () {
        const id = randomUUID()
        const upper = { ...actor, tenantId: actor.tenantId.toUpperCase() }
        const answer = yield* WriteDispatcher.submit(
          open,
          { id, key: "k", how: "" },
          { actor: upper, correlationId: "c-1" }
        )
        assert.deepStrictEqual(answer, { id, key: "k" })
        const { load } = yield* EventStore.EventStore
        const [event] = yield* load({ tenantId: actor.tenantId, aggregateId: id })
        assert.deepStrictEqual(event?.metadata, { userId: "u", correlationId: "c-1" })
        const other = randomUUID()
        yield* submit("", other)
        const [second] = yield* load({ tenantId: actor.tenantId, aggregateId: other })
        assert.match(second?.metadata.correlationId ?? "", /^[0-9a-f-]{36}$/)
        const denied = yield* Effect.flip(
          WriteDispatcher.submit(open, { id: other, key: "", how: "" }, { actor: { ...actor, roles: [] } })
        )
        assert.deepInclude(denied, { _tag: "WriteRejected", code: "access_denied" })
      })
    )
  )

  it.live("belongs to a savepoint that is open, and is undone with it", () =>
    test(
      Effect.gen(function* () {
        const transactor = yield* Transactor.Transactor
        const [good, bad] = [randomUUID(), randomUUID()]
        const both = submit("", good, "good").pipe(Effect.zipRight(Effect.ignore(submit("refuses", bad))))
        yield* transactor.savepoint(both)
        assert.deepStrictEqual(yield* keys, ["good"])
        yield* Effect.ignore(transactor.savepoint(Effect.zipRight(submit("", bad, "later"), Effect.fail("no"))))
        assert.deepStrictEqual(yield* keys, ["good"])
        assert.isFalse(yield* isStored(bad))
      })
    )
  )
})

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
