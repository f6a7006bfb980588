/**
 * What the tables of features do, wherever they are.
 */
import { assert, layer } from "@effect/vitest"
import type { Layer } from "effect"
import { Array as Arr, Effect, Order, Schema } from "effect"
import type { EsOps } from "effect-es-ops"
import { Feature, ReadTables, Transactor } from "effect-es-ops"
import { randomUUID } from "node:crypto"

const things = Feature.table({
  name: `read "things"`,
  columns: [
    { name: "id", type: "uuid" },
    { name: "name", type: "text" },
    { name: "place", type: "integer", nullable: true },
    { name: "big", type: "bigint", nullable: true },
    { name: "open", type: "boolean", nullable: true },
    { name: "more", type: "jsonb", nullable: true },
    { name: "at", type: "timestamptz", nullable: true },
    { name: "added_at", type: "timestamptz", default: "now" }
  ],
  primaryKey: ["id"],
  unique: [["name"], ["place", "big"]],
  row: Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    place: Schema.NullOr(Schema.Int),
    big: Schema.NullOr(Schema.String),
    open: Schema.NullOr(Schema.Boolean),
    more: Schema.NullOr(Schema.Unknown),
    at: Schema.NullOr(Schema.String),
    added_at: Schema.optional(Schema.String)
  })
})

const counts: Feature.Table = {
  name: "read_counts",
  columns: [
    { name: "tenant", type: "uuid" },
    { name: "n", type: "bigint" },
    { name: "count", type: "integer" },
    { name: "note", type: "jsonb" }
  ],
  primaryKey: ["tenant", "n"]
}

/** The feature whose tables are tried. */
export const feature = Feature.make({ name: "suite", handlers: [], tables: [things, counts] })

const thing = (name: string, more: Feature.StoredRow = {}) => ({ ...more, id: String(randomUUID()), name })

const one = (table: Feature.Table, key: Feature.Key) =>
  Effect.map(
    Effect.flatMap(ReadTables.ReadTables, ({ load }) => load(table, [key])),
    ([row]) => row
  )

const idOf = (row: Feature.StoredRow): Feature.Key => ReadTables.keyOf(things, row)

