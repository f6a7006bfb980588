/**
 * The examples as a reader has them who copied one: each compiles and runs, on the versions that the package asks for.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { env as environment, execPath } from "node:process"
import { admin, database } from "./support/Command.js"
import * as Pages from "./support/Pages.js"
import type { Running } from "./support/Project.js"
import { repository, watch } from "./support/Project.js"

const names = ["boot", "bundle", "cluster", "opentelemetry", "own-dispatcher", "projections", "requests", "tests"]
const modules = join(repository, "node_modules")

let top: string
/** The package in it. */
let installed: string

/** Starts a program in an example, with nothing but PATH and `env` in its environment. */
const start = (
  name: string,
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
) => {
  const path = [join(modules, ".bin"), environment["PATH"] ?? ""].join(delimiter)
  return watch(spawn(program, [...args], { cwd: join(top, name), env: { PATH: path, ...env } }))
}

const succeeded = async ({ result }: Running): Promise<string> => {
  const { code, stderr, stdout } = await result
  assert.strictEqual(code, 0, `${stdout}${stderr}`)
  return `${stdout}${stderr}`
}

const node = (name: string, file: string, env?: Readonly<Record<string, string>>) => start(name, execPath, [file], env)

/** A server that says where it listens, and is ended behind `use`. */
const serving = async (
  name: string,
  env: Readonly<Record<string, string>>,
  use: (url: string) => Promise<void>
): Promise<void> => {
  const server = node(name, "dist/src/main.js", { ...env, PORT: "0" })
  let said = ""
  server.process.stdout?.on("data", (chunk: Buffer) => (said += chunk.toString()))
  try {
    await server.says("Listening on")
    await use(`http://127.0.0.1:${/Listening on http:\S+:(\d+)/.exec(said)?.[1]}`)
  } finally {
    await ended(server)
  }
}

/** The files of a vitest in one process, which loads the libraries once. */
const together = ["--no-isolate", "--poolOptions.forks.singleFork"]

/** Ends a server in order, or at once where that does not end it. */
const ended = async (server: Running): Promise<void> => {
  server.process.kill("SIGTERM")
  const late = setTimeout(() => server.process.kill("SIGKILL"), 5_000)
  await server.result
  clearTimeout(late)
}

/** A port that nobody listens on. */
const freePort = async (): Promise<number> => {
  const server = createServer().listen(0)
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  return typeof address === "object" && address !== null ? address.port : 0
}

beforeAll(async () => {
  top = await realpath(await mkdtemp(join(tmpdir(), "es-ops-examples-")))
  installed = join(top, "node_modules", "effect-es-ops")
  // Modules are looked for in each folder above an importing file, so one folder of them does for all.
  await mkdir(join(top, "node_modules"))
  for (const name of await readdir(modules)) await symlink(join(modules, name), join(top, "node_modules", name))
  // As it is installed, and no link to the repository: vitest would compile it for each of its processes then.
  for (const part of ["dist", "package.json"])
    await cp(join(repository, part), join(installed, part), { recursive: true })
  for (const name of names) await cp(join(repository, "examples", name), join(top, name), { recursive: true })
})

afterAll(() => rm(top, { recursive: true, force: true }))

describe("the examples", () => {
  it("are those that are tried here", async () => {
    const found = await readdir(join(repository, "examples"), { withFileTypes: true })
    assert.deepStrictEqual(
      found
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name)
        .toSorted(),
      names
    )
  })

  it("ask for the versions that the package asks for", async () => {
    const own = JSON.parse(await Pages.read("package.json"))
    for (const name of names) {
      const { dependencies, devDependencies } = JSON.parse(await Pages.read(`examples/${name}/package.json`))
      for (const [dependency, range] of Object.entries({ ...dependencies, ...devDependencies })) {
        const wanted: unknown =
          dependency === "effect-es-ops"
            ? `^${own.version}`
            : (own.peerDependencies[dependency] ?? own.devDependencies[dependency])
        assert.strictEqual(range, wanted, `${name}: ${dependency}`)
      }
    }
  })

  it("have scripts by the names that their pages tell to type", async () => {
    for (const name of names) {
      const { scripts } = JSON.parse(await Pages.read(`examples/${name}/package.json`))
      const lines = Pages.linesOf(await Pages.page(`examples/${name}/README.md`))
      for (const [, , script = ""] of lines.join("\n").matchAll(/npm (run )?(build|bundle|load|rebuild|start|test)\b/g))
        assert.property(scripts, script, name)
    }
  })

  it("compile", async () => {
    const tsc = join(modules, "typescript", "bin", "tsc")
    await Promise.all(names.map((name) => succeeded(start(name, execPath, [tsc]))))
  })
})

