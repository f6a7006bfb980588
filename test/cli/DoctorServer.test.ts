/**
 * `doctor` on databases that take not every write, and on a record with failures and seeds without a file.
 */
import { assert, describe, it } from "@effect/vitest"
import { database, decodeDoctor, project, tenant } from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

/** A database with one applied seed, and what the doctor finds wrong by name, the same in its text. */
const applied = async (more: Readonly<Record<string, string>> = {}) => {
  const base = await database()
  const made = await project({ "seeds/1.mjs": tenant("one"), ...more })
  const { code, stderr } = await made.run(["seed:apply"], base.env)
  assert.strictEqual(code, Object.keys(more).length === 0 ? 0 : 1, stderr)
  const wrongs = async (env: Readonly<Record<string, string>>, code: number) => {
    const [json, text] = [await made.run(["doctor", "--json"], env), await made.run(["doctor"], env)]
    assert.deepStrictEqual([json.code, text.code], [code, code], json.stderr + json.stdout)
    const found = decodeDoctor(json.stdout).checks.filter(({ ok }) => !ok)
    for (const { detail } of found) assert.include(text.stdout, detail.split("\n")[0] ?? "")
    return Object.fromEntries(found.map(({ detail, fix, name }) => [name, `${detail}\n${fix ?? ""}`]))
  }
  return { ...base, ...made, wrongs }
}

describe("the doctor of what takes no writes", () => {
  it("finds transactions that are read-only by default of the database", async () => {
    const { env, name, query, wrongs } = await applied()
    await query(`ALTER DATABASE "${name}" SET default_transaction_read_only = on`)
    const found = await wrongs(env, 4)
    assert.deepStrictEqual(Object.keys(found), ["writable"])
    assert.include(found["writable"], "default_transaction_read_only is on (set by: database)")
  })

  it("finds row level security for a role that the policies are for, and none for one that passes them", async () => {
    const { env, name, query, wrongs } = await applied()
    const role = `policed_${name}`
    await query(`ALTER TABLE read_tenants ENABLE ROW LEVEL SECURITY; ALTER TABLE kumiko_es_operations ENABLE ROW LEVEL SECURITY;
      CREATE POLICY p ON kumiko_es_operations USING (true);
      CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
      GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
    const found = await wrongs({ DATABASE_URL: Database.url(name, role, "pw") }, 4)
    assert.deepStrictEqual(Object.keys(found), ["row level security"])
    assert.match(
      found["row level security"] ?? "",
      /"kumiko_es_operations".*"read_tenants"|"read_tenants".*"kumiko_es_operations"/
    )
    assert.deepStrictEqual(await wrongs(env, 0), {})
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
})

describe("the doctor of the record", () => {
  it("finds a seed whose last attempt failed, with its error, until it is applied", async () => {
    const failing = Projects.seedSource('yield* Effect.fail(new Error("no such user"))')
    const { env, query, run, wrongs } = await applied({ "seeds/2.mjs": failing })
    const found = await wrongs(env, 4)
    assert.deepStrictEqual(Object.keys(found), ["failed"])
    assert.include(found["failed"], '"2" failed at its last attempt: no such user')
    await run(["seed:mark", "2", "--reason", "done by hand"], env)
    assert.deepStrictEqual(await wrongs(env, 0), {})
    assert.strictEqual((await query("SELECT id FROM kumiko_es_operations")).length, 2)
  })

  it("finds an applied seed that has no file", async () => {
    const { env, query, wrongs } = await applied()
    await query(
      "INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) VALUES ('0-gone', 'seed-migration', 1, 'cli')"
    )
    const found = await wrongs(env, 4)
    assert.deepStrictEqual(Object.keys(found), ["orphans"])
    assert.include(found["orphans"], "es-ops seed:rename 0-gone")
  })
})
