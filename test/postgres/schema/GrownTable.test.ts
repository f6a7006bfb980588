/**
 * A feature's table that is there from an older release of the application, without what a newer one knows of.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import {
  DatabaseHealth,
  EsOps,
  Feature,
  Projection,
  Seed,
  SeedContext,
  SeedDoctor,
  SeedRunner,
  WriteHandler
} from "effect-es-ops"
import { apply, fresh } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const place = WriteHandler.make({
  name: "orders:write:place",
  payload: Schema.Struct({ sku: Schema.String }),
  access: ["system"],
  handle: ({ sku }, { newId }) => ({
    events: [{ aggregateId: newId, aggregateType: "order", version: 1, type: "order.placed", payload: { sku } }],
    data: { id: newId }
  })
})

/** The feature with these columns besides, and what its projection writes to them. */
const orders = (more: ReadonlyArray<Feature.Column>, row: Readonly<Record<string, string>> = {}) =>
  Feature.make({
    name: "orders",
    handlers: [place],
    projections: [
      Projection.make({
        name: "read_orders",
        events: ["order.placed"],
        apply: (events) =>
          Effect.flatMap(
            SqlClient.SqlClient,
            (sql) =>
              sql`INSERT INTO read_orders ${sql.insert(events.map(({ aggregateId }) => ({ id: aggregateId, ...row })))}`
          )
      })
    ],
    tables: [{ name: "read_orders", columns: [{ name: "id", type: "uuid" }, ...more], primaryKey: ["id"] }]
  })

const order = (transaction?: "none") =>
  Seed.make({ description: "", transaction, run: SeedContext.systemWriteAs("orders:write:place", { sku: "a" }) })

const over = (
  url: string,
  feature: ReturnType<typeof orders>,
  seeds: Readonly<Record<string, ReturnType<typeof order>>>
) => Layer.provideMerge(EsOps.layer({ seeds, features: [feature] }), Database.clientOf(url))

const columns =
  "SELECT attname AS name FROM pg_attribute WHERE attrelid = 'read_orders'::regclass AND attnum > 0 ORDER BY attnum"

const note: ReadonlyArray<Feature.Column> = [
  { name: "note", type: "text", nullable: true },
  { name: 'Odd "one"', type: "timestamptz", nullable: true, default: "now" }
]

describe("a feature's table that grows", () => {
  it.effect.each([undefined, "none" as const])(
    "gets the columns that take null before the seed writes them, transaction %s",
    (transaction) =>
      Effect.gen(function* () {
        const { query, url } = yield* TestDatabase
        yield* Effect.provide(apply(), over(url, orders([]), { "1": order() }))
        const grown = over(url, orders(note, { note: "n" }), { "1": order(), "2": order(transaction) })
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(
            yield* Effect.flatMap(DatabaseHealth.DatabaseHealth, ({ mismatches }) => mismatches),
            []
          )
          const { outcomes } = yield* SeedRunner.dryRun({ appliedBy: "boot" })
          assert.lengthOf(outcomes, transaction === undefined ? 1 : 0)
          assert.lengthOf(yield* Effect.promise(() => query(columns)), 1)
          yield* apply()
        }).pipe(Effect.provide(grown))
        assert.deepStrictEqual(yield* Effect.promise(() => query(columns)), [
          { name: "id" },
          { name: "note" },
          { name: 'Odd "one"' }
        ])
        assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT note FROM read_orders ORDER BY note")), [
          { note: "n" },
          { note: null }
        ])
        const { outcomes } = yield* Effect.provide(apply(), grown)
        assert.deepStrictEqual(outcomes, [])
      }).pipe(fresh)
  )

  it.effect("is named with the statement where a column takes no null, and nothing is written", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.provide(apply(), over(url, orders([]), { "1": order() }))
      const grown = orders([{ name: "sku", type: "text" }, ...note], { sku: "a" })
      const error = yield* Effect.provide(Effect.flip(apply()), over(url, grown, { "1": order(), "2": order() }))
      assert.strictEqual(error._tag, "SeedsInconsistent")
      assert.include(error.message, 'column "sku" (text) is missing')
      assert.include(error.message, "es-ops schema --diff")
      assert.lengthOf(yield* Effect.promise(() => query(columns)), 1)
      const lacking = yield* EsOps.difference({ features: [grown] }).pipe(Effect.provide(Database.clientOf(url)))
      assert.include(lacking.join(";"), 'ALTER TABLE "read_orders" ALTER COLUMN "sku" SET NOT NULL')
      for (const statement of lacking) {
        yield* Effect.promise(() => query(statement.replace(/^--.*\n/, "UPDATE read_orders SET sku = 'old'; ")))
      }
      yield* Effect.provide(apply(), over(url, grown, { "1": order(), "2": order() }))
      const left = yield* EsOps.difference({ features: [grown] }).pipe(Effect.provide(Database.clientOf(url)))
      assert.deepStrictEqual(left, [])
    }).pipe(fresh)
  )

  it.effect("fails with the column's name where the role may not add it, which the doctor says before", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.provide(apply(), over(url, orders([]), { "1": order() }))
      const role = `grown_${new URL(url).pathname.slice(-12)}`
      yield* Effect.promise(() =>
        query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role};
          GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
      )
      const login = Database.url(new URL(url).pathname.slice(1), role, "pw")
      const seeds = { "1": order(), "2": order() }
      yield* Effect.gen(function* () {
        const found = (yield* SeedDoctor.examine).filter(({ fault }) => fault !== "none")
        assert.deepStrictEqual(
          found.map(({ name }) => name),
          ["columns"]
        )
        assert.include(JSON.stringify(found), "ADD COLUMN IF NOT EXISTS")
        const error = yield* Effect.flip(apply())
        assert.strictEqual(error._tag, "DatabaseError")
        assert.include(error.message, 'adding the column "read_orders"."note"')
        assert.include(error.message, "es-ops schema --diff")
      }).pipe(Effect.provide(over(login, orders(note), seeds)))
      yield* Effect.promise(() => query(`DROP OWNED BY ${role}; DROP ROLE ${role}`))
    }).pipe(fresh)
  )
})
