/**
 * `doctor` as a child process: one thing wrong at a time, found and with its fix.
 */
import { assert, describe, it } from "@effect/vitest"
import { admin, database, decodeDoctor, decodeError, project, tenant } from "../support/Command.js"
import * as EmbeddedFolder from "../support/EmbeddedFolder.js"
import * as PgBouncer from "../support/PgBouncer.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"
import * as TransactionPooler from "../support/TransactionPooler.js"
import { inject } from "vitest"

type Run = Awaited<ReturnType<typeof project>>["run"]

/** Runs the doctor, whose text and document must agree, and gives what it found wrong by name. */
const wrongs = async (run: Run, env: Readonly<Record<string, string>>, code: number) => {
  const [json, text] = [await run(["doctor", "--json"], env), await run(["doctor"], env)]
  assert.deepStrictEqual([json.code, text.code], [code, code], json.stderr + json.stdout)
  const { checks } = decodeDoctor(json.stdout)
  const found = checks.filter(({ ok }) => !ok)
  for (const { detail, fix, name, ok } of checks) {
    assert.strictEqual(fix === null, ok, name)
    assert.include(text.stdout, detail.split("\n")[0] ?? "")
  }
  assert.include(
    text.stdout,
    found.length === 0 ? "Nothing is wrong." : `${found.length} of ${checks.length} need a look.`
  )
  assert.notInclude(text.stdout + text.stderr + json.stdout + json.stderr, inject("postgres").password)
  return Object.fromEntries(found.map(({ detail, fix, name }) => [name, `${detail}\n${fix ?? ""}`]))
}

/** A database with one applied seed, and the project that it came from. */
const applied = async () => {
  const base = await database()
  const made = await project({ "seeds/1.mjs": tenant("one") })
  const { code, stderr } = await made.run(["seed:apply"], base.env)
  assert.strictEqual(code, 0, stderr)
  return { ...base, ...made }
}

