import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Config, Deferred, Effect, Fiber, Layer, Redacted, Ref } from "effect"
import {
  EsOps,
  MemoryDatabase,
  ProjectionRebuild,
  ProjectionsCurrent,
  ProjectionStatus,
  ReadTables,
  RebuildReport,
  Seed,
  SeedRunner,
  WriteDispatcher
} from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Orders from "../src/orders.js"
import * as Shipments from "../src/shipments.js"
import * as Before from "./before.js"

const seeds = { "2026-11-29-tables": Seed.make({ description: "creates the tables", run: Effect.void }) }

const releases = {
  before: { seeds, features: [Before.orders, Before.shipments] },
  now: { seeds, features: [Orders.feature, Shipments.feature] }
}

const actor = { id: "u1", tenantId: randomUUID(), roles: ["Shop"] }

/** Orders what is shipped at once, over a replica, until the shop closes. */
const customers = (name: string) =>
  Effect.gen(function* () {
    const isClosed = yield* Ref.make(false)
    const busy = yield* Deferred.make<void>()
    const orders = yield* Effect.fork(
      Effect.iterate(0, {
        while: () => true,
        body: (count) =>
          Effect.gen(function* () {
            if (yield* Ref.get(isClosed)) return yield* Effect.fail(count)
            const id = randomUUID()
            const order = { id, number: `${name}-${count}`, cents: 900, currency: "CHF" }
            yield* Effect.orDie(WriteDispatcher.submit(Orders.place, order, { actor }))
            yield* Effect.orDie(WriteDispatcher.submit(Orders.ship, { id, parcels: 2 }, { actor }))
            if (count === 5) yield* Deferred.succeed(busy, undefined)
            yield* Effect.sleep("5 millis")
            return count + 1
          })
      }).pipe(Effect.flip)
    )
    yield* Effect.raceFirst(Deferred.await(busy), Fiber.join(orders))
    return { close: Effect.zipRight(Ref.set(isClosed, true), Fiber.join(orders)) }
  })

const outdated = Effect.map(ProjectionStatus.status, (all) =>
  all.filter((each) => each.outdated).map(({ name }) => name)
)

/** The release, from the last replicas of before to the first one that must not serve old rows. */
const release = <E>(replicas: {
  readonly before: Layer.Layer<EsOps.Services, E>
  readonly now: Layer.Layer<EsOps.Services, E>
}) =>
  Effect.gen(function* () {
    const before = yield* Layer.build(replicas.before)
    yield* Effect.provide(SeedRunner.apply({ appliedBy: "boot" }), before)
    const early = yield* Effect.provide(customers("early"), before)

    // 1. The release job adds the columns, which take null.
    const now = yield* Layer.build(replicas.now)
    yield* Effect.provide(SeedRunner.apply({ appliedBy: "ci-pipeline" }), now)

    // 2. The replicas are exchanged. One that must not serve old rows waits.
    const late = yield* Effect.provide(customers("late"), now)
    const strict = yield* Effect.fork(
      ProjectionsCurrent.ProjectionsCurrent.pipe(Effect.provide(ProjectionsCurrent.layerWait), Effect.provide(now))
    )
    const placed = yield* early.close
    assert.deepStrictEqual(yield* Effect.provide(outdated, now), ["orders", "parcels"])

    // 3. The last old replica is gone: the release job rebuilds what is outdated, while customers go on.
    const reports = yield* Effect.provide(ProjectionRebuild.run({ appliedBy: "ci-pipeline" }), now)
    assert.deepStrictEqual(
      reports.map(({ projections }) => projections),
      [["orders"], ["parcels"]]
    )
    assert.isAtLeast(reports[0]?.rows.updated ?? 0, placed)

    // 4. Nothing is outdated any more: whoever waited comes up.
    assert.deepStrictEqual(yield* Effect.provide(outdated, now), [])
    assert.deepStrictEqual(yield* Fiber.join(strict), { by: "verified" })

    const all = placed + (yield* late.close)
    const [total] = yield* Effect.provide(rowsOf(Shipments.totals), now)
    assert.deepStrictEqual(total, { tenant_id: actor.tenantId, parcels: all * 2, shipments: all })
    const diffs = yield* Effect.provide(ProjectionRebuild.diff(), now)
    assert.isTrue(diffs.every(RebuildReport.isEqual))
  }).pipe(Effect.scoped)

const rowsOf = (table: (typeof Shipments)["totals"]) =>
  Effect.flatMap(ReadTables.ReadTables, ({ page }) => page(table, undefined, 10))

/** A schema of its own in a database that others use. */
const client = Layer.unwrapEffect(
  Effect.map(Effect.orDie(Config.string("DATABASE_URL")), (url) => {
    const own = new URL(url)
    own.searchParams.set("options", "-c search_path=release")
    const create = Effect.flatMap(PgClient.PgClient, (sql) => sql`CREATE SCHEMA release`)
    return Layer.effectDiscard(create).pipe(
      Layer.provideMerge(PgClient.layer({ url: Redacted.make(own.href), maxConnections: 8 }))
    )
  })
)

describe("the release that adds columns to two read models", () => {
  it.live(
    "goes through in memory, with customers at work",
    () =>
      Effect.gen(function* () {
        const database = yield* MemoryDatabase.MemoryDatabase
        yield* release({
          before: EsOps.layerMemory({ ...releases.before, database }),
          now: EsOps.layerMemory({ ...releases.now, database })
        })
      }).pipe(Effect.provide(MemoryDatabase.layer)),
    60_000
  )

  it.live.skipIf(process.env["DATABASE_URL"] === undefined)(
    "goes through on a server, with customers at work",
    () =>
      Effect.gen(function* () {
        const own = Layer.succeedContext(yield* Effect.context<EsOps.CommandClient>())
        yield* release({
          before: Layer.provide(EsOps.layer(releases.before), own),
          now: Layer.provide(EsOps.layer(releases.now), own)
        })
      }).pipe(Effect.provide(client)),
    60_000
  )
})
