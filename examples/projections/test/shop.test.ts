import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import type { Layer } from "effect"
import { Config, Effect, Layer as Layers } from "effect"
import { EsOps, ReadTables, Seed, SeedRunner, WriteDispatcher } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Orders from "../src/orders.js"
import * as Shipments from "../src/shipments.js"

const settings = {
  // The first seed creates the tables.
  seeds: { "2026-11-29-tables": Seed.make({ description: "creates the tables", run: Effect.void }) },
  features: [Orders.feature, Shipments.feature]
}

const actor = { id: "u1", tenantId: randomUUID(), roles: ["Shop"] }

const order = (number: string) => ({ id: randomUUID(), number, cents: 900, currency: "CHF" })

const place = (payload: ReturnType<typeof order>) => WriteDispatcher.submit(Orders.place, payload, { actor })

const ship = (id: string, parcels: number) => WriteDispatcher.submit(Orders.ship, { id, parcels }, { actor })

const rowsOf = (table: (typeof Orders)["table"] | (typeof Shipments)["table"] | (typeof Shipments)["totals"]) =>
  Effect.flatMap(ReadTables.ReadTables, ({ page }) => page(table, undefined, 100))

/** Runs a test with the tables created. */
const withTables = <A, E, E2>(test: Effect.Effect<A, E, EsOps.Services>, services: Layer.Layer<EsOps.Services, E2>) =>
  Effect.zipRight(SeedRunner.apply({ appliedBy: "boot" }), test).pipe(Effect.provide(services))

const shop = Effect.gen(function* () {
  const [first, second] = [order("1001"), order("1002")]
  yield* place(first)
  yield* place(second)
  yield* ship(first.id, 2)
  yield* ship(second.id, 3)
  yield* WriteDispatcher.submit(Orders.cancel, { id: second.id }, { actor })

  const [row, ...others] = yield* rowsOf(Orders.table)
  assert.deepInclude(row, { ...first, shipped: true })
  assert.lengthOf(others, 0)
  const shipments = yield* rowsOf(Shipments.table)
  assert.deepStrictEqual(
    shipments.map(({ parcels }) => parcels),
    [2, 3]
  )
  assert.deepStrictEqual(yield* rowsOf(Shipments.totals), [{ tenant_id: actor.tenantId, parcels: 5, shipments: 2 }])

  // A number that is taken refuses the write, and nothing of it stays.
  const refused = yield* Effect.flip(place(order("1001")))
  assert.deepInclude(refused, { _tag: "WriteRejected", code: "conflict" })
  assert.include(refused.message, 'the number "1001" of read_orders is taken')
  assert.lengthOf(yield* rowsOf(Orders.table), 1)

  // The order that was cancelled let go of its number.
  yield* place(order("1002"))
  assert.lengthOf(yield* rowsOf(Orders.table), 2)
})

describe("a shop of two features", () => {
  it.effect("keeps orders and shipments in memory", () => withTables(shop, EsOps.layerMemory(settings)))

  it.live.skipIf(process.env["DATABASE_URL"] === undefined)("keeps them on a server", () =>
    withTables(
      shop,
      EsOps.layer(settings).pipe(Layers.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })))
    )
  )
})