describe("the doctor", () => {
  it("finds nothing on an empty database, nor where everything is applied", async () => {
    const { env, query } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    assert.deepStrictEqual(await wrongs(run, env, 0), {})
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'"), [])
    await run(["seed:apply"], env)
    assert.deepStrictEqual(await wrongs(run, env, 0), {})
  })

  it("says what the role may not do that only some need, and finds nothing wrong with that", async () => {
    const { name, query, run } = await applied()
    const role = `writer_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO ${role};
      GRANT UPDATE ON read_tenants, read_users, read_tenant_memberships TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
    const env = { DATABASE_URL: Database.url(name, role, "pw") }
    assert.deepStrictEqual(await wrongs(run, env, 0), {})
    const { stdout } = await run(["doctor"], env)
    assert.match(stdout, /not what seeds outside any transaction .* need: it lacks UPDATE on "es_ops_attempts"/)
    assert.match(stdout, /not what seed:unmark and seed:rename need: it lacks DELETE on "kumiko_es_operations"/)
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("finds that there is no server, with exit 6, and looks at the seeds all the same", async () => {
    const { run } = await project({ "seeds/1.ts": "export default 1" })
    const found = await wrongs(run, { DATABASE_URL: "postgres://u:hunter2@127.0.0.1:1/d" }, 6)
    assert.deepStrictEqual(Object.keys(found), ["connection", "seeds"])
    assert.include(found["connection"], "ECONNREFUSED")
    assert.include(found["connection"], "See that the server runs")
    assert.notInclude(found["connection"], "hunter2")
    const nowhere = await run(["doctor", "--json"])
    assert.deepStrictEqual([nowhere.code, decodeError(nowhere.stdout).error._tag], [2, "UsageError"])
  })

  it("finds a server that is too old, with exit 6; so does seed:apply", async () => {
    const { env, name, query } = await database()
    // What an older server answers: this function comes before the catalog's in the search path.
    await query(`CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS $$
        SELECT CASE $1 WHEN 'server_version_num' THEN '130023' WHEN 'server_version' THEN '13.23' ELSE pg_catalog.current_setting($1) END $$;
      ALTER DATABASE ${name} SET search_path = public, pg_catalog`)
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    const found = await wrongs(run, env, 6)
    assert.match(found["server version"] ?? "", /PostgreSQL 13\.23; 14 or later is needed\nUpgrade/)
    const refused = await run(["seed:apply"], env)
    assert.strictEqual(refused.code, 6)
    assert.include(refused.stderr, "the server is PostgreSQL 13.23; 14 or later is needed")
  })

  it("finds privileges that are missing, with exit 6, and says what to grant", async () => {
    const { name, query, run } = await applied()
    const role = `reader_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`)
    const found = await wrongs(run, { DATABASE_URL: Database.url(name, role, "pw") }, 6)
    assert.deepStrictEqual(Object.keys(found), ["privileges"])
    assert.include(found["privileges"], 'INSERT on "kumiko_es_operations" is not granted')
    assert.include(found["privileges"], `GRANT INSERT ON "es_ops_attempts" TO ${role};`)
    assert.include(found["privileges"], "USAGE on SEQUENCE public.kumiko_events_id_seq is not granted")
    await query(`DROP TABLE es_ops_attempts`)
    const uncreated = await wrongs(run, { DATABASE_URL: Database.url(name, role, "pw") }, 6)
    assert.include(uncreated["privileges"], 'INSERT on "kumiko_es_operations" is not granted')
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("finds that the record cannot be read, and says all that it found besides", async () => {
    const { name, query, run } = await applied()
    const role = `blind_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT CREATE ON SCHEMA public TO ${role}`)
    const found = await wrongs(run, { DATABASE_URL: Database.url(name, role, "pw") }, 6)
    assert.deepStrictEqual(Object.keys(found), ["privileges", "seeds"])
    assert.include(found["privileges"], 'SELECT on "kumiko_es_operations" is not granted')
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("finds a schema of the settings that is not there, or not open to the role", async () => {
    const { env, name, query } = await database()
    const { run } = await project({
      "es-ops.config.mjs": `export default { schema: "ops" }`,
      "seeds/1.mjs": tenant("one")
    })
    const absent = await wrongs(run, env, 6)
    assert.include(absent["privileges"], "is missing, and on schema ops: there is no such schema")
    assert.include(absent["privileges"], "es-ops schema prints, which creates the schema as well")
    const role = `ops_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; CREATE SCHEMA ops AUTHORIZATION ${role}`)
    const closed = await wrongs(run, { DATABASE_URL: Database.url(name, role, "pw") }, 6)
    assert.include(closed["privileges"], '"kumiko_events" is missing, and on schema public: CREATE is not granted')
    assert.notInclude(closed["privileges"], '"es_ops_attempts"')
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}; DROP SCHEMA IF EXISTS ops`)
    const { stdout } = await run(["schema"])
    await query(stdout)
    await query(stdout)
    assert.deepStrictEqual(await wrongs(run, env, 0), {})
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
  })

  it("finds that there is no history and can be none, with exit 4: seeds are applied without", async () => {
    const { name, query, run } = await applied()
    const role = `plain_${name}`
    await query(`DROP TABLE es_ops_attempts; CREATE ROLE ${role} LOGIN PASSWORD 'pw';
      GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
    const found = await wrongs(run, { DATABASE_URL: Database.url(name, role, "pw") }, 4)
    assert.include(found["privileges"], '"es_ops_attempts" is missing')
    assert.include(found["privileges"], "Seeds are applied without history.")
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("finds a marker table with other columns, with exit 4; so does seed:apply, before anything is written", async () => {
    const { env, query } = await database()
    await query(`CREATE TABLE kumiko_es_operations (id integer PRIMARY KEY, operation_type text NOT NULL,
      applied_at timestamptz, duration_ms integer, applied_by text, region text NOT NULL)`)
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    const { tables = "" } = await wrongs(run, env, 4)
    assert.include(tables, 'kumiko_es_operations": column "id" is integer, not text')
    assert.include(tables, 'column "notes" (text) is missing')
    assert.include(tables, 'column "region" must be given a value')
    assert.include(tables, "es-ops schema prints what is expected")
    const refused = await run(["seed:apply", "--json"], env)
    assert.strictEqual(refused.code, 4, refused.stderr)
    assert.include(refused.stdout, '"_tag": "TableMismatch"')
    for (const words of [["seed:status"], ["seed:mark", "1", "--reason", "x"], ["seed:unmark", "1", "--reason", "x"]]) {
      const other = await run([...words, "--json"], env)
      assert.deepStrictEqual([other.code, decodeError(other.stdout).error._tag], [4, "SeedsInconsistent"])
      assert.include(other.stderr, "kumiko_es_operations")
    }
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(es_ops|kumiko_e)'"), [
      { relname: "kumiko_es_operations" },
      { relname: "kumiko_es_operations_pkey" }
    ])
  })

  it("finds a table of the event store with other columns where there is no marker table yet, as does seed:apply", async () => {
    const { env, query } = await database()
    await query("CREATE TABLE kumiko_events (id integer PRIMARY KEY)")
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    assert.match((await wrongs(run, env, 4))["tables"] ?? "", /kumiko_events": .*column "aggregate_id"/)
    const refused = await run(["seed:apply", "--json"], env)
    assert.strictEqual(refused.code, 4, refused.stderr)
    assert.include(refused.stdout, '"_tag": "TableMismatch"')
    assert.deepStrictEqual(await query("SELECT to_regclass('es_ops_attempts') AS made"), [{ made: null }])
  })

  it("finds the session that holds the lock", async () => {
    const { env, run, url } = await applied()
    await admin(async (holder) => {
      await holder.query("SET application_name = 'slow deploy'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const { pid } = (await holder.query("SELECT pg_backend_pid() AS pid")).rows[0]
      const { lock = "" } = await wrongs(run, env, 4)
      assert.include(lock, `held by server process ${pid} (slow deploy) since 20`)
      assert.include(lock, `pg_terminate_backend(${pid})`)
    }, url)
  })

  it("finds an attempt that never ended", async () => {
    const { env, query, run, write } = await applied()
    await write("seeds/2.mjs", tenant("two"))
    await query(`INSERT INTO es_ops_attempts (operation_id, operation_type, attempt, outcome, started_at, applied_by, host, pid)
      VALUES ('2', 'seed-migration', 1, 'running', now(), 'cli', 'gone', 1)`)
    const { interrupted = "" } = await wrongs(run, env, 4)
    assert.include(interrupted, "never ended: 2")
    assert.include(interrupted, "es-ops seed:mark")
  })

  it("finds flags that are set, one that is mistyped, and those that skip nothing", async () => {
    const { env, run, write } = await applied()
    await write("seeds/2.mjs", tenant("two"))
    await write("seeds/3.mjs", tenant("three").replace("run:", "skippable: true, run:"))
    const set = {
      KUMIKO_SKIP_ES_OPS: "true",
      KUMIKO_SKIP_ES_OPS_1: "1",
      KUMIKO_SKIP_ES_OPS_2: "1",
      KUMIKO_SKIP_ES_OPS_3: "1",
      KUMIKO_SKIP_ES_OPS_4: "1",
      KUMIKO_SKIP_ES_OPS_5: ""
    }
    const { flags = "" } = await wrongs(run, { ...env, ...set }, 4)
    assert.include(flags, "KUMIKO_SKIP_ES_OPS is set, but to something other than 1")
    assert.include(flags, 'KUMIKO_SKIP_ES_OPS_1=1, which skips nothing: "1" is applied')
    assert.include(flags, 'KUMIKO_SKIP_ES_OPS_2=1, which skips nothing: "2" is not skippable')
    assert.match(flags, /KUMIKO_SKIP_ES_OPS_3=1$/m)
    assert.include(flags, "KUMIKO_SKIP_ES_OPS_4 is set, but no seed has this flag")
    assert.notInclude(flags, "KUMIKO_SKIP_ES_OPS_5")
    for (const words of [["seed:status"], ["seed:apply", "--dry-run"]]) {
      const { stderr } = await run(words, { ...env, KUMIKO_SKIP_ES_OPS_4: "1", KUMIKO_SKIP_ES_OPS_1: "1" })
      assert.deepStrictEqual(
        stderr.split("\n").filter((line) => line.includes("SKIP_ES_OPS")),
        ["warn: KUMIKO_SKIP_ES_OPS_4 is set, but no seed has this flag: it skips nothing"]
      )
    }
    // All are skipped: none of them is idle.
    const all = await wrongs(run, { ...env, ...set, KUMIKO_SKIP_ES_OPS: "1" }, 4)
    assert.notInclude(all["flags"], "skips nothing:")
    assert.include(flags, "Unset it")
  })

  it("finds seeds that were edited since they were applied", async () => {
    const { env, run, write } = await applied()
    await write("seeds/1.mjs", `${tenant("one")}export const edited = true`)
    const { changed = "" } = await wrongs(run, env, 4)
    assert.include(changed, "edited since it was applied: 1")
    assert.include(changed, "new seed")
  })

  it("finds seeds that do not load, each by its file", async () => {
    const { env, run, write } = await applied()
    await write("seeds/2.ts", "throw new Error('at import')")
    const { seeds = "" } = await wrongs(run, env, 4)
    assert.match(seeds, /SeedImportError: .*2\.ts cannot be loaded: line 1: at import/)
  })

  it("finds events that hold a jsonb string, counts them, and says how to repair them", async () => {
    const { env, query, run } = await applied()
    await query("UPDATE kumiko_events SET payload = to_jsonb(payload::text)")
    const found = await wrongs(run, env, 4)
    assert.include(found["old rows"], "1 events hold a jsonb string")
    const [, repair = ""] = /Repair: ([\s\S]*)$/.exec(found["old rows"] ?? "") ?? []
    await query(repair)
    assert.deepStrictEqual(await query("SELECT jsonb_typeof(payload) AS type FROM kumiko_events"), [{ type: "object" }])
    assert.deepStrictEqual(await wrongs(run, env, 0), {})
  })

  it("finds an index that an interrupted CREATE INDEX CONCURRENTLY left behind", async () => {
    const { env, query, run } = await applied()
    await query("INSERT INTO read_tenants SELECT gen_random_uuid(), name, key || 2, now() FROM read_tenants")
    await query("CREATE UNIQUE INDEX CONCURRENTLY tenants_name_uq ON read_tenants (name)").catch(() => undefined)
    const { indexes = "" } = await wrongs(run, env, 4)
    assert.include(indexes, "tenants_name_uq")
    assert.include(indexes, "REINDEX INDEX CONCURRENTLY tenants_name_uq")
  })

  /** The same for a small pooler of the tests' own and for the one that most people use. */
  const behindPooler = async (
    start: (url: string) => Promise<{ readonly port: number; readonly close: () => Promise<void> }>
  ) => {
    const { name, run, url, write } = await applied()
    const pooler = await start(url)
    const env = { DATABASE_URL: `postgres://postgres@127.0.0.1:${pooler.port}/${name}` }
    try {
      assert.deepStrictEqual(await wrongs(run, env, 0), {})
      assert.include((await run(["doctor"], env)).stdout, "gives each transaction another session")
      await write("seeds/2.mjs", Projects.seedSource("", 'transaction: "none", skippable: true, '))
      const found = await wrongs(run, env, 4)
      assert.deepStrictEqual(Object.keys(found), ["pooler"])
      assert.match(found["pooler"] ?? "", /as they run outside any transaction: "2"\nConnect to the server itself/)
      const skipping = { ...env, KUMIKO_SKIP_ES_OPS_2: "1" }
      assert.deepStrictEqual(Object.keys(await wrongs(run, skipping, 4)), ["flags"])
      assert.strictEqual((await run(["seed:apply"], skipping)).code, 0)
    } finally {
      await pooler.close()
    }
  }

  it("finds a pooler that gives each transaction another session", () =>
    behindPooler((url) => TransactionPooler.start(url, 3)))

  it.skipIf(!PgBouncer.isInstalled)("finds PgBouncer in transaction mode (skipped where it is not installed)", () =>
    behindPooler(() => PgBouncer.start(inject("postgres")))
  )

  it("looks at an embedded database as well", async () => {
    const made = await project({ "seeds/1.mjs": Projects.seedSource("") })
    await EmbeddedFolder.prepare(made)
    const { code, stdout } = await made.run(["doctor", "--embedded", "--json"])
    assert.strictEqual(code, 0, stdout)
    assert.deepStrictEqual(
      decodeDoctor(stdout).checks.find(({ name }) => name === "pooler"),
      { name: "pooler", ok: true, detail: "none", fix: null }
    )
  })
})
