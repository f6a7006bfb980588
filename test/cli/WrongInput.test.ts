/**
 * What people see of wrong input: exit code and both streams, kept as files that a reviewer reads.
 */
import { beforeAll, describe, expect, it } from "@effect/vitest"
import { hostname } from "node:os"
import { admin, database, project, tenant } from "../support/Command.js"
import type { Project, Result } from "../support/Project.js"
import * as Projects from "../support/Project.js"

let shared: Project
let env: Readonly<Record<string, string>>
let replaced: ReadonlyArray<readonly [RegExp | string, string]>

beforeAll(async () => {
  shared = await project({
    "seeds/1-one.ts": tenant("one"),
    "broken/1-good.ts": tenant("good"),
    "broken/2-syntax.ts": "export default {\n  description: 'x',,\n}",
    "broken/3-handler.ts": Projects.seedSource(`yield* SeedContext.systemWriteAs("tenant:write:creat", {})`),
    "broken/4-shape.ts": "export default { description: 'x' }",
    "failing/0-first.ts": tenant("first"),
    "failing/1-fails.ts": Projects.seedSource(`return yield* Effect.fail(new RangeError("too far"))`),
    "failing/2-rejected.ts": Projects.seedSource(
      `yield* SeedContext.systemWriteAs("tenant:write:create", { key: "" })`
    ),
    "failing/3-last.ts": tenant("last"),
    "rejected/2-rejected.ts": Projects.seedSource(
      `yield* SeedContext.systemWriteAs("tenant:write:create", { key: "" })`
    ),
    "a-file": "",
    "moves.csv": "aggregateId,from,to\n",
    "bad.config.js": "export default { sedes: 'x' }"
  })
  const made = await database()
  env = made.env
  replaced = [
    [shared.folder, "<project>"],
    [/\bcli_[0-9a-f]{32}\b/g, "<database>"],
    [/@127\.0\.0\.1:\d{2,}/g, "@<host>"],
    [/127\.0\.0\.1:1\b/g, "<nowhere>"],
    [new RegExp(`\\b${hostname()}\\b`, "g"), "<this host>"],
    [/process \d+/g, "process <pid>"],
    [/ +\d+ ms\b/g, " <ms>"],
    [/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<instant>"],
    [/\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ/g, "<instant>"],
    // Said where ten seconds went by.
    [/^"[^"]+" is still being loaded: .*\n/gm, ""]
  ]
})

const shown = (words: ReadonlyArray<string>, { code, stderr, stdout }: Result): string => {
  const text = `$ es-ops ${words.join(" ")}\nexit ${code}\n--- stdout\n${stdout}--- stderr\n${stderr}`
  return replaced.reduce((rest, [from, to]) => rest.replaceAll(from, to), text)
}

interface Wrong {
  readonly name: string
  readonly words: ReadonlyArray<string>
  /** Instead of the environment that names the test database. */
  readonly environment?: Readonly<Record<string, string>>
  /** Commands that were run before, on a database of its own. */
  readonly after?: ReadonlyArray<ReadonlyArray<string>>
}

const wrongs: ReadonlyArray<Wrong> = [
  { name: "no-database", words: ["seed:apply"], environment: {} },
  { name: "not-a-url", words: ["seed:status"], environment: { DATABASE_URL: "not a url" } },
  { name: "other-protocol", words: ["seed:status", "--database-url", "mysql://u:secret@h/d"] },
  {
    name: "two-databases",
    words: ["seed:status"],
    environment: { DATABASE_URL: "postgres://u@h/d", ES_OPS_EMBEDDED: "x" }
  },
  { name: "no-server", words: ["seed:apply"], environment: { DATABASE_URL: "postgres://u:secret@127.0.0.1:1/d" } },
  { name: "unknown-command", words: ["seed:aply"] },
  { name: "unknown-option", words: ["seed:apply", "--dry"] },
  { name: "option-without-value", words: ["seed:apply", "--to"] },
  { name: "not-one-of", words: ["seed:apply", "--late", "maybe"] },
  { name: "not-a-duration", words: ["seed:apply", "--lock-timeout", "soon"] },
  { name: "variable-not-one-of", words: ["seed:apply"], environment: { ES_OPS_LATE: "maybe" } },
  { name: "unknown-seed", words: ["seed:apply", "--to", "9"] },
  { name: "mark-without-reason", words: ["seed:mark", "1-one"] },
  { name: "mark-unknown", words: ["seed:mark", "nope", "--reason", "x"] },
  { name: "unmark-not-applied", words: ["seed:unmark", "1-one", "--reason", "x"] },
  { name: "history-unknown", words: ["history", "nope"] },
  { name: "snapshot-unknown", words: ["snapshot:verify", "order"] },
  { name: "replay-without-bounds", words: ["event:replay", "mail"] },
  { name: "replay-since-no-date", words: ["event:replay", "mail", "--since", "yesterday"] },
  { name: "replay-from-no-id", words: ["event:replay", "mail", "--from-id", "first"] },
  { name: "archive-by-plan-of-moves", words: ["stream:archive", "--plan", "moves.csv"] },
  { name: "backfill-unknown", words: ["event:backfill", "orders", "--dry-run"] },
  { name: "rebuild-of-nothing", words: ["projection:rebuild"] },
  { name: "rebuild-unknown", words: ["projection:rebuild", "odrers"] },
  { name: "rebuild-deletes-unasked", words: ["projection:rebuild", "--outdated", "--ghosts", "delete"] },
  {
    name: "rebuild-expects-less-than-none",
    words: ["projection:rebuild", "--outdated", "--ghosts", "delete", "--yes", "--expect", "-1"]
  },
  {
    name: "purge-expects-less-than-none",
    words: ["stream:purge", "--archived-before", "90d", "--type", "order", "--yes", "--expect", "-1"]
  },
  { name: "purge-of-no-type", words: ["stream:purge", "--archived-before", "90d"] },
  { name: "purge-of-no-age", words: ["stream:purge", "--archived-before", "old", "--type", "order"] },
  { name: "purge-unasked", words: ["stream:purge", "--archived-before", "90d", "--type", "order"] },
  {
    name: "purge-refused",
    words: [
      "stream:purge",
      "--archived-before",
      "90d",
      "--type",
      "order",
      "--yes",
      "--expect",
      "2",
      "--export",
      "a-file"
    ],
    after: [["seed:apply"]]
  },
  { name: "runs-cancel-unknown", words: ["runs:cancel", "nope"] },
  { name: "new-of-nothing", words: ["seed:new", "!!!"] },
  { name: "folder-is-a-file", words: ["seed:check", "--seeds", "a-file"] },
  { name: "folder-is-missing", words: ["seed:check", "--seeds", "sedes"] },
  { name: "config-is-missing", words: ["doctor", "--config", "nowhere.ts"] },
  { name: "config-key-unknown", words: ["seed:apply", "--config", "bad.config.js"] },
  { name: "seeds-are-broken", words: ["seed:apply", "--seeds", "broken"] },
  { name: "check-finds-problems", words: ["seed:check", "--seeds", "broken"] },
  { name: "status-finds-problems", words: ["seed:status", "--check", "--seeds", "broken"] },
  { name: "dry-run-fails", words: ["seed:apply", "--dry-run", "--seeds", "rejected"] },
  { name: "seed-fails", words: ["seed:apply", "--seeds", "failing"], after: [] },
  {
    name: "status-after-failure",
    words: ["seed:status", "--check", "--seeds", "failing"],
    after: [["seed:apply", "--seeds", "failing"]]
  }
]

describe("wrong input shows what happened, where, and what to do next", () => {
  it.each(wrongs)("$name", async ({ after, environment, name, words }) => {
    const its = after === undefined ? env : (await database()).env
    for (const before of after ?? []) await shared.run(before, its)
    const result = await shared.run(words, environment ?? its)
    await expect(shown(words, result)).toMatchFileSnapshot(`golden/${name}.txt`)
  })

  it("lock-held", async () => {
    const url = env["DATABASE_URL"] ?? ""
    await admin(async (holder) => {
      await holder.query("SET application_name = 'slow deploy'; BEGIN; SELECT pg_advisory_xact_lock(1702063984)")
      const words = ["seed:apply", "--lock-timeout", "0s", "--seeds", "rejected"]
      await expect(shown(words, await shared.run(words, env))).toMatchFileSnapshot("golden/lock-held.txt")
    }, url)
  })
})

describe("help", () => {
  it.each([
    "",
    "seed:new",
    "seed:check",
    "seed:status",
    "seed:apply",
    "seed:mark",
    "seed:unmark",
    "seed:rename",
    "snapshot:verify",
    "snapshot:rebuild",
    "stream:purge",
    "event:replay",
    "event:backfill",
    "projection:status",
    "projection:rebuild",
    "projection:diff",
    "runs",
    "runs:cancel",
    "history",
    "schema",
    "doctor"
  ])("of es-ops %s has an example, and says what every option is", async (command) => {
    const words = [command, "--help"].filter((word) => word !== "")
    const result = await shared.run(words, {})
    expect(result.code).toBe(0)
    if (command !== "") expect(result.stdout).toContain(`For example: es-ops ${command}`)
    const name = command === "" ? "all" : command.replace(":", "-")
    await expect(shown(words, result)).toMatchFileSnapshot(`golden/help-${name}.txt`)
  })
})
