/**
 * `schema --diff` and `schema --grants`: what they print is run, and what it changes is looked at.
 */
import { assert, describe, it } from "@effect/vitest"
import { rename } from "node:fs/promises"
import { join } from "node:path"
import type { Client } from "pg"
import { admin, database, decodeDoctor, decodeError, decodeSchema, project, tenant } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Reference from "../support/Reference.js"
import * as Database from "../support/TestDatabase.js"

/** A feature with a table of its own; `more` are columns and keys of it that came later. */
const config = (more = "", keys = "") => `
import { Effect, Schema } from "effect"
import { SqlClient } from "@effect/sql"
import { EsOps, Feature, Identity, Projection, WriteHandler } from "effect-es-ops"

const place = WriteHandler.make({
  name: "orders:write:place",
  payload: Schema.Struct({ sku: Schema.String }),
  access: ["system"],
  handle: ({ sku }, { newId }) => ({
    events: [{ aggregateId: newId, aggregateType: "order", version: 1, type: "order.placed", payload: { sku } }],
    data: { id: newId }
  })
})
const rows = Projection.make({
  name: "read_orders",
  events: ["order.placed"],
  apply: (events) => Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    for (const { aggregateId, payload } of events) {
      yield* sql\`DELETE FROM read_orders WHERE sku = \${payload.sku}\`
      yield* sql\`INSERT INTO read_orders (id, sku) VALUES (\${aggregateId}, \${payload.sku})\`
    }
  })
})
const orders = Feature.make({
  name: "orders",
  handlers: [place],
  projections: [rows],
  tables: [{ name: "read_orders", columns: [{ name: "id", type: "uuid" }, { name: "sku", type: "text" }${more}], primaryKey: ["id"]${keys} }]
})
export default EsOps.config({ schema: "ops", table: "my_markers", attemptsTable: "My_attempts", features: [Identity.feature, orders] })
`

const order = (sku: string) =>
  Projects.seedSource(`yield* SeedContext.systemWriteAs("orders:write:place", { sku: "${sku}" })`)

describe("es-ops schema --diff", () => {
  it("prints what creates everything on an empty database, and nothing where that was run", async () => {
    const { env, query } = await database()
    const { run } = await project({ "es-ops.config.mjs": config(), "seeds/1.mjs": order("a") })
    const empty = await run(["schema", "--diff"], env)
    assert.strictEqual(empty.code, 0, empty.stderr)
    assert.include(empty.stderr, "database: postgres://")
    assert.include(empty.stdout, 'CREATE SCHEMA "ops"')
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|my_|read_)'"), [])
    await query(empty.stdout)
    const complete = await run(["schema", "--diff"], env)
    assert.deepStrictEqual([complete.code, complete.stdout], [0, ""], complete.stderr)
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(decodeSchema((await run(["schema", "--diff", "--json"], env)).stdout), { statements: [] })
  })

  it("prints nothing where everything was created by seed:apply, or is the reference's", async () => {
    const { env, query } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    assert.deepStrictEqual((await run(["schema", "--diff"], env)).stdout, "")
    await query("DROP TABLE kumiko_es_operations, kumiko_events, kumiko_archived_streams")
    await query(`${Reference.tables}; ${Reference.idempotencyIndex}`)
    assert.deepStrictEqual((await run(["schema", "--diff"], env)).stdout, "")
  })

  it("prints what mends columns, keys and indexes of every table, after which seeds are applied and the doctor finds nothing", async () => {
    const { env, query } = await database()
    const { run, write } = await project({ "seeds/1.mjs": tenant("one") })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    await query(`CREATE EXTENSION citext;
      ALTER TABLE kumiko_es_operations DROP CONSTRAINT kumiko_es_operations_pkey, ALTER COLUMN id TYPE citext, ALTER COLUMN duration_ms TYPE smallint,
        ALTER COLUMN applied_at DROP DEFAULT, ALTER COLUMN applied_at TYPE timestamp, DROP COLUMN notes;
      ALTER TABLE es_ops_attempts ALTER COLUMN id DROP IDENTITY, ALTER COLUMN ended_at SET NOT NULL, ALTER COLUMN reason TYPE varchar(10), DROP COLUMN error;
      DROP INDEX es_ops_attempts_operation_idx;
      DROP INDEX events_aggregate_version_uq; DROP INDEX events_idempotency_uq; DROP INDEX events_load_idx;
      ALTER TABLE read_tenants DROP CONSTRAINT read_tenants_key_key, ALTER COLUMN name DROP NOT NULL, ALTER COLUMN key TYPE varchar(9);
      ALTER TABLE read_users DROP CONSTRAINT read_users_pkey`)
    await write("seeds/2.mjs", tenant("two"))
    const refused = await run(["seed:apply"], env)
    assert.strictEqual(refused.code, 4, refused.stderr)
    assert.include(refused.stderr, "es-ops schema --diff")
    const { stdout } = await run(["schema", "--diff"], env)
    await query(stdout)
    const left = await run(["schema", "--diff"], env)
    assert.deepStrictEqual([left.code, left.stdout], [0, ""], left.stderr)
    const { code, stderr } = await run(["seed:apply"], env)
    assert.strictEqual(code, 0, stderr)
    const doctor = await run(["doctor"], env)
    assert.strictEqual(doctor.code, 0, doctor.stdout)
  })

  it("wants one database, and not to be two commands", async () => {
    const { run } = await project()
    for (const words of [["--diff"], ["--diff", "--grants", "r"], ["--grants", ""], ["--grants", "r".repeat(64)]]) {
      const refused = await run(["schema", ...words, "--json"])
      assert.deepStrictEqual([refused.code, decodeError(refused.stdout).error._tag], [2, "UsageError"])
    }
    const unreachable = await run(["schema", "--diff", "--json"], { DATABASE_URL: "postgres://u:p@127.0.0.1:1/d" })
    assert.deepStrictEqual([unreachable.code, decodeError(unreachable.stdout).error._tag], [6, "DatabaseError"])
  })
})