describe.concurrent("the example of seeds at boot", () => {
  it("listens when its seeds are applied, and has a file for the command", async () => {
    const { env, query } = await database()
    await serving("boot", env, async (url) => {
      assert.strictEqual(await (await fetch(url)).text(), "ready")
      assert.strictEqual((await query("SELECT 1 FROM plans")).length, 2)
      assert.deepStrictEqual(await query("SELECT name FROM read_products"), [{ name: "A first product" }])
    })
    const command = join(installed, "dist", "bin.js")
    const status = await succeeded(start("boot", execPath, [command, "seed:status", "--check"], env))
    assert.include(status, "2 applied.")
  })

  it("opens no port before that", async () => {
    const { env, url } = await database()
    const port = await freePort()
    await admin(async (client) => {
      await client.query("SELECT pg_advisory_lock(1702063984)")
      const server = node("boot", "dist/src/main.js", { ...env, PORT: `${port}` })
      try {
        await server.says("the operations lock is held")
        const early = await fetch(`http://127.0.0.1:${port}`).catch((error: unknown) => error)
        assert.instanceOf(early, TypeError)
        await client.query("SELECT pg_advisory_unlock(1702063984)")
        await server.says("Listening on")
        assert.strictEqual(await (await fetch(`http://127.0.0.1:${port}`)).text(), "ready")
      } finally {
        await ended(server)
      }
    }, url)
  })
})

describe.concurrent("the example of requests", () => {
  it("writes, lists and refuses", async () => {
    const { env, query } = await database()
    const id = "018f6b2e-7c1d-7000-8000-0000000000cc"
    await serving("requests", env, async (url) => {
      const send = async (path: string, body: unknown, headers: Readonly<Record<string, string>> = who) => {
        const response = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body), headers })
        return [response.status, await response.text()]
      }
      const listed = async () => (await fetch(`${url}/orders`, { headers: who })).json()
      assert.deepStrictEqual(await send("/orders", { id, total: 900 }), [200, JSON.stringify({ id, total: 900 })])
      assert.deepStrictEqual(await listed(), [{ id, total: 900 }])
      const [taken, why] = await send("/orders", { id, total: 1 })
      assert.strictEqual(taken, 409)
      assert.include(why, "version_conflict")
      assert.strictEqual((await send("/orders", { id, total: -1 }))[0], 400)
      assert.strictEqual((await send("/orders", { id, total: 1 }, {}))[0], 400)
      assert.strictEqual((await send("/orders/cancel", { id }))[0], 200)
      assert.strictEqual((await send("/orders/cancel", { id }))[0], 409)
      assert.strictEqual((await send("/orders/cancel", { id: id.replace("cc", "dd") }))[0], 404)
      assert.deepStrictEqual(await listed(), [])
    })
    const events = await query(`SELECT type, version FROM kumiko_events WHERE aggregate_id = '${id}' ORDER BY version`)
    assert.deepStrictEqual(events, [
      { type: "order.placed", version: 1 },
      { type: "order.cancelled", version: 2 }
    ])
  })
})

const who = {
  "content-type": "application/json",
  "x-user": "018f6b2e-7c1d-7000-8000-0000000000aa",
  "x-tenant": "018f6b2e-7c1d-7000-8000-0000000000bb"
}

describe.concurrent("the example of an own dispatcher", () => {
  it("writes through it, and creates no event tables", async () => {
    const { env, query } = await database()
    assert.include(await succeeded(node("own-dispatcher", "dist/src/main.js", env)), "welcome: Good to see you.")
    assert.deepStrictEqual(await query("SELECT to_regclass('kumiko_events')::text AS name"), [{ name: null }])
  })
})

describe.concurrent("the example of a bundle", () => {
  it("is one file, which runs where nothing is installed", async () => {
    const { env, query } = await database()
    await succeeded(start("bundle", "npm", ["run", "bundle"]))
    const elsewhere = `${top}-elsewhere`
    await mkdir(elsewhere)
    try {
      await cp(join(top, "bundle", "dist", "app.mjs"), join(elsewhere, "app.mjs"))
      const ran = watch(spawn(execPath, ["app.mjs"], { cwd: elsewhere, env: { PATH: "", ...env } }))
      assert.include(await succeeded(ran), "applied: 2026-11-24-first-tenant, 2026-11-25-second-tenant")
    } finally {
      await rm(elsewhere, { recursive: true, force: true })
    }
    assert.deepStrictEqual(await query("SELECT key FROM read_tenants ORDER BY key"), [
      { key: "first" },
      { key: "second" }
    ])
    const { scripts } = JSON.parse(await readFile(join(top, "bundle", "package.json"), "utf8"))
    for (const part of ["--format=esm", "createRequire as requireOf"]) assert.include(scripts.bundle, part)
  })
})

