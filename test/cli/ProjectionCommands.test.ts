/**
 * A read model gets a column: `projection:status`, `projection:rebuild` and `projection:diff`, with writers at work meanwhile.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  decodeDiff,
  decodeDoctor,
  decodeError,
  decodeProjections,
  decodeRebuild,
  database,
  project,
  untilTrue
} from "../support/Command.js"

/** The command's file, and the application with this version of its projection. */
const files = (version: 1 | 2) => ({
  "es-ops.config.ts": `import { EsOps, Identity } from "effect-es-ops"
import { orders } from "./orders.js"
export default EsOps.config({ features: [Identity.feature, orders] })`,
  "orders.ts": `import { Option, Schema } from "effect"
import { EventType, Feature, Projection, WriteHandler } from "effect-es-ops"
const placed = EventType.make({ type: "order.placed", payload: Schema.Struct({ sku: Schema.String }) })
const table = Feature.table({
  name: "read_orders",
  columns: [
    { name: "id", type: "uuid" },
    { name: "sku", type: "text" },
    ${version === 2 ? '{ name: "label", type: "text", nullable: true }' : ""}
  ],
  primaryKey: ["id"],
  row: Schema.Struct({ id: Schema.String, sku: Schema.String${version === 2 ? ", label: Schema.NullOr(Schema.String)" : ""} })
})
const projection = Projection.fold({
  name: "orders",
  table,
  version: ${version},
  on: [[placed, (_, { aggregateId, payload }) =>
    Option.some({ id: aggregateId, sku: payload.sku${version === 2 ? ", label: payload.sku.toUpperCase()" : ""} })]]
})
const place = WriteHandler.make({
  name: "orders:write:place",
  payload: Schema.Struct({ sku: Schema.String }),
  access: ["system"],
  handle: ({ sku }, { newId }) => ({
    events: [{ aggregateId: newId, aggregateType: "order", version: 1, type: "order.placed", payload: { sku } }],
    data: { id: newId }
  })
})
export const orders = Feature.make({ name: "orders", handlers: [place], projections: [projection], tables: [table] })`
})

const seed = (count: number) => `import { Effect } from "effect"
import { Seed, SeedContext } from "effect-es-ops"
export default Seed.make({
  description: "",
  run: SeedContext.systemWriteAll("orders:write:place", Array.from({ length: ${count} }, (_, n) => ({ sku: "sku" + n })))
})`

