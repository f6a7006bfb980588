/**
 * `seed:mark`, `seed:unmark`, `history`, `schema`, `seed:new` and `seed:check` as child processes.
 */
import { assert, describe, it } from "@effect/vitest"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import {
  admin,
  database,
  decodeApply,
  decodeChange,
  decodeError,
  decodeHistory,
  decodeSchema,
  decodeStatus,
  project,
  tenant
} from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

describe("seed:mark", () => {
  it("records a seed as applied without running it, with its description and duration 0; a second time says so", async () => {
    const { env, query } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    const first = await run(["seed:mark", "1", "--reason", "done by hand", "--json"], env)
    assert.strictEqual(first.code, 0, first.stderr)
    assert.deepStrictEqual(decodeChange(first.stdout), { id: "1", changed: true })
    const second = await run(["seed:mark", "1", "--reason", "again"], env)
    assert.deepStrictEqual([second.code, second.stdout], [0, "Applied already, nothing was changed: 1\n"])
    assert.deepStrictEqual(
      await query("SELECT id, operation_type, duration_ms, applied_by, notes FROM kumiko_es_operations"),
      [{ id: "1", operation_type: "seed-migration", duration_ms: 0, applied_by: "cli", notes: "a seed of a test" }]
    )
    const applied = decodeApply((await run(["seed:apply", "--json"], env)).stdout)
    assert.deepStrictEqual(
      applied.applied.map(({ id }) => id),
      ["2"]
    )
    assert.deepStrictEqual(await query("SELECT key FROM read_tenants"), [{ key: "two" }])
  })

  it("takes the reason for the description of a seed that does not load", async () => {
    const { env, query } = await database()
    const { run } = await project({ "seeds/1.ts": "throw new Error('broken')" })
    assert.strictEqual((await run(["seed:mark", "1", "--reason", "it is broken"], env)).code, 0)
    assert.deepStrictEqual(await query("SELECT notes FROM kumiko_es_operations"), [{ notes: "it is broken" }])
  })

  it("is refused with exit 2 for an id that no seed has, and for an empty reason; nothing is created", async () => {
    const { env, query } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    const unknown = await run(["seed:mark", "nope", "--reason", "x", "--json"], env)
    assert.deepStrictEqual([unknown.code, decodeError(unknown.stdout).error._tag], [2, "UsageError"])
    assert.include(unknown.stderr, "there are: 1")
    const empty = await run(["seed:mark", "1", "--reason", " "], env)
    assert.strictEqual(empty.code, 2)
    assert.include(empty.stderr, "--reason")
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^(kumiko|es_ops|read_)'"), [])
  })
})

describe("seed:unmark", () => {
  it("forgets a marker, so that the seed runs again; the history has both", async () => {
    const { env, query } = await database()
    const { run } = await project({ "seeds/1.mjs": Projects.seedSource("yield* Effect.void") })
    await run(["seed:apply"], env)
    const forgotten = await run(["seed:unmark", "1", "--reason", "restored from a backup", "--json"], env)
    assert.strictEqual(forgotten.code, 0, forgotten.stderr)
    assert.deepStrictEqual(decodeChange(forgotten.stdout), { id: "1", changed: true })
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [])
    await run(["seed:apply"], { ...env, ES_OPS_APPLIED_BY: "ci-pipeline" })
    const { code, stdout } = await run(["history", "1", "--json"], env)
    assert.strictEqual(code, 0)
    assert.deepStrictEqual(
      decodeHistory(stdout).map(({ appliedBy, attempt, id, operationType, outcome, reason }) => [
        id,
        operationType,
        attempt,
        outcome,
        appliedBy,
        reason
      ]),
      [
        ["1", "seed-migration", 3, "applied", "ci-pipeline", null],
        ["1", "seed-migration", 2, "unmarked", "cli", "restored from a backup"],
        ["1", "seed-migration", 1, "applied", "cli", null]
      ]
    )
  })

  it("is refused with exit 2 where there is no marker, or it is another operation's", async () => {
    const { env, query } = await database()
    const { run } = await project({ "seeds/1.mjs": Projects.seedSource("yield* Effect.void") })
    const none = await run(["seed:unmark", "1", "--reason", "x", "--json"], env)
    assert.deepStrictEqual([none.code, decodeError(none.stdout).error._tag], [2, "UsageError"])
    await run(["seed:apply"], env)
    await query("INSERT INTO kumiko_es_operations VALUES ('other', 'projection-rebuild', now(), 0, 'cli', null)")
    const other = await run(["seed:unmark", "other", "--reason", "x"], env)
    assert.strictEqual(other.code, 2)
    assert.include(other.stderr, '"other" is not applied')
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM kumiko_es_operations"), [{ n: 2 }])
  })

  it("and seed:mark wait for the lock, and end with exit 5 naming its holder", async () => {
    const { env, url } = await database()
    const { run, start } = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    await run(["seed:apply", "--to", "1"], env)
    await admin(async (holder) => {
      await holder.query("SET application_name = 'a deploy'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      for (const words of [
        ["seed:unmark", "1"],
        ["seed:mark", "2"]
      ]) {
        const late = await run([...words, "--reason", "x", "--lock-timeout", "0s", "--json"], env)
        assert.strictEqual(late.code, 5, late.stderr)
        assert.strictEqual(decodeError(late.stdout).error._tag, "LockTimeout")
        assert.include(late.stderr, "(a deploy)")
      }
      const waiting = start(["seed:unmark", "1", "--reason", "x"], env)
      await waiting.says("(a deploy)")
      await holder.query("COMMIT")
      assert.strictEqual((await waiting.result).code, 0)
    }, url)
  })
})