export const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>): void =>
  layer(services, { excludeTestServices: true })(`ReadTables: ${name}`, (it) => {
    it.effect("keep each kind of value as it is stored", () =>
      Effect.gen(function* () {
        const { add } = yield* ReadTables.ReadTables
        const row = thing("kinds", {
          place: -2147483648,
          big: "9223372036854775807",
          open: false,
          more: { list: [1, "two", null], deep: { text: `"'\\ä\u{1f600}` } },
          at: "2026-01-02T03:04:05.678901Z",
          added_at: "0001-01-01T00:00:00.000000Z"
        })
        const bare = thing("bare", { added_at: "9999-12-31T23:59:59.999999Z" })
        assert.deepStrictEqual(yield* add(things, [row, bare]), [])
        assert.deepStrictEqual(yield* one(things, idOf(row)), row)
        assert.deepStrictEqual(yield* one(things, idOf(bare)), {
          ...bare,
          place: null,
          big: null,
          open: null,
          more: null,
          at: null
        })
      })
    )

    it.effect("have one form of a value, whichever was given, and find a key in each of its forms", () =>
      Effect.gen(function* () {
        const { add, load, put } = yield* ReadTables.ReadTables
        const row = thing("forms", { big: "+007", at: "2026-01-02T05:04:05.5+02:00" })
        yield* add(things, [{ ...row, id: row.id.toUpperCase() }])
        const [found] = yield* load(things, [{ id: row.id.toUpperCase() }])
        assert.deepInclude(found, { id: row.id, big: "7", at: "2026-01-02T03:04:05.500000Z" })
        const tenant = randomUUID()
        yield* put(counts, [{ tenant, n: "1", count: 1, note: null }])
        yield* put(counts, [{ tenant: tenant.toUpperCase(), n: "01", count: 2, note: [] }])
        assert.deepStrictEqual(yield* load(counts, [{ tenant, n: "+1" }]), [{ tenant, n: "1", count: 2, note: [] }])
      })
    )

    it.effect("answer with the keys that others have, and leave those rows as they are", () =>
      Effect.gen(function* () {
        const { add } = yield* ReadTables.ReadTables
        const rows = [thing("first"), thing("second"), thing("third")] as const
        assert.deepStrictEqual(yield* add(things, [thing("before"), rows[1]]), [])
        const taken = yield* add(things, [rows[0], { ...rows[1], name: "other" }, rows[2]])
        assert.deepStrictEqual(taken, [{ id: rows[1].id }])
        assert.deepStrictEqual(yield* add(things, [{ ...rows[1], name: "first" }]), [{ id: rows[1].id }])
        assert.deepInclude(yield* one(things, idOf(rows[1])), { name: "second" })
        assert.deepInclude(yield* one(things, idOf(rows[2])), { name: "third" })
      })
    )

    it.effect("refuse a unique value that another has, of one row or of many, and write none of them", () =>
      Effect.gen(function* () {
        const { add, put } = yield* ReadTables.ReadTables
        const { savepoint } = yield* Transactor.Transactor
        const owner = thing("owner", { place: 1, big: "1" })
        yield* add(things, [owner])
        const refused = <A>(write: Effect.Effect<A, ReadTables.UniqueTaken | { readonly _tag: "DatabaseError" }>) =>
          Effect.flip(savepoint(write))
        const taken = { _tag: "UniqueTaken" as const, table: things.name, columns: ["name"], values: ["owner"] }
        const alone = thing("alone")
        assert.deepInclude(yield* refused(add(things, [thing("owner")])), taken)
        assert.deepInclude(yield* refused(add(things, [alone, thing("owner")])), taken)
        assert.deepInclude(yield* refused(add(things, [alone, thing("twins"), thing("twins")])), {
          ...taken,
          values: ["twins"]
        })
        const pair = yield* refused(add(things, [alone, thing("pair", { place: 1, big: "1" })]))
        assert.deepInclude(pair, { ...taken, columns: ["place", "big"], values: ["1", "1"] })
        assert.include(String(pair), `the place, big "1", "1" of read "things" is taken`)
        assert.deepInclude(yield* refused(put(things, [thing("owner")])), taken)
        assert.deepInclude(yield* refused(put(things, [alone, thing("owner")])), taken)
        assert.isUndefined(yield* one(things, idOf(alone)))
      })
    )

    it.effect("do not take a value with a null in it for one that is unique, nor a row's own value", () =>
      Effect.gen(function* () {
        const { add, put, remove } = yield* ReadTables.ReadTables
        const rows = [thing("null 1", { place: 9 }), thing("null 2", { place: 9 })] as const
        assert.deepStrictEqual(yield* add(things, rows), [])
        yield* put(things, [rows[0]])
        // The value of a row that is changed or removed is free.
        yield* put(things, [{ ...rows[0], name: "null 3" }])
        yield* add(things, [thing("null 1")])
        yield* remove(things, [idOf(rows[1])])
        yield* add(things, [thing("null 2")])
      })
    )

    it.effect("put rows in the place of those with their keys, the last of two, and keep what is left out", () =>
      Effect.gen(function* () {
        const { add, put } = yield* ReadTables.ReadTables
        const row = thing("kept", { place: 3, big: "3", more: { a: 1 }, added_at: "2020-01-01T00:00:00.000000Z" })
        yield* add(things, [row])
        const id = row.id
        yield* put(things, [
          { id, name: "passing" },
          { id, name: "changed", place: 4 }
        ])
        assert.deepInclude(yield* one(things, idOf(row)), { ...row, name: "changed", place: 4 })
        // Without a column that a new row must have.
        yield* put(things, [
          { id, more: null, open: true },
          { id: randomUUID(), name: "new" }
        ])
        assert.deepInclude(yield* one(things, idOf(row)), { ...row, name: "changed", place: 4, more: null, open: true })
      })
    )

    it.effect("refuse a new row that lacks a column, and one with a column too many", () =>
      Effect.gen(function* () {
        const { add, put } = yield* ReadTables.ReadTables
        const { savepoint } = yield* Transactor.Transactor
        for (const write of [
          add(things, [{ id: randomUUID() }]),
          put(things, [{ id: randomUUID() }]),
          put(things, [{ id: randomUUID() }, { id: randomUUID() }]),
          put(things, [{ id: randomUUID(), name: "wide", width: 1 }]),
          add(things, [{ id: randomUUID(), name: null }])
        ]) {
          assert.strictEqual((yield* Effect.flip(savepoint(write)))._tag, "DatabaseError")
        }
      })
    )

    it.effect("fill a time that is left out with now, later for each row, and keep it when the row is put", () =>
      Effect.gen(function* () {
        const { add, load, put } = yield* ReadTables.ReadTables
        const rows = Arr.make(thing("z"), thing("y"), thing("x"))
        yield* add(things, rows)
        const times = Effect.map(load(things, Arr.map(rows, idOf)), (found) =>
          rows.map(({ id }) => String(found.find((row) => row.id === id)?.["added_at"]))
        )
        const before = yield* times
        assert.deepStrictEqual(before, before.toSorted())
        assert.lengthOf(new Set(before), 3)
        yield* put(
          things,
          Arr.map(rows, ({ id, name }) => ({ id, name: `${String(name)}!` }))
        )
        assert.deepStrictEqual(yield* times, before)
      })
    )

    it.effect("remove rows, and nothing where there is none", () =>
      Effect.gen(function* () {
        const { add, load, remove } = yield* ReadTables.ReadTables
        const rows = [thing("gone 1"), thing("gone 2"), thing("stays")] as const
        yield* add(things, rows)
        yield* remove(things, [idOf(rows[0]), idOf(rows[1]), { id: randomUUID() }])
        yield* remove(things, [idOf(rows[0])])
        const found = yield* load(things, [idOf(rows[0]), idOf(rows[1]), idOf(rows[2]), idOf(rows[2])])
        assert.deepStrictEqual(
          found.map(({ name }) => name),
          ["stays"]
        )
      })
    )

    it.effect("give pages in the order of their keys", () =>
      Effect.gen(function* () {
        const { page, put } = yield* ReadTables.ReadTables
        const tenants = Arr.sort(Arr.make<[string, string]>(randomUUID(), randomUUID()), Order.string)
        yield* put(
          counts,
          Arr.flatMap(Arr.make("9", "10", "-1", "100"), (n) =>
            Arr.map(tenants, (tenant) => ({ tenant, n, count: 0, note: {} }))
          )
        )
        const seen: Array<string> = []
        let after: Feature.Key | undefined = { tenant: tenants[0], n: "-2" }
        for (;;) {
          const rows: ReadonlyArray<Feature.StoredRow> = yield* page(counts, after, 3)
          seen.push(...rows.filter(({ tenant }) => tenants.some((own) => own === tenant)).map(({ n }) => String(n)))
          const last = rows.at(-1)
          if (rows.length < 3 || last === undefined) break
          after = ReadTables.keyOf(counts, last)
        }
        assert.deepStrictEqual(seen, ["-1", "9", "10", "100", "-1", "9", "10", "100"])
        assert.lengthOf(yield* page(counts, undefined, 2), 2)
      })
    )

    it.effect("are rolled back with what failed", () =>
      Effect.gen(function* () {
        const { add, put, remove } = yield* ReadTables.ReadTables
        const { savepoint } = yield* Transactor.Transactor
        const rows = [thing("rolled 1"), thing("rolled 2")] as const
        yield* add(things, rows)
        const all = Effect.all([
          add(things, [thing("rolled 3")]),
          put(things, [{ ...rows[0], name: "rolled 4" }]),
          remove(things, [idOf(rows[1])])
        ])
        yield* Effect.flip(savepoint(Effect.zipRight(all, Effect.fail("no"))))
        assert.deepInclude(yield* one(things, idOf(rows[0])), { name: "rolled 1" })
        assert.deepInclude(yield* one(things, idOf(rows[1])), { name: "rolled 2" })
        assert.deepStrictEqual(yield* add(things, [thing("rolled 3"), thing("rolled 4")]), [])
      })
    )

    it.effect("give a row that is its reader's to change", () =>
      Effect.gen(function* () {
        const { add } = yield* ReadTables.ReadTables
        const row = thing("copies", { more: { list: [1] } })
        yield* add(things, [row])
        const first = yield* one(things, idOf(row))
        Object.assign(Object(first?.["more"]), { list: "changed" })
        assert.deepInclude(yield* one(things, idOf(row)), { more: { list: [1] } })
      })
    )
  })
