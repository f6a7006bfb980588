/**
 * Connections to a server over TLS, with each `sslmode`.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { SqlClient } from "@effect/sql"
import { Effect, Redacted } from "effect"
import { EsOps } from "effect-es-ops"
import { once } from "node:events"
import { chown, mkdtemp, rm, stat, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getuid } from "node:process"
import * as Certificate from "../../support/Certificate.js"
import { admin, database, project, tenant } from "../../support/Command.js"

let folder = ""
let authority = ""
const files: Array<string> = []

/** The server that all suites share takes TLS beside what it took before. */
beforeAll(async () => {
  const made = Certificate.make()
  folder = await mkdtemp(join(tmpdir(), "es-ops-tls-"))
  authority = join(folder, "authority.pem")
  await writeFile(authority, made.certificate)
  await admin(async (client) => {
    const { rows } = await client.query<{ data_directory: string }>("SHOW data_directory")
    const data = rows[0]?.data_directory ?? ""
    const { gid, uid } = await stat(data)
    for (const [name, content] of Object.entries({ "server.crt": made.certificate, "server.key": made.key })) {
      const path = join(data, name)
      files.push(path)
      await writeFile(path, content, { mode: 0o600 })
      if (getuid?.() === 0) await chown(path, uid, gid)
    }
    await client.query("ALTER SYSTEM SET ssl = on")
    await client.query("SELECT pg_reload_conf()")
    for (let on = false; !on;) on = (await client.query("SHOW ssl")).rows[0]?.ssl === "on"
  })
})

afterAll(async () => {
  await admin(async (client) => {
    await client.query("ALTER SYSTEM RESET ssl")
    await client.query("SELECT pg_reload_conf()")
  })
  for (const path of [...files, folder]) await rm(path, { recursive: true })
})

/** The port of a server that answers to everything that it has no TLS (PostgreSQL manual, 54.2.11). */
const portWithoutTls = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer((socket) => void socket.on("data", () => socket.write("N")))
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) => Effect.sync(() => server.close())
  ),
  (server) => {
    const address = server.address()
    return address !== null && typeof address === "object" ? address.port : 0
  }
)

/** Whether the connection by this URL is encrypted, or why there is none. */
const connected = (url: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql<{ readonly ssl: boolean }>`SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`
  ).pipe(
    Effect.map(([row]) => row?.ssl),
    Effect.provide(EsOps.layerClient({ url: Redacted.make(url) }))
  )

describe("a connection over TLS", () => {
  it.live("is encrypted, and its certificate checked, as sslmode says", () =>
    Effect.gen(function* () {
      const { url } = yield* Effect.promise(database)
      assert.strictEqual(yield* connected(`${url}?sslmode=disable`), false)
      assert.strictEqual(yield* connected(`${url}?sslmode=no-verify`), true)
      assert.strictEqual(yield* connected(`${url}?uselibpqcompat=true&sslmode=require`), true)
      for (const mode of ["require", "verify-ca", "verify-full"]) {
        assert.strictEqual(yield* connected(`${url}?sslmode=${mode}&sslrootcert=${authority}`), true)
        const refused = yield* Effect.flip(connected(`${url}?sslmode=${mode}`))
        assert.include(refused.message, "self-signed certificate", mode)
        assert.include(refused.message, "sslrootcert=<file>")
      }
    })
  )

  it.live("is refused by a server that has none, and the failure says how to do without", () =>
    Effect.gen(function* () {
      const port = yield* portWithoutTls
      const refused = yield* Effect.flip(connected(`postgres://u@127.0.0.1:${port}/db?sslmode=prefer`))
      assert.strictEqual(refused._tag, "DatabaseError")
      assert.include(refused.message, "with a server that has none, say sslmode=disable")
    }).pipe(Effect.scoped)
  )

  it("is what the command gets by sslmode=require, with no warning of the driver's", async () => {
    const { name, query, url } = await database()
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    const { code, stderr } = await run(["seed:apply"], {
      DATABASE_URL: `${url}?sslmode=require&sslrootcert=${authority}`
    })
    assert.strictEqual(code, 0, stderr)
    // On a slow machine a line may follow that tells how long it takes.
    assert.match(stderr, new RegExp(`^database: postgres://\\S+${name}\\S*\\n`))
    assert.notMatch(stderr, /warn/i)
    assert.lengthOf(await query("SELECT id FROM kumiko_es_operations"), 1)
    const refused = await run(["seed:status"], { DATABASE_URL: `${url}?sslmode=require` })
    assert.strictEqual(refused.code, 6)
    assert.include(refused.stderr, "self-signed certificate")
    assert.notInclude(refused.stderr, "SECURITY WARNING")
  })
})