describe("history", () => {
  it("is empty on a database where nothing ever happened, and exit 2 for an id that nothing bears", async () => {
    const { env } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    assert.deepStrictEqual((await run(["history"], env)).stdout, "No attempts.\n")
    assert.deepStrictEqual(decodeHistory((await run(["history", "1", "--json"], env)).stdout), [])
    const unknown = await run(["history", "nope", "--json"], env)
    assert.deepStrictEqual([unknown.code, decodeError(unknown.stdout).error._tag], [2, "UsageError"])
  })

  it("shows a failure with its error, below each other in columns", async () => {
    const { env } = await database()
    const { run } = await project({
      "seeds/1-a-long-name.mjs": tenant("one"),
      "seeds/2.mjs": Projects.seedSource(`return yield* Effect.fail(new RangeError("too\\n far"))`)
    })
    await run(["seed:apply"], env)
    const { stdout } = await run(["history"], env)
    assert.match(
      stdout,
      /^failed {6}2 {14}#1 {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +\d+ ms {2}by cli on \S+ \(process \d+\) {2}too far\napplied {5}1-a-long-name {2}#1 /
    )
    const [failed] = decodeHistory((await run(["history", "--json"], env)).stdout)
    assert.deepInclude(failed?.error, { _tag: "RangeError", message: "too\n far" })
  })
})

