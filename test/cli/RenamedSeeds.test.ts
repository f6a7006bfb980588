/**
 * Seeds whose files were renamed: what is said of them, what refuses them, and `seed:rename`, which keeps them from running twice.
 */
import { assert, describe, it } from "@effect/vitest"
import { createHash } from "node:crypto"
import { rename } from "node:fs/promises"
import { join } from "node:path"
import {
  admin,
  database,
  decodeApply,
  decodeChange,
  decodeDoctor,
  decodeError,
  decodeHistory,
  decodeStatus,
  bundled
} from "../support/Command.js"
import * as EmbeddedFolder from "../support/EmbeddedFolder.js"
import * as Projects from "../support/Project.js"

const counting = Projects.seedSource("yield* sql`INSERT INTO counter VALUES (1)`")
const because = ["--reason", "a clearer name"]

/** An applied seed whose file was renamed since. */
const renamed = async (source = counting) => {
  const { env, name, query, url } = await database()
  await query("CREATE TABLE counter (n int)")
  const made = await bundled({ "seeds/1-old.mjs": source })
  assert.strictEqual((await made.run(["seed:apply"], env)).code, 0)
  await rename(join(made.folder, "seeds/1-old.mjs"), join(made.folder, "seeds/2-new.mjs"))
  const count = async () => (await query("SELECT count(*)::int AS n FROM counter"))[0]?.["n"]
  const run = (...line: ReadonlyArray<string>) => made.run(line, env)
  return { ...made, env, name, query, url, count, run, runIn: made.run }
}

const words = /"2-new" has the source of "1-old".*es-ops seed:rename 1-old 2-new --reason <text>/

describe("a seed whose file was renamed", () => {
  it("runs again as a new seed, as in the reference, with a warning that names both ids and seed:rename", async () => {
    const { count, run } = await renamed()
    for (const command of [["seed:status"], ["seed:status", "--json"], ["seed:apply", "--dry-run"], ["seed:apply"]]) {
      const { code, stderr } = await run(...command)
      assert.strictEqual(code, 0, stderr)
      assert.match(stderr, words, command.join(" "))
    }
    assert.strictEqual(await count(), 2)
    const after = await run("seed:status")
    assert.notMatch(after.stderr, words)
  })

  it("is shown by seed:status and found by doctor, in text and JSON", async () => {
    const { run } = await renamed()
    const text = await run("seed:status")
    assert.match(text.stdout, /^pending {5}2-new .*has the source of 1-old/m)
    const { seeds } = decodeStatus((await run("seed:status", "--json")).stdout)
    assert.deepStrictEqual(
      seeds.map(({ id, renamedFrom, state }) => [id, state, renamedFrom]),
      [
        ["1-old", "orphan", undefined],
        ["2-new", "pending", "1-old"]
      ]
    )
    const doctor = await run("doctor", "--json")
    assert.strictEqual(doctor.code, 4)
    const found = decodeDoctor(doctor.stdout).checks.find(({ name }) => name === "renamed")
    assert.match(found?.detail ?? "", words)
    assert.match(found?.fix ?? "", /^es-ops seed:rename 1-old 2-new/)
  })

  it.each([
    ["an option", ["--renamed", "fail"], {}, {}],
    ["a variable", [], { ES_OPS_RENAMED: "fail" }, {}],
    ["the config file", [], {}, { "es-ops.config.mjs": `export default { renamed: "fail" }` }]
  ] as const)(
    "is refused where %s says so, with exit 4 and RenamedSeed, and nothing runs",
    async (_, option, env, files) => {
      const made = await renamed()
      for (const [path, text] of Object.entries(files)) await made.write(path, text)
      const applied = await made.runIn(["seed:apply", "--json", ...option], { ...made.env, ...env })
      assert.strictEqual(applied.code, 4, applied.stderr)
      const { failed } = decodeApply(applied.stdout)
      assert.deepStrictEqual([failed?.id, failed?.error._tag], [null, "SeedsInconsistent"])
      assert.deepStrictEqual(
        failed?.error.problems?.map(({ _tag, id }) => [_tag, id]),
        [["RenamedSeed", "2-new"]]
      )
      assert.match(failed?.error.message ?? "", words)
      const status = await made.runIn(["seed:status", "--check", "--json", ...option], { ...made.env, ...env })
      assert.strictEqual(status.code, 4)
      assert.strictEqual(decodeStatus(status.stdout).seeds[1]?.problem?._tag, "RenamedSeed")
      assert.strictEqual(await made.count(), 1)
    }
  )

  it("is refused no more once --renamed run says so, and a wrong word is named", async () => {
    const made = await renamed()
    const wrong = await made.run("seed:apply", "--renamed", "maybe", "--json")
    assert.strictEqual(wrong.code, 2)
    const variable = await made.runIn(["seed:apply"], { ...made.env, ES_OPS_RENAMED: "maybe" })
    assert.strictEqual(variable.code, 4)
    assert.include(variable.stderr, "ES_OPS_RENAMED")
    const allowed = await made.runIn(["seed:apply", "--renamed", "run"], { ...made.env, ES_OPS_RENAMED: "fail" })
    assert.strictEqual(allowed.code, 0, allowed.stderr)
    assert.strictEqual(await made.count(), 2)
  })

  it("is known by what its code is, and by the hash of its text that an earlier release recorded", async () => {
    const made = await renamed()
    await made.write("seeds/2-new.mjs", `// why it is so\n${counting}`)
    assert.match((await made.run("seed:status")).stderr, words)
    const hash = createHash("sha256").update(counting).digest("hex")
    await made.query(`UPDATE es_ops_attempts SET source_hash = '${hash}'`)
    await made.write("seeds/2-new.mjs", counting)
    assert.match((await made.run("seed:status")).stderr, words)
    await made.write("seeds/2-new.mjs", counting.replace("(1)", "(2)"))
    assert.notMatch((await made.run("seed:status")).stderr, words)
  })

  it("is not called so while the old file is there, or while its flag skips it", async () => {
    const skippable = counting.replace("run:", "skippable: true,\n  run:")
    const made = await renamed(skippable)
    const skipped = await made.runIn(["seed:apply", "--renamed", "fail"], {
      ...made.env,
      KUMIKO_SKIP_ES_OPS_2_NEW: "1"
    })
    assert.strictEqual(skipped.code, 0, skipped.stderr)
    assert.notMatch(skipped.stderr, words)
    await made.write("seeds/1-old.mjs", skippable)
    assert.notMatch((await made.run("seed:status")).stderr, words)
  })
})

