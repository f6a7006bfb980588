/**
 * Projections by pure functions, folded in the transaction of a write: in memory and on a server.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it, layer } from "@effect/vitest"
import type { Layer } from "effect"
import { Array as Arr, Deferred, Effect, Either, Fiber, Option, Schema } from "effect"
import type { Event } from "effect-es-ops"
import {
  EsOps,
  EventStore,
  EventType,
  Feature,
  Projection,
  ReadTables,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { postgresOf } from "../support/services.js"
import { TestDatabase } from "../support/TestDatabase.js"

const opened = EventType.make({
  type: "shop.opened",
  version: 2,
  payload: Schema.Struct({ name: Schema.String, city: Schema.String }),
  upcasts: [(first) => ({ ...first, city: "Bern" })]
})
const renamed = EventType.make({ type: "shop.renamed", payload: Schema.Struct({ name: Schema.String }) })
const closed = EventType.make({ type: "shop.closed", payload: Schema.Struct({}) })

const shops = Feature.table({
  name: "read_shops",
  columns: [
    { name: "id", type: "uuid" },
    { name: "name", type: "text" },
    { name: "city", type: "text" },
    { name: "more", type: "jsonb", nullable: true },
    { name: "seen_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["name"]],
  row: Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    city: Schema.String,
    more: Schema.NullOr(Schema.Unknown),
    seen_at: Schema.optional(Schema.DateTimeUtc)
  })
})

const byId = Projection.fold({
  name: "shops",
  table: shops,
  on: [
    [opened, (_, { aggregateId, payload }) => Option.some({ id: aggregateId, ...payload, more: null })],
    [
      renamed,
      (row, { payload }) => {
        if (payload.name === "throws") throw new Error("no such name")
        return Option.map(row, (shop) => ({ ...shop, name: payload.name }))
      }
    ],
    [closed, () => Option.none()]
  ]
})

const cities = Feature.table({
  name: "read_cities",
  columns: [
    { name: "city", type: "text" },
    { name: "shops", type: "integer" }
  ],
  primaryKey: ["city"],
  row: Schema.Struct({ city: Schema.String, shops: Schema.Int })
})

const byCity = Projection.fold({
  name: "cities",
  table: cities,
  key: ({ payload }) => ({ city: payload.city }),
  on: [
    [
      opened,
      (row, { payload }) => {
        const before = Option.match(row, { onNone: () => 0, onSome: ({ shops: n }) => n })
        return Option.some({ city: payload.city, shops: before + 1 })
      }
    ]
  ]
})

const names = Feature.table({
  name: "read_names",
  columns: [
    { name: "shop_id", type: "uuid" },
    { name: "name", type: "text" }
  ],
  primaryKey: ["shop_id", "name"],
  row: Schema.Struct({ shop_id: Schema.String, name: Schema.String })
})

const everyName = Projection.rows({
  name: "names",
  table: names,
  on: [
    [opened, ({ aggregateId, payload }) => [{ shop_id: aggregateId, name: payload.name }]],
    [renamed, ({ aggregateId, payload }) => [{ shop_id: aggregateId, name: payload.name }]]
  ]
})

/** Appends one event as it is given. */
const append = WriteHandler.make({
  name: "shops:write:append",
  payload: Schema.Struct({
    id: Schema.String,
    version: Schema.Int,
    type: Schema.String,
    eventVersion: Schema.Int,
    payload: Schema.Record({ key: Schema.String, value: Schema.Unknown })
  }),
  access: ["Shop"],
  handle: ({ id, ...event }) => ({ events: [{ aggregateId: id, aggregateType: "shop", ...event }], data: { id } })
})

const feature = Feature.make({ name: "shops", handlers: [append], projections: [byId, byCity, everyName] })

const actor = { id: "u", tenantId: randomUUID(), roles: ["Shop"] }

const write = (
  id: string,
  version: number,
  type: EventType.AnyEventType,
  payload: object,
  eventVersion = type.version
) => WriteDispatcher.submit(append, { id, version, type: type.type, eventVersion, payload: { ...payload } }, { actor })

const open = (id: string, name: string, city: string) => write(id, 1, opened, { name, city })

const row = (table: Feature.Table, key: Feature.Key) =>
  Effect.map(
    Effect.flatMap(ReadTables.ReadTables, ({ load }) => load(table, [key])),
    Arr.head
  )