describe.concurrent("the example of OpenTelemetry", () => {
  it("exports the spans of a run, its seed and its writes, as one trace", async () => {
    const { env } = await database()
    const said = await succeeded(node("opentelemetry", "dist/src/main.js", env))
    const spans = [
      "start",
      "SeedRunner.apply",
      "SeedRunner.applyOne",
      "SeedBody.run",
      "WriteDispatcher.writeAll",
      "sql.execute"
    ]
    for (const span of spans) assert.include(said, `name: '${span}'`)
    assert.include(said, "attributes: { seed: '2026-11-24-first-tenant' }")
  })
})

describe.concurrent("the example of tests", () => {
  it("passes, in memory and on a server", async () => {
    const { env } = await database()
    const vitest = join(modules, "vitest", "vitest.mjs")
    const said = await succeeded(start("tests", execPath, [vitest, "run", ...together], { ...env, NO_COLOR: "1" }))
    assert.match(said, /Tests +3 passed \(3\)/)
  })
})

describe.concurrent("the example of projections", () => {
  it("passes, in memory and on a server", async () => {
    const { env, query } = await database()
    const vitest = join(modules, "vitest", "vitest.mjs")
    const line = [vitest, "run", ...together]
    const said = await succeeded(start("projections", execPath, line, { ...env, NO_COLOR: "1" }))
    assert.match(said, /Tests +4 passed \(4\)/)
    assert.deepStrictEqual(await query("SELECT number FROM read_orders ORDER BY number"), [
      { number: "1001" },
      { number: "1002" }
    ])
  })
})

describe.concurrent("the example of a cluster", () => {
  it("rebuilds on three runners while payments come in, and is right at the end", async () => {
    const { env, query } = await database()
    const runner = async () => node("cluster", "dist/src/main.js", { ...env, RUNNER_PORT: `${await freePort()}` })
    const ready = async (started: Running) => started.says("this runner is ready")
    const runners = [await runner()]
    const load = node("cluster", "dist/src/load.js", env)
    try {
      // The first creates the tables of the cluster, which does not bear a second one that does so at the same moment.
      for (const first of runners) await ready(first)
      runners.push(await runner(), await runner())
      await Promise.all([...runners.map(ready), load.says("payments come in")])
      const said = await succeeded(node("cluster", "dist/src/rebuild.js", env))
      assert.match(said, /rebuilt: \d+ events/)
      await Promise.any(runners.map((runner) => runner.says("is worked on here")))
      // The command joins the cluster that its file names, or the one whose runners are in the database.
      const nameless = `import { EsOps } from "effect-es-ops"\nimport { payments } from "./src/payments.js"\nexport default EsOps.config({ features: [payments] })\n`
      await writeFile(join(top, "cluster", "dist", "nameless.config.js"), nameless)
      for (const [config, more] of [
        ["es-ops.config.js", ["--cluster"]],
        ["nameless.config.js", []]
      ] as const) {
        const line = ["projection:rebuild", "balances", "--lanes", "6", "--json", "--config", `dist/${config}`, ...more]
        const asked = more.length === 0 ? { ...env, ES_OPS_CLUSTER: "1" } : env
        await succeeded(start("cluster", execPath, [join(installed, "dist", "bin.js"), ...line], asked))
        const [run] = await query("SELECT id FROM es_ops_runs ORDER BY started_at DESC LIMIT 1")
        await Promise.any(runners.map((runner) => runner.says(`${run?.["id"]} is worked on here`)))
      }
    } finally {
      await Promise.all([load, ...runners].map(ended))
    }
    const wrong = `SELECT FROM (SELECT aggregate_id AS id, sum((payload->>'cents')::int) AS cents FROM kumiko_events WHERE type = 'account.paid' GROUP BY 1) e
      FULL JOIN read_balances r USING (id) WHERE e.cents IS DISTINCT FROM r.cents`
    assert.deepStrictEqual(await query(wrong), [])
  })
})
