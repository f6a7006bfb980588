/**
 * Each command as a process, with each of its exit codes: it says what the process that the other tests share says.
 */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { admin, bundled, database, project, tenant } from "../../support/Command.js"
import type { Project, Result } from "../../support/Project.js"
import * as Projects from "../../support/Project.js"

type Database = Awaited<ReturnType<typeof database>>

const files = {
  "applied/1.mjs": tenant("one"),
  "seeds/1.mjs": tenant("one"),
  "seeds/2.mjs": tenant("two"),
  "broken/4.ts": "export default {,}",
  "failing/1.mjs": tenant("one"),
  "failing/3.ts": Projects.seedSource(`return yield* Effect.fail(new RangeError("too far"))`),
  "a-file": ""
}

let made: Project
/** With one seed applied and one that is pending; and one whose table of markers is another. */
let served: Database
let mismatched: Database

beforeAll(async () => {
  made = await bundled(files)
  served = await database()
  mismatched = await database()
  await mismatched.query("CREATE TABLE kumiko_es_operations (id integer PRIMARY KEY)")
  const { code, stderr } = await made.run(["seed:apply", "--seeds", "applied"], served.env)
  assert.strictEqual(code, 0, stderr)
})

/** What differs from one run to the next. */
const shown = ({ code, stderr, stdout }: Result) =>
  // On a loaded machine one of the two may have waited long enough to say so.
  JSON.stringify({ code, stderr: stderr.replaceAll(/^"[^"]+" is still being loaded: .*\n/gm, ""), stdout })
    .replaceAll(/process \d+/g, "process <pid>")
    .replaceAll(/ +\d+(\.\d+)? ms\b/g, " <ms>")
    .replaceAll(/\d{4}-\d\d-\d\dT?[\d:. ]*Z?/g, "<instant>")
    .replaceAll(/\?es-ops=[0-9a-f]+/g, "")

const nowhere = { DATABASE_URL: "postgres://u@127.0.0.1:1/d" }

/** Command lines that leave everything as it was, on the database, on the other, on none and on one that is not there. */
const lines: ReadonlyArray<readonly [line: string, code: number, on: "served" | "mismatched" | "none" | "nowhere"]> = [
  ["--help", 0, "none"],
  ["seed:aply", 2, "none"],
  ["seed:new ???", 2, "none"],
  ["seed:new now --seeds a-file", 4, "none"],
  ["seed:check", 0, "none"],
  ["seed:check --sedes x", 2, "none"],
  ["seed:check --seeds broken", 4, "none"],
  ["seed:status", 0, "served"],
  ["seed:status", 2, "none"],
  ["seed:status --check", 3, "served"],
  ["seed:status --check --seeds broken", 4, "served"],
  ["seed:status", 6, "nowhere"],
  ["seed:apply --seeds applied", 0, "served"],
  ["seed:apply --dry-run --seeds failing", 1, "served"],
  ["seed:apply --to 9", 2, "served"],
  ["seed:apply --seeds broken", 4, "served"],
  ["seed:apply", 6, "nowhere"],
  ["seed:mark 1 --reason x", 0, "served"],
  ["seed:mark 9 --reason x", 2, "served"],
  ["seed:mark 2 --reason x", 4, "mismatched"],
  ["seed:mark 2 --reason x", 6, "nowhere"],
  ["seed:unmark 9 --reason x", 2, "served"],
  ["seed:unmark 1 --reason x", 4, "mismatched"],
  ["seed:unmark 1 --reason x", 6, "nowhere"],
  ["history", 0, "served"],
  ["history 9", 2, "served"],
  ["history", 6, "nowhere"],
  ["schema", 0, "none"],
  ["schema x", 2, "none"],
  ["doctor", 0, "served"],
  ["doctor", 2, "none"],
  ["doctor", 4, "mismatched"],
  ["doctor", 6, "nowhere"]
]

describe("a process of es-ops", () => {
  it.each(lines)("%s: exits with %i (database: %s), and says what the shared one says", async (line, expected, on) => {
    const env = { served: served.env, mismatched: mismatched.env, none: {}, nowhere }[on]
    const process = await made.runProcess(line.split(" "), env)
    const shared = await made.run(line.split(" "), env)
    assert.strictEqual(process.code, expected, process.stderr)
    assert.strictEqual(shown(shared), shown(process))
  })

  it.each(["seed:apply --seeds seeds --json", "seed:mark 2 --reason x", "seed:unmark 1 --reason x"])(
    "%s: exits with 5 while another session holds the lock, and says what the shared one says",
    async (line) => {
      await admin(async (holder) => {
        await holder.query("SET application_name = 'a deploy'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
        const words = [...line.split(" "), "--lock-timeout", "0s"]
        const process = await made.runProcess(words, served.env)
        assert.strictEqual(process.code, 5, process.stderr)
        assert.strictEqual(shown(await made.run(words, served.env)), shown(process))
      }, served.url)
    }
  )

  it("seed:apply, seed:unmark and seed:new: exit with 0 when they change something, 1 when a seed fails", async () => {
    const { env, query } = await database()
    // The modules of the build one by one, as a project has them.
    const { folder, runProcess } = await project(files)
    const applied = await runProcess(["seed:apply", "--seeds", "failing"], env)
    assert.strictEqual(applied.code, 1, applied.stderr)
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [{ id: "1" }])
    assert.strictEqual((await runProcess(["seed:unmark", "1", "--reason", "x"], env)).code, 0)
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [])
    const written = await runProcess(["seed:new", "by a process", "--seeds", "written"])
    assert.strictEqual(written.code, 0, written.stderr)
    const [, file = ""] = /created (\S+)/.exec(written.stdout) ?? []
    assert.include(await readFile(join(folder, file), "utf8"), "Seed.make")
  })

  it("--version: says the version of the package", async () => {
    const { code, stdout } = await made.runProcess(["--version"])
    const about: { readonly version: string } = JSON.parse(
      await readFile(join(Projects.repository, "package.json"), "utf8")
    )
    assert.deepStrictEqual([code, stdout], [0, `${about.version}\n`])
  })
})