describe("a read model that gets a column", () => {
  it("is outdated until it is rebuilt, which the release job does while others write", async () => {
    const { env, query } = await database()
    const before = await project({ ...files(1), "seeds/1.ts": seed(40) })
    const none = await before.run(["projection:status", "--check"], env)
    assert.deepStrictEqual([none.code, /^current +orders /m.test(none.stdout)], [0, true], none.stderr)
    const applied = await before.run(["seed:apply"], env)
    assert.strictEqual(applied.code, 0, applied.stderr)

    const { run } = await project({ ...files(2), "seeds/1.ts": seed(40), "seeds/2.ts": seed(3) })
    const status = await run(["projection:status", "--check", "--json"], env)
    assert.strictEqual(status.code, 3, status.stderr)
    assert.include(status.stderr, "Run es-ops projection:rebuild --outdated.")
    const orders = decodeProjections(status.stdout).projections.find(({ name }) => name === "orders")
    assert.deepInclude(orders, {
      tables: ["read_orders"],
      version: 2,
      builtVersion: 1,
      outdated: true,
      lastRebuild: null,
      run: null,
      deadLetters: 0
    })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    assert.deepStrictEqual(await query("SELECT count(*)::int FROM read_orders WHERE label IS NULL"), [{ count: 40 }])

    const doctor = async (name: string) =>
      decodeDoctor((await run(["doctor", "--json"], env)).stdout).checks.find((check) => check.name === name)
    assert.deepInclude(await doctor("projections"), {
      ok: false,
      detail: '"orders" is outdated: read_orders was built by version 1 of it, and this is version 2'
    })

    const plan = await run(["projection:rebuild", "--outdated", "--dry-run"], env)
    assert.match(plan.stdout, /^would +rebuild orders \(read_orders\) {2}43 events, /m, plan.stderr)
    assert.deepStrictEqual(await query("SELECT count(*)::int FROM pg_class WHERE relname = 'es_ops_runs'"), [
      { count: 0 }
    ])

    const work = { goesOn: true, written: 0 }
    const writers = [1, 2].map(async () => {
      while (work.goesOn) {
        await query(`WITH placed AS (
            INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
            VALUES (gen_random_uuid(), 'order', gen_random_uuid(), 1, 'order.placed', '{"sku": "late"}', '{"userId": "u"}', 'u')
            RETURNING aggregate_id)
          INSERT INTO read_orders (id, sku, label) SELECT aggregate_id, 'late', 'LATE' FROM placed`)
        work.written++
      }
    })
    await untilTrue(async () => (work.written > 2 ? [true] : []))
    const rebuilt = await run(["projection:rebuild", "--outdated", "--json"], env)
    work.goesOn = false
    await Promise.all(writers)
    assert.strictEqual(rebuilt.code, 0, rebuilt.stderr)
    const [report] = decodeRebuild(rebuilt.stdout).rebuilt
    assert.deepInclude(report, {
      projections: ["orders"],
      mode: "merge",
      rows: { inserted: 0, updated: 40, deleted: 0 },
      unsettled: []
    })
    assert.deepStrictEqual(
      await query("SELECT count(*)::int FROM read_orders WHERE label IS DISTINCT FROM upper(sku)"),
      [{ count: 0 }]
    )

    const current = await run(["projection:status", "--check"], env)
    assert.deepStrictEqual(
      [current.code, /^current +orders +read_orders +version 2 +rebuilt \d{4}-/m.test(current.stdout)],
      [0, true],
      current.stdout
    )
    const again = await run(["projection:rebuild", "--outdated"], env)
    assert.deepStrictEqual([again.code, again.stdout], [0, "Nothing to rebuild here.\n"], again.stderr)
    assert.include((await run(["history"], env)).stdout, "projection-rebuild:orders:")

    assert.deepInclude(await doctor("projections"), { ok: true })
    await query(
      "CREATE TABLE es_ops_shadow.left_over AS SELECT 1; COMMENT ON TABLE es_ops_shadow.left_over IS 'es-ops run x'"
    )
    assert.deepInclude(await doctor("shadows"), { ok: false, fix: "DROP TABLE es_ops_shadow.left_over;" })

    const equal = await run(["projection:diff", "orders"], env)
    assert.deepStrictEqual([equal.code, /^equal +orders \(read_orders\)/m.test(equal.stdout)], [0, true], equal.stderr)
    await query("DELETE FROM read_orders WHERE sku = 'sku1'; UPDATE read_orders SET label = 'x' WHERE sku = 'sku2'")
    const different = await run(["projection:diff", "--json", "orders"], env)
    assert.strictEqual(different.code, 3, different.stderr)
    assert.include(different.stderr, "Run es-ops projection:rebuild orders.")
    const { diffs, equal: isEqual } = decodeDiff(different.stdout)
    assert.deepStrictEqual(
      [isEqual, diffs[0]?.tables.map((table) => [table.missing.count, table.surplus.count, table.different.count])],
      [false, [[2, 0, 2]]]
    )
  })

  it("is refused where it has rows without events, with every problem in the document; rows are not deleted unasked", async () => {
    const { env, query } = await database()
    const { run } = await project({ ...files(1), "seeds/1.ts": seed(2) })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    await query("INSERT INTO read_orders (id, sku) VALUES (gen_random_uuid(), 'ghost')")
    const refused = await run(["projection:rebuild", "orders", "--json"], env)
    assert.strictEqual(refused.code, 4, refused.stderr)
    assert.deepStrictEqual(
      decodeRebuild(refused.stdout).problems.map(({ _tag, projection }) => [_tag, projection]),
      [["GhostRows", "orders"]]
    )
    assert.include(refused.stderr, "--ghosts keep")
    const unasked = await run(["projection:rebuild", "orders", "--ghosts", "delete", "--json"], env)
    assert.deepStrictEqual([unasked.code, decodeError(unasked.stdout).error._tag], [2, "UsageError"])
    assert.include(unasked.stderr, "--yes")
    const deleted = await run(["projection:rebuild", "orders", "--ghosts", "delete", "--expect", "1", "--yes"], env)
    assert.strictEqual(deleted.code, 0, deleted.stderr)
    assert.match(deleted.stdout, /^rebuilt +orders \(read_orders\) .*1 deleted/m)
    assert.deepStrictEqual(await query("SELECT count(*)::int FROM read_orders"), [{ count: 2 }])
  })
})