const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>) =>
  layer(services, { excludeTestServices: true })(`a projection by pure functions: ${name}`, (it) => {
    it.effect("makes a row, changes it, and removes it", () =>
      Effect.gen(function* () {
        const id = randomUUID()
        yield* open(id, "first", "Basel")
        yield* write(id, 2, renamed, { name: "second" })
        assert.deepInclude(Option.getOrThrow(yield* row(shops, { id })), { id, name: "second", city: "Basel" })
        yield* write(id, 3, closed, {})
        assert.isTrue(Option.isNone(yield* row(shops, { id })))
        const { load } = yield* ReadTables.ReadTables
        const all = yield* load(
          names,
          Arr.map(Arr.make("first", "second"), (each) => ({ shop_id: id, name: each }))
        )
        assert.lengthOf(all, 2)
      })
    )

    it.effect("folds the events of many aggregates into one row, one write after another and all at once", () =>
      Effect.gen(function* () {
        const dispatcher = yield* WriteDispatcher.WriteDispatcher
        yield* open(randomUUID(), "one", "Chur")
        yield* open(randomUUID(), "two", "Chur")
        const payloads = Arr.makeBy(5, (n) => ({
          id: randomUUID(),
          version: 1,
          type: opened.type,
          eventVersion: 2,
          payload: { name: `many ${n}`, city: n < 3 ? "Chur" : "Sion" }
        }))
        yield* dispatcher.writeAll?.({ handler: append.name, actor, correlationId: "c", payloads }) ?? Effect.void
        assert.deepStrictEqual(yield* row(cities, { city: "Chur" }), Option.some({ city: "Chur", shops: 5 }))
        assert.deepStrictEqual(yield* row(cities, { city: "Sion" }), Option.some({ city: "Sion", shops: 2 }))
      })
    )

    it.effect("reads an event of an older version as the newest", () =>
      Effect.gen(function* () {
        const id = randomUUID()
        yield* write(id, 1, opened, { name: "old" }, 1)
        assert.deepInclude(Option.getOrThrow(yield* row(shops, { id })), { city: "Bern" })
      })
    )

    it.effect("refuses the write that breaks a unique key, of which nothing stays", () =>
      Effect.gen(function* () {
        const [first, second] = [randomUUID(), randomUUID()]
        yield* open(first, "unique", "Genf")
        yield* open(second, "other", "Genf")
        for (const refused of [open(randomUUID(), "unique", "Genf"), write(second, 2, renamed, { name: "unique" })]) {
          const error = yield* Effect.flip(refused)
          assert.deepInclude(error, { _tag: "WriteRejected", code: "conflict" })
          assert.include(error.message, 'the name "unique" of read_shops is taken')
        }
        assert.deepStrictEqual(yield* row(cities, { city: "Genf" }), Option.some({ city: "Genf", shops: 2 }))
        const store = yield* EventStore.EventStore
        assert.strictEqual(yield* store.version({ tenantId: actor.tenantId, aggregateId: second }), 1)
        // What a row lets go of is free in the same batch.
        yield* write(first, 2, closed, {})
        yield* write(second, 2, renamed, { name: "unique" })
      })
    )

    it.effect("fails the write for an event that it cannot read or fold, of which nothing stays", () =>
      Effect.gen(function* () {
        const id = randomUUID()
        yield* open(id, "sound", "Olten")
        const causeOf = (payload: object, eventVersion: number) =>
          Effect.map(Effect.flip(write(id, 2, renamed, payload, eventVersion)), (error) =>
            error._tag === "WriteFailed" ? error.cause : error
          )
        assert.include(String(yield* causeOf({ name: "newer" }, 2)), "the newest known version is 1")
        assert.include(String(yield* causeOf({ name: 1 }, 1)), "name: Expected string")
        assert.include(String(yield* causeOf({ name: "throws" }, 1)), "cannot be folded into read_shops: no such name")
        assert.deepInclude(Option.getOrThrow(yield* row(shops, { id })), { name: "sound" })
      })
    )

    it.effect("makes no row for a later event of a stream that was archived meanwhile", () =>
      Effect.gen(function* () {
        const id = randomUUID()
        yield* open(id, "archived", "Zug")
        const store = yield* EventStore.EventStore
        const first = yield* Arr.head(yield* store.load({ tenantId: actor.tenantId, aggregateId: id }))
        yield* store.archive({ tenantId: actor.tenantId, aggregateId: id, aggregateType: "shop", archivedBy: "u" })
        yield* Effect.flatMap(ReadTables.ReadTables, ({ remove }) => remove(shops, [{ id }]))
        const late = { ...first, version: 2 }
        yield* byId.apply([late])
        assert.isTrue(Option.isNone(yield* row(shops, { id })))
        // Of a stream that is not archived, the row is made of what is known.
        const other = randomUUID()
        yield* byId.apply([{ ...late, aggregateId: other, payload: { name: "not archived", city: "Zug" } }])
        assert.isTrue(Option.isSome(yield* row(shops, { id: other })))
      })
    )
  })

suite("memory", EsOps.layerMemory({ seeds: {}, features: [feature] }))
suite("PostgreSQL", postgresOf([feature]))

