/**
 * What the command refuses, or does nothing for: databases, roles, folders, seeds and words that it cannot use.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { inject } from "vitest"
import { database, decodeApply, decodeError, decodeStatus, project, tenant } from "../support/Command.js"
import type { Project } from "../support/Project.js"
import * as Projects from "../support/Project.js"
import * as Database from "../support/TestDatabase.js"

describe("wrong input", () => {
  let shared: Project
  beforeAll(async () => {
    shared = await project({ "seeds/1.mjs": tenant("one"), "a-file": "" })
  })

  /** Runs with and without --json, and gives the text of both after checking that they agree. */
  const refused = async (
    made: Project,
    args: ReadonlyArray<string>,
    env: Readonly<Record<string, string>>,
    code: number
  ) => {
    const text = await made.run(["seed:apply", ...args], env)
    const json = await made.run(["seed:apply", ...args, "--json"], env)
    assert.notInclude(text.stdout, "Nothing to do")
    assert.deepStrictEqual([text.code, json.code], [code, code], `${text.stderr}\n${json.stderr}`)
    const { failed } = decodeApply(json.stdout)
    assert.isNotNull(failed)
    if (failed === null) throw new Error("unreachable")
    assert.include(text.stderr, failed.error.message)
    assert.notInclude(text.stderr + text.stdout + json.stderr + json.stdout, inject("postgres").password)
    return failed
  }

  it("no database named: exit 2, naming the variable and --embedded", async () => {
    for (const env of [{}, { DATABASE_URL: "" }]) {
      const { error } = await refused(shared, [], env, 2)
      assert.strictEqual(error._tag, "UsageError")
      assert.include(error.message, "DATABASE_URL")
      assert.include(error.message, "--embedded")
    }
  })

  it("two databases named: exit 2", async () => {
    const url = "postgres://u@127.0.0.1:1/d"
    await refused(shared, ["--embedded", "--database-url", url], {}, 2)
    const { error } = await refused(shared, [], { DATABASE_URL: url, ES_OPS_EMBEDDED: "x" }, 2)
    assert.include(error.message, "two databases")
  })

  it("a DATABASE_URL that is none: exit 4, before anything is connected to", async () => {
    // In the last three the password begins before an @ that ends it for a URL.
    const split = ["/", "#", "?"].map((character) => `postgres://u:pass@word${character}secret@127.0.0.1:5432/d`)
    for (const url of ["not a url", "mysql://u:secret@h/d", "http://h", "postgres", ...split]) {
      const { error } = await refused(shared, [], { DATABASE_URL: url }, 4)
      assert.strictEqual(error._tag, "SettingError")
      assert.include(error.message, "DATABASE_URL")
      assert.notInclude(error.message, "secret")
    }
    assert.strictEqual((await refused(shared, ["--database-url", "nope"], {}, 2)).error._tag, "UsageError")
  })

  it("a server that refuses, a wrong password, a database that is not there: exit 6, and the password is never shown", async () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["postgres://u:hunter2@127.0.0.1:1/d", "ECONNREFUSED"],
      [Database.url("postgres", "postgres", "hunter2"), "28P01"],
      [Database.url("nowhere_at_all"), "3D000"]
    ]
    for (const [url, code] of cases) {
      const { error } = await refused(shared, [], { DATABASE_URL: url }, 6)
      assert.strictEqual(error._tag, "DatabaseError")
      assert.include(error.message, code)
      assert.notInclude(error.message, "hunter2")
    }
  })

  it("a role that may not create tables: exit 6, naming the table and the next step; nothing is left", async () => {
    const { name, query } = await database()
    await query(`DROP ROLE IF EXISTS reader_${name}; CREATE ROLE reader_${name} LOGIN PASSWORD 'pw'`)
    const env = { DATABASE_URL: Database.url(name, `reader_${name}`, "pw") }
    const failed = await refused(shared, [], env, 6)
    assert.strictEqual(failed.id, "1")
    assert.include(failed.error.message, '"kumiko_es_operations"')
    assert.include(failed.error.message, "42501")
    assert.include(failed.error.message, "let an administrator create the tables")
    const status = await shared.run(["seed:status"], env)
    assert.strictEqual(status.code, 0, status.stderr)
    assert.deepStrictEqual(
      await query("SELECT relname FROM pg_class WHERE relname LIKE 'kumiko%' OR relname LIKE 'es_ops%'"),
      []
    )
    await query(`DROP ROLE reader_${name}`)
  })

  it("a role that may only read: exit 6 also of a dry run, naming the seed; it is not told to mend that", async () => {
    const { env, name, query } = await database()
    await shared.run(["seed:apply"], env)
    const role = `onlooker_${name}`
    await query(`CREATE ROLE ${role} LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`)
    const two = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    for (const args of [[], ["--dry-run"]]) {
      const failed = await refused(two, args, { DATABASE_URL: Database.url(name, role, "pw") }, 6)
      assert.strictEqual(failed.id, "2")
      assert.include(failed.error.message, "42501")
    }
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("a role that may write but owns nothing, and only the attempts are missing: a warning, and no history", async () => {
    const { env, name, query } = await database()
    await shared.run(["seed:apply"], env)
    const role = `writer_${name}`
    await query(`DROP TABLE es_ops_attempts; CREATE ROLE ${role} LOGIN PASSWORD 'pw';
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
    const two = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    const { code, stderr } = await two.run(["seed:apply"], { DATABASE_URL: Database.url(name, role, "pw") })
    assert.strictEqual(code, 0, stderr)
    assert.include(stderr, '"es_ops_attempts" is missing and this role may not create it')
    await query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })

  it("a seeds folder that is a file, or is not there: exit 4", async () => {
    const { env } = await database()
    const { error, id } = await refused(shared, ["--seeds", "a-file"], env, 4)
    assert.isNull(id)
    assert.deepStrictEqual(
      error.problems?.map(({ _tag }) => _tag),
      ["SeedSourceError"]
    )
    assert.include(error.message, "a-file cannot be read: it is not a folder")
    const status = await shared.run(["seed:status", "--seeds", "a-file", "--json"], env)
    assert.strictEqual(status.code, 4)
    assert.strictEqual(decodeError(status.stdout).error._tag, "SeedsInconsistent")
    for (const command of ["seed:apply", "seed:check", "seed:status"]) {
      const missing = await shared.run([command, "--seeds", "typo"], env)
      assert.strictEqual(missing.code, 4, command)
      assert.match(missing.stderr, /the seeds folder .*typo does not exist: create it, or name another/)
      const variable = await shared.run([command], { ...env, ES_OPS_SEEDS: "typo" })
      assert.strictEqual(variable.code, 4, command)
    }
    const doctor = await shared.run(["doctor", "--seeds", "typo"], env)
    assert.strictEqual(doctor.code, 4)
    assert.include(doctor.stdout, "typo does not exist")
  })

  it("a default folder that is not there is nobody's mistake: a notice, and nothing to do", async () => {
    const { env } = await database()
    const empty = await project()
    for (const command of ["seed:apply", "seed:check", "seed:status"]) {
      const { code, stderr } = await empty.run([command], env)
      assert.strictEqual(code, 0, command)
      assert.match(stderr, /warn: the seeds folder .*seeds does not exist, so there are no seeds/)
    }
    assert.strictEqual((await empty.run(["seed:new", "first", "--seeds", "later"], env)).code, 0)
  })

  it("many wrong seeds among good ones: exit 4, every problem listed with its file, nothing applied", async () => {
    const { env, query } = await database()
    const wrong = await project({
      "seeds/00-good.ts": tenant("good"),
      "seeds/01-syntax.ts": "export default {\n  description: 'x',,\n}",
      "seeds/02-throws.ts": "throw new Error('at import')",
      "seeds/03-none.ts": "export const seed = 1",
      "seeds/04-shape.ts": "export default { description: 'x' }",
      "seeds/05-handler.ts": Projects.seedSource(`
        // SeedContext.systemWriteAs("in:a:comment", {})
        yield* SeedContext.systemWriteAs("tenant:write:creat", {})`),
      "seeds/06-twice.ts": tenant("a"),
      "seeds/06-twice.js": "export default 1",
      "seeds/07 flag.ts": Projects.seedSource("", "\n  skippable: true,"),
      "seeds/07-flag.mjs": Projects.seedSource("", "\n  skippable: true,"),
      "seeds/08-missing.ts": "import 'not-installed'\nexport default 1"
    })
    const { error, id } = await refused(wrong, [], env, 4)
    assert.isNull(id)
    assert.strictEqual(error._tag, "SeedsInconsistent")
    const found = error.problems?.map(({ _tag, id: seed }) => `${seed} ${_tag}`) ?? []
    for (const expected of [
      "01-syntax SeedImportError",
      "02-throws SeedImportError",
      "03-none InvalidSeed",
      "04-shape InvalidSeed",
      "05-handler UnknownHandler",
      "06-twice DuplicateSeedId",
      "07 flag AmbiguousSkipFlag",
      "08-missing SeedImportError"
    ]) {
      assert.include(found, expected)
    }
    assert.notInclude(found.join(), "00-good")
    const message = (seed: string) => error.problems?.find((problem) => problem.id === seed)?.message ?? ""
    assert.match(message("01-syntax"), /seeds\/01-syntax\.ts cannot be loaded: line 2: /)
    assert.match(message("02-throws"), /02-throws\.ts cannot be loaded: line 1: at import/)
    assert.match(message("03-none"), /no default export/)
    assert.match(message("05-handler"), /05-handler\.ts, line \d+: no write handler is named "tenant:write:creat"/)
    assert.match(message("06-twice"), /06-twice\.js and .*06-twice\.ts are both/)
    assert.match(message("07 flag"), /share the skip flag KUMIKO_SKIP_ES_OPS_07_FLAG/)
    assert.notInclude(error.message, "in:a:comment")
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname LIKE 'kumiko%'"), [])
    const status = await wrong.run(["seed:status", "--check", "--json"], env)
    assert.strictEqual(status.code, 4)
    assert.strictEqual(
      decodeStatus(status.stdout).seeds.find((seed) => seed.id === "01-syntax")?.problem?._tag,
      "SeedImportError"
    )
  })

  it("an id that is taken by another kind of operation: exit 4", async () => {
    const { env, query } = await database()
    await shared.run(["seed:apply"], env)
    await query("INSERT INTO kumiko_es_operations VALUES ('2', 'projection-rebuild', now(), 0, 'cli', null)")
    const made = await project({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": tenant("two") })
    const { error } = await refused(made, [], env, 4)
    assert.deepStrictEqual(
      error.problems?.map(({ _tag, id }) => [_tag, id]),
      [["IdTaken", "2"]]
    )
    assert.include(error.message, "projection-rebuild")
  })

  it("no words at all, or --help: the commands, without colour in a pipe", async () => {
    for (const args of [[], ["--help"], ["seed:apply", "--help"]]) {
      const { code, stderr, stdout } = await shared.run(args)
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.include(stdout, "seed:apply")
      assert.notInclude(stdout, "\u001B")
    }
  })

  it("words that are no command, option or value: exit 2, and with --json a document", async () => {
    for (const args of [
      ["seed:aply"],
      ["seed:status", "--nope"],
      ["seed:status", "--late", "never"],
      ["seed:status", "--lock-timeout", "soon"],
      ["seed:status", "--lock-timeout", "-5 seconds"],
      ["seed:status", "--embedded-dir", ""],
      ["seed:status", "--seeds", ""],
      ["seed:aply", "--help"],
      ["seed:status", "--wizard"],
      ["seed:mark", "1", "--reason"],
      ["seed:status", "--seeds"],
      ["--completions", "powershell"]
    ]) {
      const { code, stderr, stdout } = await shared.run([...args, "--json"], {
        DATABASE_URL: "postgres://u@127.0.0.1:1/d"
      })
      assert.strictEqual(code, 2, `${args.join(" ")}: ${stderr}`)
      assert.strictEqual(decodeError(stdout).error._tag, "UsageError")
      assert.include(stderr, "error: ")
      assert.notInclude(stderr, "\u001B")
    }
    const unknown = await database()
    const { error } = await refused(shared, ["--to", "9"], unknown.env, 2)
    assert.include(error.message, 'no seed has the id "9"')
    const late = await refused(shared, [], { ...unknown.env, ES_OPS_LATE: "never" }, 4)
    assert.include(late.error.message, "ES_OPS_LATE")
  })

  it("a seed that is skipped, and all seeds skipped, are no failure", async () => {
    const { env } = await database()
    const made = await project({ "seeds/1.mjs": Projects.seedSource("yield* Effect.void", "\n  skippable: true,") })
    const skipped = await made.run(["seed:apply", "--json"], { ...env, KUMIKO_SKIP_ES_OPS_1: "1" })
    assert.deepStrictEqual(
      [skipped.code, decodeApply(skipped.stdout).skipped],
      [0, [{ id: "1", flag: "KUMIKO_SKIP_ES_OPS_1" }]]
    )
    const all = await made.run(["seed:apply", "--json"], { ...env, KUMIKO_SKIP_ES_OPS: "1" })
    assert.deepStrictEqual([all.code, decodeApply(all.stdout).skippedAll], [0, "KUMIKO_SKIP_ES_OPS"])
    const status = await made.run(["seed:status"], { ...env, KUMIKO_SKIP_ES_OPS: "1" })
    assert.strictEqual(status.code, 0)
    assert.include(status.stderr, "KUMIKO_SKIP_ES_OPS=1 is set: no seed is applied while it is")
  })
})
