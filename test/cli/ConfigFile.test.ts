/**
 * The command's file: features, services and settings of an application, with options and the environment before them.
 */
import { assert, afterAll, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { SeedDocument } from "effect-es-ops"
import { Client } from "pg"
import { database, project, tenant } from "../support/Command.js"
import * as EmbeddedFolder from "../support/EmbeddedFolder.js"
import type { Project } from "../support/Project.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

const projects: Array<Project> = []
const name = `config_${process.pid}`
const url = Database.url(name)

const query = async (text: string, at = url) => {
  const client = new Client({ connectionString: at })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

afterAll(async () => {
  for (const made of projects) await made.remove()
  await query(`DROP DATABASE ${name} WITH (FORCE)`, Database.url("postgres"))
})

const decodeApply = Schema.decodeUnknownSync(Schema.parseJson(SeedDocument.ApplyDocument))

const config = (databaseUrl: string) => `
import { Context, Effect, Layer, Schema } from "effect"
import { EsOps, Feature, Identity, Projection, WriteHandler } from "effect-es-ops"
import { SqlClient } from "@effect/sql"

class Prices extends Context.Tag("app/Prices")<Prices, { readonly of: (what: string) => number }>() {}

const place = WriteHandler.make({
  name: "orders:write:place",
  payload: Schema.Struct({ id: Schema.UUID, what: Schema.String }),
  access: ["system"],
  handle: ({ id, what }) =>
    Effect.map(Prices, (prices) => ({
      events: [{ aggregateId: id, aggregateType: "order", version: 1, type: "order.placed", payload: { id, total: prices.of(what) } }],
      data: { id }
    }))
})

const orders = Feature.make({
  name: "orders",
  handlers: [place],
  projections: [
    Projection.make({
      name: "read_orders",
      events: ["order.placed"],
      apply: ([{ payload }]) =>
        Effect.flatMap(SqlClient.SqlClient, (sql) => sql\`INSERT INTO read_orders \${sql.insert({ id: String(payload.id), total: Number(payload.total) })}\`)
    })
  ],
  tables: [{ name: "read_orders", primaryKey: ["id"], columns: [{ name: "id", type: "uuid" }, { name: "total", type: "integer" }] }]
})

export default EsOps.config({
  seeds: "./migrations",
  databaseUrl: ${JSON.stringify(databaseUrl)},
  features: [Identity.feature, orders],
  layer: Layer.effect(Prices, Effect.as(SqlClient.SqlClient, { of: (what: string) => what.length })),
  appliedBy: "ci-pipeline",
  version: "7.0.0"
})
`

const seed = Projects.seedSource(`yield* SeedContext.systemWriteAs("orders:write:place", {
      id: "33333333-3333-4333-8333-333333333333",
      what: "twelve chars"
    })`)

describe("es-ops.config.ts", () => {
  it("names seeds, features, services and the database; options and the environment win", async () => {
    await query(`CREATE DATABASE ${name}`, Database.url("postgres"))
    const made = await Projects.make({ "es-ops.config.ts": config(url), "migrations/1.mjs": seed, "other/.keep": "" })
    projects.push(made)
    const elsewhere = await made.run(["seed:apply", "--seeds", "other"])
    assert.deepStrictEqual([elsewhere.code, elsewhere.stdout], [0, "Nothing to do.\n"])
    const refused = await made.run(["seed:apply"], { DATABASE_URL: "postgres://u@127.0.0.1:1/d" })
    assert.strictEqual(refused.code, 6)
    const { code, stderr, stdout } = await made.run(["seed:apply", "--json"])
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      decodeApply(stdout).applied.map(({ events, id }) => [id, events]),
      [["1", 1]]
    )
    assert.deepStrictEqual(await query("SELECT total FROM read_orders"), [{ total: 12 }])
    assert.deepStrictEqual(await query("SELECT applied_by, version FROM es_ops_attempts"), [
      { applied_by: "ci-pipeline", version: "7.0.0" }
    ])
  })

  const wrong: ReadonlyArray<readonly [string, string, number]> = [
    [`export default { late: "never" }`, `late is not "run" or "fail"`, 4],
    [`export default { lockTimeout: "soon" }`, "lockTimeout", 4],
    [`export default { seed: "./seeds" }`, `"seed" is no setting; there are: seeds`, 4],
    [
      `export default { seed: "./seeds", late: "never" }`,
      `"seed" is no setting; late is not "run" or "fail"; there`,
      4
    ],
    [`export default { table: "a; b" }`, "table", 4],
    [`export default { features: [1] }`, "features is not an array of features made by Feature.make", 4],
    [`export default 1`, "use EsOps.config", 4],
    [`throw new Error("at load")`, "at load", 4],
    [`export default { databaseUrl: "mysql://x" }`, "databaseUrl", 4]
  ]
  it("is refused with exit 4 when it says what it cannot, naming file and key", async () => {
    const made = await Projects.make({})
    projects.push(made)
    // Each under a name of its own, as a process loads a file of one name once.
    for (const [n, [text, message, expected]] of wrong.entries()) {
      await made.write(`my${n}.config.mjs`, text)
      const { code, stderr } = await made.run(["seed:apply", "--config", `my${n}.config.mjs`])
      assert.strictEqual(code, expected, stderr)
      assert.include(stderr, message)
    }
    await EmbeddedFolder.prepare(made)
    for (const key of ["layer", "dispatcher"]) {
      await made.write(
        `${key}.config.mjs`,
        `import { Effect, Layer } from "effect"
export default { ${key}: Layer.effectDiscard(Effect.die(new Error("a defect"))) }`
      )
      const { code, stderr } = await made.run(["seed:apply", "--config", `${key}.config.mjs`, "--embedded"])
      assert.strictEqual(code, 4, stderr)
      assert.include(stderr, `error: ${key}: it cannot be built: a defect`)
    }
    const missing = await made.run(["seed:status", "--config", "nowhere.ts"])
    assert.strictEqual(missing.code, 2)
    assert.include(missing.stderr, "nowhere.ts does not exist")
  })
})

describe("a config file in another folder", () => {
  it("names its seeds by a path of its own, and options by one of the working directory", async () => {
    const { env } = await database()
    const made = await project({
      "ops/es-ops.config.ts": `import { EsOps } from "effect-es-ops"\nexport default EsOps.config({ seeds: "../migrations" })\n`,
      "migrations/1.mjs": tenant("one"),
      "other/2.mjs": tenant("two")
    })
    const config = ["--config", "ops/es-ops.config.ts"]
    const own = await made.run(["seed:apply", ...config], env)
    assert.deepStrictEqual([own.code, own.stdout.includes("1 applied, 0 not attempted.")], [0, true], own.stderr)
    const option = await made.run(["seed:check", ...config, "--seeds", "other"], env)
    assert.deepStrictEqual([option.code, option.stdout], [0, "1 seed checked, no problems.\n"], option.stderr)
  })
})