layer(postgresOf([feature]), { excludeTestServices: true })("a fold on a server", (it) => {
  it.effect("counts both of two first events of one key that are written at once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { query } = yield* TestDatabase
      const [written, commit] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const first = open(randomUUID(), "a", "Thun").pipe(
        Effect.zipRight(Deferred.succeed(written, void 0)),
        Effect.zipRight(Deferred.await(commit)),
        sql.withTransaction
      )
      const one = yield* Effect.fork(first)
      yield* Deferred.await(written)
      const two = yield* Effect.fork(open(randomUUID(), "b", "Thun"))
      // The second has found no row, and waits for the one that the first has not committed.
      yield* Effect.repeat(
        Effect.promise(() =>
          query(
            `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO "read_cities"%'`
          )
        ),
        { until: (rows) => rows.length === 1 }
      )
      yield* Deferred.succeed(commit, void 0)
      yield* Effect.zip(Fiber.join(one), Fiber.join(two))
      assert.deepStrictEqual(yield* row(cities, { city: "Thun" }), Option.some({ city: "Thun", shops: 2 }))
    })
  )

  it.effect("keeps what it does not change to the last digit, and writes nothing where nothing changes", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const id = randomUUID()
      yield* open(id, "exact", "Visp")
      yield* Effect.promise(() =>
        query(`UPDATE read_shops SET seen_at = '2026-01-02 03:04:05.678901+00',
          more = '{"big": 9007199254740993, "fine": 1.10, "wide": 1e400}' WHERE id = '${id}'`)
      )
      const stored = Effect.promise(() =>
        query(
          `SELECT name, more::text, seen_at = '2026-01-02 03:04:05.678901+00' AS same, xmin::text FROM read_shops WHERE id = '${id}'`
        )
      )
      const [before] = yield* stored
      yield* write(id, 2, renamed, { name: "exactly" })
      const [after] = yield* stored
      assert.deepInclude(after ?? {}, { name: "exactly", more: before?.["more"], same: true })
      assert.include(String(after?.["more"]), "9007199254740993")
      yield* write(id, 3, renamed, { name: "exactly" })
      assert.deepStrictEqual(yield* stored, [after ?? {}])
    })
  )

  it.effect("names the table where a trigger keeps a row from being stored", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.promise(() =>
        query(`CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
          CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON read_names FOR EACH ROW EXECUTE FUNCTION nothing()`)
      )
      const error = yield* Effect.flip(open(randomUUID(), "swallowed", "Brig"))
      assert.strictEqual(error._tag, "DatabaseError")
      assert.include(error.message, "read_names did not store the row")
      const tables = yield* ReadTables.ReadTables
      const key = { shop_id: randomUUID(), name: "n" }
      assert.include(String(yield* Effect.flip(tables.add(names, [key]))), "read_names did not store the row")
      yield* Effect.promise(() =>
        query(`ALTER TABLE read_names DISABLE TRIGGER t; INSERT INTO read_names VALUES ('${key.shop_id}', 'n');
          ALTER TABLE read_names ENABLE TRIGGER t`)
      )
      assert.include(String(yield* Effect.flip(tables.remove(names, [key]))), "read_names did not store the row")
    })
  )
})

describe("a fold", () => {
  const id = "018f6b2e-7c1d-7000-8000-0000000000aa"
  const event: Event.Event = {
    id: 7n,
    tenantId: "t",
    aggregateId: id,
    aggregateType: "shop",
    version: 1,
    type: "shop.opened",
    eventVersion: 2,
    payload: { name: "n", city: "c" },
    metadata: { userId: "u" },
    createdAt: "infinity",
    createdBy: "u"
  }

  it.each([
    ["of another key", { id: "018f6b2e-7c1d-7000-8000-0000000000bb" }, "it gave a row of another key"],
    ["with what JSON does not keep", { more: { n: NaN } }, "row.more.n is NaN"],
    ["with a text that no table takes", { name: "\u0000" }, "row.name is a text with a NUL character"]
  ])("is refused a row %s, and names event and table", (_, other, reason) => {
    const row = { id, name: "n", city: "c", more: null, ...other }
    const { definition } = Projection.fold({ name: "w", table: shops, on: [[opened, () => Option.some(row)]] })
    assert.strictEqual(definition?._tag, "Fold")
    if (definition?._tag !== "Fold") return
    const folding = Either.getOrThrow(definition.begin({ id }, Option.none()))
    Either.getOrThrow(folding.add(event))
    const failed = Either.getOrThrow(Either.flip(folding.row()))
    assert.strictEqual(failed._tag, "FoldFailed")
    assert.include(failed.message, `event 7 cannot be folded into read_shops: ${reason}`)
  })

  it("is refused a stored row that its Schema does not take", () => {
    const { definition } = byId
    if (definition?._tag !== "Fold") return assert.fail("no fold")
    const failed = Either.getOrThrow(Either.flip(definition.begin({ id }, Option.some({ id, name: 1 }))))
    assert.include(failed.message, "a stored row cannot be folded into read_shops: ")
  })
})