describe("seed:rename", () => {
  it("gives the marker its new id and runs nothing; the history of both tells, and the rest of the marker stays", async () => {
    const { count, query, run } = await renamed()
    const [before] = await query("SELECT applied_at::text, duration_ms, applied_by, notes FROM kumiko_es_operations")
    const done = await run("seed:rename", "1-old", "2-new", ...because, "--json")
    assert.strictEqual(done.code, 0, done.stderr)
    assert.deepStrictEqual(decodeChange(done.stdout), { id: "2-new", changed: true })
    assert.deepStrictEqual(
      await query("SELECT id, applied_at::text, duration_ms, applied_by, notes FROM kumiko_es_operations"),
      [{ id: "2-new", ...before }]
    )
    const history = decodeHistory((await run("history", "--json")).stdout)
    assert.deepStrictEqual(
      history.map(({ appliedBy, id, outcome, reason }) => [id, outcome, appliedBy, reason]),
      [
        ["2-new", "marked", "cli", 'renamed from "1-old": a clearer name'],
        ["1-old", "unmarked", "cli", 'renamed to "2-new": a clearer name'],
        ["1-old", "applied", "cli", null]
      ]
    )
    const applied = await run("seed:apply")
    assert.include(applied.stdout, "Nothing to do.")
    assert.strictEqual(await count(), 1)
    const { counts, seeds } = decodeStatus((await run("seed:status", "--check", "--json")).stdout)
    assert.deepStrictEqual([seeds.length, counts.applied, counts.changed], [1, 1, 0])
    const again = await run("seed:rename", "1-old", "2-new", ...because)
    assert.strictEqual(again.code, 2)
    assert.include(again.stderr, '"1-old" is not applied')
  })

  it("says in text what it did", async () => {
    const { run } = await renamed()
    const { stdout } = await run("seed:rename", "1-old", "2-new", ...because)
    assert.match(stdout, /1-old.*without running it: 2-new\n$/)
  })

  it("keeps what was applied as what the file is compared with", async () => {
    const made = await renamed()
    await made.write("seeds/2-new.mjs", counting.replace("(1)", "(2)"))
    assert.strictEqual((await made.run("seed:rename", "1-old", "2-new", ...because)).code, 0)
    assert.isTrue(decodeStatus((await made.run("seed:status", "--json")).stdout).seeds[0]?.changed)
  })

  it("takes a marker of the reference, of which no attempt is known", async () => {
    const { query, run } = await renamed()
    await query("DELETE FROM es_ops_attempts")
    assert.strictEqual((await run("seed:rename", "1-old", "2-new", ...because)).code, 0)
    const { seeds } = decodeStatus((await run("seed:status", "--json")).stdout)
    assert.deepStrictEqual([seeds[0]?.state, seeds[0]?.changed], ["applied", false])
  })

  it("is refused with exit 2 for ids that do not fit, and changes nothing", async () => {
    const made = await renamed()
    await made.write("seeds/3-other.mjs", counting)
    await made.run("seed:mark", "3-other", "--reason", "x")
    const state = () => made.query("SELECT id FROM kumiko_es_operations ORDER BY 1")
    const before = await state()
    const refused: ReadonlyArray<readonly [string, string, string]> = [
      ["nope", "2-new", '"nope" is not applied'],
      ["1-old", "nope", "there are: 2-new, 3-other"],
      ["1-old", "1-old", "that is its name"],
      ["1-old", "3-other", "both are applied"],
      ["3-other", "2-new", "3-other.mjs is there"],
      ["1-old", "", 'no seed has the id ""'],
      ["", "2-new", '"" is not applied']
    ]
    for (const [from, to, why] of refused) {
      const { code, stderr, stdout } = await made.run("seed:rename", from, to, ...because, "--json")
      assert.deepStrictEqual([code, decodeError(stdout).error._tag], [2, "UsageError"], why)
      assert.include(stderr, why)
      assert.deepStrictEqual(await state(), before)
    }
    const silent = await made.run("seed:rename", "1-old", "2-new", "--reason", " ")
    assert.strictEqual(silent.code, 2)
    assert.strictEqual((await made.run("seed:rename", "1-old")).code, 2)
    await made.query("INSERT INTO kumiko_es_operations VALUES ('2-new', 'projection-rebuild', now(), 0, 'cli', null)")
    const taken = await made.run("seed:rename", "1-old", "2-new", ...because, "--json")
    assert.deepStrictEqual([taken.code, decodeError(taken.stdout).error._tag], [4, "SeedsInconsistent"])
    assert.include(taken.stderr, "is taken by an operation")
  })

  it("waits for the lock, and ends with exit 5 naming its holder", async () => {
    const { run, url } = await renamed()
    await admin(async (holder) => {
      await holder.query("SET application_name = 'a deploy'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const late = await run("seed:rename", "1-old", "2-new", ...because, "--lock-timeout", "0s", "--json")
      assert.strictEqual(late.code, 5, late.stderr)
      assert.include(late.stderr, "(a deploy)")
    }, url)
    assert.strictEqual((await run("seed:rename", "1-old", "2-new", ...because)).code, 0)
  })

  it("keeps the old marker where the table does not take the new one", async () => {
    const { query, run } = await renamed()
    await query(`CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
      CREATE TRIGGER swallow BEFORE INSERT ON kumiko_es_operations FOR EACH ROW EXECUTE FUNCTION swallow()`)
    const { code, stderr } = await run("seed:rename", "1-old", "2-new", ...because)
    assert.strictEqual(code, 6, stderr)
    assert.include(stderr, "kumiko_es_operations")
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [{ id: "1-old" }])
    assert.deepStrictEqual(await query("SELECT outcome FROM es_ops_attempts"), [{ outcome: "applied" }])
  })

  it("works on an embedded database", async () => {
    const made = await bundled({ "seeds/1-old.mjs": Projects.seedSource("yield* Effect.void") })
    const run = (...line: ReadonlyArray<string>) => made.run([...line, "--embedded"])
    await EmbeddedFolder.prepare(made)
    assert.strictEqual((await run("seed:apply")).code, 0)
    await rename(join(made.folder, "seeds/1-old.mjs"), join(made.folder, "seeds/2-new.mjs"))
    assert.match((await run("seed:status")).stderr, words)
    const done = await run("seed:rename", "1-old", "2-new", ...because)
    assert.strictEqual(done.code, 0, done.stderr)
    assert.include((await run("seed:apply")).stdout, "Nothing to do.")
  })
})