describe("schema", () => {
  it("prints, without a database, what an administrator runs for a role that may not create tables", async () => {
    const { env, name, query, url } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    const text = await run(["schema"])
    assert.strictEqual(text.code, 0, text.stderr)
    const { statements } = decodeSchema((await run(["schema", "--json"])).stdout)
    assert.strictEqual(text.stdout, `${statements.map((statement) => `${statement};`).join("\n\n")}\n`)
    await admin((client) => client.query(text.stdout), url)
    const role = `schema_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw';
      GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role};
      GRANT UPDATE ON read_tenants, read_users, read_tenant_memberships TO ${role}; GRANT DELETE ON kumiko_es_operations TO ${role}`)
    const before = await query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1")
    const asRole = { DATABASE_URL: Database.url(name, role, "pw") }
    const applied = await run(["seed:apply"], asRole)
    assert.strictEqual(applied.code, 0, applied.stderr)
    assert.include(applied.stdout, "1 applied")
    assert.strictEqual((await run(["doctor"], asRole)).code, 0)
    assert.strictEqual((await run(["seed:unmark", "1", "--reason", "x"], asRole)).code, 0)
    assert.strictEqual((await run(["seed:mark", "1", "--reason", "x"], asRole)).code, 0)
    const after = await query("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1")
    assert.deepStrictEqual(after, before)
    assert.deepStrictEqual(decodeStatus((await run(["seed:status", "--json"], env)).stdout).counts.applied, 1)
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("knows the names that the config file gives the tables", async () => {
    const { run } = await project({
      "es-ops.config.js": `export default { table: "my_markers", schema: "ops", features: [] }`
    })
    const { stdout } = await run(["schema"])
    assert.include(stdout, 'CREATE TABLE IF NOT EXISTS "ops"."my_markers"')
    assert.include(stdout, 'CREATE TABLE IF NOT EXISTS "ops"."es_ops_attempts"')
    assert.notInclude(stdout, "read_tenants")
  })
})

describe("seed:new, then seed:check, then seed:apply", () => {
  it("work without an edit, twice on one day", async () => {
    const { env } = await database()
    const { folder, run } = await project({}, "a path with a space")
    const first = await run(["seed:new", "Fill display names!", "--json"])
    assert.strictEqual(first.code, 0, first.stderr)
    const { changed, id, path } = decodeChange(first.stdout)
    assert.match(id, /^\d{4}-\d\d-\d\d-fill-display-names$/)
    assert.deepStrictEqual([path, changed], [join(folder, "seeds", `${id}.ts`), true])
    const second = await run(["seed:new", "and another"])
    assert.match(
      second.stdout,
      /^created seeds\/\d{4}-\d\d-\d\dT\d{6}-and-another\.ts\nEdit it, then: es-ops seed:check\n$/
    )
    assert.strictEqual((await readdir(join(folder, "seeds"))).length, 2)
    const checked = await run(["seed:check"])
    assert.deepStrictEqual([checked.code, checked.stdout], [0, "2 seeds checked, no problems.\n"])
    const applied = await run(["seed:apply"], env)
    assert.strictEqual(applied.code, 0, applied.stderr)
    assert.include(applied.stdout, "2 applied, 0 not attempted.")
  })

  it("warn about a seed that does not sort last, and refuse a name of which nothing is left", async () => {
    const { folder, run } = await project({ "seeds/9999-later.js": "export default 1" })
    const early = await run(["seed:new", "now"])
    assert.strictEqual(early.code, 0)
    assert.include(early.stderr, "warning: it sorts before 9999-later")
    const nothing = await run(["seed:new", "???", "--json"])
    assert.deepStrictEqual([nothing.code, decodeError(nothing.stdout).error._tag], [2, "UsageError"])
    assert.strictEqual((await readdir(join(folder, "seeds"))).length, 2)
    const file = await run(["seed:new", "now", "--seeds", "package.json", "--json"])
    assert.deepStrictEqual([file.code, decodeError(file.stdout).error._tag], [4, "SeedsInconsistent"])
  })
})

describe("flags", () => {
  it("that skip nothing are warned about, by seed:check and seed:status as by seed:apply", async () => {
    const { env } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    const flags = { KUMIKO_SKIP_ES_OPS: "true", KUMIKO_SKIP_ES_OPS_1: "1" }
    for (const words of [["seed:check"], ["seed:status"], ["seed:apply"]]) {
      const { code, stderr } = await run(words, { ...env, ...flags })
      assert.strictEqual(code, 0)
      assert.include(stderr, "KUMIKO_SKIP_ES_OPS is set, but to something other than 1")
      assert.include(stderr, 'KUMIKO_SKIP_ES_OPS_1 is set, but the seed "1" is not skippable')
    }
  })
})

describe("seed:check", () => {
  it("finds everything that can be found without a database, with file and line", async () => {
    const { folder, run } = await project({
      "seeds/0-good.ts": tenant("good"),
      "seeds/1-syntax.ts": "export default {\n  description: 'x',,\n}",
      "seeds/2-throws.ts": "interface Gone {\n  a: 1\n}\nthrow new Error('at import')",
      "seeds/3-missing.ts": "\nimport 'not-installed'",
      "seeds/4-name.js": "\n\nimport { Nothing } from 'effect-es-ops'",
      "seeds/5-shape.ts": "export default { description: 1 }",
      "seeds/6-handlers.ts": Projects.seedSource(`yield* SeedContext.systemWriteAs("a:write:b", {})
    yield* SeedContext.systemWriteAll("c:write:d", [])`),
      "seeds/7-twice.ts": tenant("a"),
      "seeds/7-twice.mjs": "export default 1",
      "seeds/8 flag.ts": Projects.seedSource("", "\n  skippable: true,"),
      "seeds/8-flag.ts": Projects.seedSource("", "\n  skippable: true,"),
      "seeds/9.cts": ""
    })
    const text = await run(["seed:check"], { DATABASE_URL: "postgres://nobody@127.0.0.1:1/nowhere" })
    assert.strictEqual(text.code, 4, text.stderr)
    for (const expected of [
      "1-syntax.ts cannot be loaded: line 2: ",
      "2-throws.ts cannot be loaded: line 4: at import",
      "3-missing.ts cannot be loaded: line 2: Cannot find package 'not-installed'",
      "4-name.js cannot be loaded: line 3: The requested module 'effect-es-ops' does not provide an export named 'Nothing'",
      "5-shape.ts is not a seed",
      '6-handlers.ts, line 10: no write handler is named "a:write:b"',
      '6-handlers.ts, line 11: no write handler is named "c:write:d"',
      `7-twice.mjs and ${join(folder, "seeds", "7-twice.ts")} are both the seed "7-twice"`,
      "share the skip flag KUMIKO_SKIP_ES_OPS_8_FLAG"
    ]) {
      assert.include(text.stdout, expected)
    }
    assert.include(text.stderr, "9.cts is not taken for a seed")
    assert.notInclude(text.stdout, "0-good")
    assert.match(text.stdout, /\n10 seeds checked, \d+ problems\.\n$/)
    const json = await run(["seed:check", "--json"])
    assert.strictEqual(json.code, 4)
    const { counts, database: none, seeds } = decodeStatus(json.stdout)
    assert.isNull(none)
    assert.strictEqual(counts.pending, seeds.length)
    const problems = Object.fromEntries(seeds.map(({ id, problem }) => [id, problem?._tag]))
    assert.deepStrictEqual(problems, {
      "0-good": undefined,
      "1-syntax": "SeedImportError",
      "2-throws": "SeedImportError",
      "3-missing": "SeedImportError",
      "4-name": "SeedImportError",
      "5-shape": "InvalidSeed",
      "6-handlers": "UnknownHandler",
      "7-twice": "DuplicateSeedId",
      "8 flag": "AmbiguousSkipFlag",
      "8-flag": undefined
    })
    assert.match(seeds.find(({ id }) => id === "6-handlers")?.problem?.message ?? "", /a:write:b[\s\S]*c:write:d/)
  })

  it("knows the handlers of the config file's features, and of a dispatcher that can be built without a database", async () => {
    const dispatcher = (build: string) => `
      import { Effect, Layer } from "effect"
      import { SqlClient } from "@effect/sql"
      import { EsOps, WriteDispatcher } from "effect-es-ops"
      export default EsOps.config({
        dispatcher: Layer.effect(WriteDispatcher.WriteDispatcher, Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          ${build}
          return { names: ["app:write:known"], write: () => Effect.die("not in a check") }
        }))
      })`
    const seeds = {
      "seeds/1.mjs": Projects.seedSource(`yield* SeedContext.systemWriteAs("app:write:known", {})`),
      "seeds/2.mjs": Projects.seedSource(`yield* SeedContext.systemWriteAs("tenant:write:create", {})`)
    }
    const named = await project({ ...seeds, "es-ops.config.mjs": dispatcher("") })
    const { code, stdout } = await named.run(["seed:check"])
    assert.strictEqual(code, 4)
    assert.match(
      stdout,
      /^problem.*2\.mjs, line 10: no write handler is named "tenant:write:create"; registered are: app:write:known\n2 seeds checked, 1 problem\.\n$/
    )
    const asks = await project({ ...seeds, "es-ops.config.mjs": dispatcher("yield* sql`SELECT 1`") })
    const unnamed = await asks.run(["seed:check"])
    assert.strictEqual(unnamed.code, 0, unnamed.stderr)
    assert.include(unnamed.stderr, "handler names are not checked")
  })
})
