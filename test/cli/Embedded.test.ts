/**
 * The embedded database, as a stranger meets it: the repository's own seeds, twice, and two processes on one folder.
 */
import { assert, afterAll, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { SeedDocument } from "effect-es-ops"
import { readdir, readFile, rename, stat, writeFile } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { inject } from "vitest"
import * as EmbeddedFolder from "../support/EmbeddedFolder.js"
import type { Project } from "../support/Project.js"
import * as Projects from "../support/Project.js"

const projects: Array<Project> = []
afterAll(async () => {
  for (const made of projects) await made.remove()
})

const decodeApply = Schema.decodeUnknownSync(Schema.parseJson(SeedDocument.ApplyDocument))
const sampleSeeds = join(Projects.repository, "seeds")

describe("--embedded", () => {
  it("applies the sample seeds once, in a folder that is its owner's alone; killed and wrong owners are told apart", async () => {
    const made = await Projects.make({})
    projects.push(made)
    const first = await made.run(["seed:apply", "--embedded", "--seeds", sampleSeeds])
    assert.strictEqual(first.code, 0, first.stderr)
    assert.include(first.stdout, "2 applied, 0 not attempted.")
    assert.include(first.stderr, `database: embedded:${join(made.folder, ".es-ops")} (for development only: no fsync)`)
    const folder = join(made.folder, ".es-ops")
    assert.strictEqual((await stat(folder)).mode & 0o777, 0o700)
    assert.strictEqual(await readFile(join(folder, ".gitignore"), "utf8"), "*\n")
    assert.deepStrictEqual((await readdir(folder)).toSorted(), [".gitignore", "data"])
    const second = await made.run(["seed:apply", "--embedded", "--seeds", sampleSeeds], {
      DATABASE_URL: "postgres://u@h/d"
    })
    assert.deepStrictEqual([second.code, second.stdout], [0, "Nothing to do.\n"])
    assert.include(second.stderr, "DATABASE_URL is set, but ignored")

    // A seed that does not end keeps the folder.
    await made.write("seeds/9.ts", Projects.seedSource(`yield* Effect.log("inside")\n    yield* Effect.never`))
    const busy = made.start(["seed:apply", "--embedded"])
    await busy.says("inside")
    const refused = await made.run(["seed:apply", "--embedded", "--lock-timeout", "0s", "--json"])
    assert.strictEqual(refused.code, 6)
    assert.strictEqual(decodeApply(refused.stdout).failed?.error._tag, "EmbeddedInUse")
    assert.include(refused.stderr, `process ${busy.process.pid} on ${hostname()}`)
    busy.process.kill("SIGKILL")
    await busy.result
    // What the dead process left behind is taken over.
    const status = await made.run(["seed:status", "--embedded", "--lock-timeout", "0s"])
    assert.strictEqual(status.code, 0, status.stderr)
    assert.include(status.stdout, "pending     9")

    // A process of another host cannot be looked at: its claim stays, and the message says how to remove it.
    const foreign = { host: "elsewhere", bootId: "x", pid: 1, startTime: "1" }
    await writeFile(join(folder, "lock-foreign.json"), JSON.stringify(foreign))
    const elsewhere = await made.run(["seed:status", "--embedded", "--lock-timeout", "0s"])
    assert.strictEqual(elsewhere.code, 6)
    assert.include(elsewhere.stderr, `rm '${join(folder, "lock-foreign.json")}'`)
    // One of this host's earlier start is gone for certain.
    await writeFile(join(folder, "lock-foreign.json"), JSON.stringify({ ...foreign, host: hostname() }))
    assert.strictEqual((await made.run(["seed:status", "--embedded", "--lock-timeout", "0s"])).code, 0)
  })

  it("has every effect once after twenty kills in the middle of a seed", async () => {
    const count =
      Projects.seedSource(`const [row] = yield* SeedContext.query("SELECT count(*)::int AS events, (SELECT count(*)::int FROM read_tenants) AS rows FROM kumiko_events")
    yield* Effect.log("counted " + row.events + " " + row.rows)`)
    // Its body is over when the process is killed, or half-way, or not begun: the instants go through all of it.
    const many = Projects.seedSource(`yield* Effect.log("inside")
    for (let n = 0; n < 20; n++) {
      yield* SeedContext.systemWriteAs("tenant:write:create", { key: "k" + n, name: "n" })
      yield* Effect.sleep("1 millis")
    }
    if (process.env.STAY === "1") yield* Effect.never`)
    const made = await Projects.make({ "seeds/1.mjs": many }, "project", inject("bundle"))
    projects.push(made)
    await EmbeddedFolder.prepare(made)
    for (let kill = 0; kill < 20; kill++) {
      const running = made.start(["seed:apply", "--embedded"], { STAY: "1" })
      await running.says("inside")
      await new Promise((resolve) => setTimeout(resolve, kill * 5))
      running.process.kill("SIGKILL")
      await running.result
    }
    const applied = await made.run(["seed:apply", "--embedded"])
    assert.strictEqual(applied.code, 0, applied.stderr)
    await made.write("seeds/2.mjs", count)
    const { stderr } = await made.run(["seed:apply", "--embedded"])
    assert.include(stderr, "counted 20 20")
  })

  it("leaves a folder alone that has anything else in it", async () => {
    const made = await Projects.make({ ".gitignore": "node_modules\n" })
    projects.push(made)
    const before = (await stat(made.folder)).mode
    const refused = await made.run(["seed:status", "--embedded-dir", ".", "--json"])
    assert.strictEqual(refused.code, 6)
    assert.include(refused.stderr, "the folder has other files in it")
    assert.strictEqual(await readFile(join(made.folder, ".gitignore"), "utf8"), "node_modules\n")
    assert.strictEqual((await stat(made.folder)).mode, before)
    assert.notInclude(await readdir(made.folder), "data")
  })

  it("lets one of two processes in that come at the same moment, and takes a stale lock over once", async () => {
    const made = await Projects.make({})
    projects.push(made)
    await EmbeddedFolder.prepare(made)
    const stale = { host: hostname(), bootId: "an earlier start", pid: 1, startTime: "1" }
    for (let round = 0; round < 3; round++) {
      await writeFile(join(made.folder, ".es-ops", "lock-stale.json"), JSON.stringify(stale))
      const both = [1, 2].map(() => made.runProcess(["seed:status", "--embedded", "--lock-timeout", "0s"]))
      const codes = (await Promise.all(both)).map(({ code }) => code).toSorted()
      // They may also come one after the other, but never both be turned back, and never both be in.
      assert.include(["0,0", "0,6"], codes.join())
      assert.deepStrictEqual((await readdir(join(made.folder, ".es-ops"))).toSorted(), [".gitignore", "data"])
    }
  })

  it("does not wait longer than it was told for a process that is stopped while it claims the folder", async () => {
    const seed = Projects.seedSource(`yield* Effect.log("inside")\n    yield* Effect.never`)
    const made = await Projects.make({ "seeds/1.ts": seed }, "project", inject("bundle"))
    projects.push(made)
    await EmbeddedFolder.prepare(made)
    const living = made.start(["seed:apply", "--embedded"])
    await living.says("inside")
    const folder = join(made.folder, ".es-ops")
    const [lock = ""] = (await readdir(folder)).filter((file) => file.startsWith("lock-"))
    await rename(join(folder, lock), join(folder, "claim-zzzz.json"))
    const { code, stderr } = await made.run(["seed:status", "--embedded", "--lock-timeout", "100ms"])
    living.process.kill("SIGKILL")
    await living.result
    assert.strictEqual(code, 6, stderr)
    assert.include(stderr, `process ${living.process.pid}`)
  })
})