/** Runs what schema printed, and gives the login of a role that has the rights that were printed for it. */
const granted = async (
  role: string,
  quoted: string,
  { name, query }: Awaited<ReturnType<typeof database>>,
  statements: ReadonlyArray<string>
) => {
  await query(`CREATE ROLE ${quoted} LOGIN PASSWORD 'pw'; REVOKE ALL ON SCHEMA public FROM PUBLIC`)
  for (const statement of statements) await query(statement)
  return { DATABASE_URL: Database.url(name, encodeURIComponent(role), "pw") }
}

describe("es-ops schema --grants", () => {
  it.each([
    ["the default names", undefined, "app_role", '"app_role"'],
    ["names of the settings and a feature's tables", config(), `O'Brien "x" $1.Role`, `"O'Brien ""x"" $1.Role"`]
  ])("prints what lets a role apply, with %s, and each of it is needed", async (_, file, base, quotedBase) => {
    const made = await database()
    const suffix = made.name.slice(-8)
    const [role, quoted] = [`${base}${suffix}`, `${quotedBase.slice(0, -1)}${suffix}"`]
    const { folder, run, write } = await project({
      ...(file === undefined ? {} : { "es-ops.config.mjs": file, "seeds/0.mjs": order("a") }),
      "seeds/1.mjs": tenant("one"),
      "seeds/2.mjs": Projects.seedSource("yield* sql`SELECT 1`", ` transaction: "none",`)
    })
    await made.query((await run(["schema"])).stdout)
    const { statements } = decodeSchema((await run(["schema", "--grants", role, "--json"])).stdout)
    const text = await run(["schema", "--grants", role])
    assert.strictEqual(text.stdout, `${statements.map((statement) => `${statement};`).join("\n\n")}\n`)
    const env = await granted(role, quoted, made, statements)
    const done = await run(["seed:apply"], env)
    assert.strictEqual(done.code, 0, done.stderr)
    const doctor = await run(["doctor"], env)
    assert.strictEqual(doctor.code, 0, doctor.stdout)
    // Without any one of them, it fails; those on other tables of ours are for long operations.
    await write("seeds/3.mjs", tenant("two"))
    if (file !== undefined) await write("seeds/4.mjs", order("b"))
    for (const statement of statements.filter(
      (each) => !/^DO |archived|read_users|read_tenant_m|es_ops_(?!attempts)/.test(each)
    )) {
      await made.query(statement.replace(/^GRANT/, "REVOKE").replace(/ TO (".*")$/, " FROM $1"))
      const without = await run(["seed:apply", "--dry-run"], env)
      assert.notStrictEqual(without.code, 0, statement)
      await made.query(statement)
    }
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    // What mends the record needs no more.
    await rename(join(folder, "seeds/3.mjs"), join(folder, "seeds/5.mjs"))
    for (const command of ["seed:rename 3 5", "seed:unmark 5"]) {
      const mended = await run([...command.split(" "), "--reason", "moved"], env)
      assert.strictEqual(mended.code, 0, mended.stderr)
    }
    await made.query(`DROP OWNED BY ${quoted}; DROP ROLE ${quoted}`)
  })
})

describe("the doctor", () => {
  it("names indexes that are missing, and sequences that are behind their tables, with what mends them", async () => {
    const { env, query, url } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    await run(["seed:apply"], env)
    await query(`DROP INDEX events_load_idx; ALTER TABLE read_tenants DROP CONSTRAINT read_tenants_key_key;
      SELECT setval('kumiko_events_id_seq', 1, false), setval('es_ops_attempts_id_seq', 1, false)`)
    const sick = await run(["doctor", "--json"], env)
    assert.strictEqual(sick.code, 4, sick.stderr)
    const wrong = decodeDoctor(sick.stdout).checks.filter(({ ok }) => !ok)
    assert.deepStrictEqual(
      wrong.map(({ detail, name }) => [name, detail]),
      [
        [
          "missing indexes",
          `"kumiko_events" has no index on aggregate_id, version\n"read_tenants" has no unique index on key`
        ],
        [
          "sequences",
          `es_ops_attempts_id_seq is behind "es_ops_attempts": the next numbers that it gives are taken\nkumiko_events_id_seq is behind "kumiko_events": the next numbers that it gives are taken`
        ]
      ]
    )
    await admin((client: Client) => client.query(wrong.map(({ fix }) => fix).join("\n")), url)
    const well = await run(["doctor"], env)
    assert.strictEqual(well.code, 0, well.stdout)
  })
})
