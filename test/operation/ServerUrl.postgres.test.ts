/**
 * URLs of servers against a server: through the folder of its socket, and with the parameter that names a schema.
 */
import { assert, describe, it } from "@effect/vitest"
import { SqlClient } from "@effect/sql"
import { Effect, Redacted } from "effect"
import { EsOps } from "effect-es-ops"
import { database, project, tenant } from "../support/Command.js"
import { inject } from "vitest"

describe("seed:apply by the URL of a server", () => {
  it("goes through a socket, whose folder is a parameter or the host, and shows no password", async () => {
    const { name, query } = await database()
    const { password, port, user } = inject("postgres")
    const [row] = await query("SHOW unix_socket_directories")
    const folder = String(row?.["unix_socket_directories"])
    const login = `${user}:${encodeURIComponent(password)}`
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    for (const url of [
      `postgres://${login}@/${name}?host=${folder}&port=${port}`,
      `postgres://${login}@/${name}?host=${encodeURIComponent(folder)}&port=${port}`,
      `postgres://${login}@${encodeURIComponent(folder)}:${port}/${name}`,
      `postgres:///${name}?host=${folder}&port=${port}&user=${user}&password=${encodeURIComponent(password)}`
    ]) {
      const { code, stderr } = await run(["seed:apply"], { DATABASE_URL: url })
      assert.strictEqual(code, 0, stderr)
      assert.include(stderr, name)
      assert.notInclude(stderr, password)
    }
    assert.lengthOf(await query("SELECT id FROM kumiko_es_operations"), 1)
  })

  it("refuses a schema's parameter by option and by variable, and makes its tables in the schema by the one that works", async () => {
    const { env, query } = await database()
    await query("CREATE SCHEMA tenant1")
    const { run } = await project({ "seeds/1.mjs": tenant("one") })
    const wrong = `${env.DATABASE_URL}?schema=tenant1`
    const byOption = await run(["seed:apply", "--database-url", wrong])
    const byVariable = await run(["seed:apply"], { DATABASE_URL: wrong })
    assert.deepStrictEqual([byOption.code, byVariable.code], [2, 4])
    const [, works = ""] = /say (options=\S+)/.exec(byVariable.stdout + byVariable.stderr) ?? []
    const { code, stderr } = await run(["seed:apply"], { DATABASE_URL: `${env.DATABASE_URL}?${works}` })
    assert.strictEqual(code, 0, stderr)
    assert.deepStrictEqual(
      await query("SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname IN ('public', 'tenant1')"),
      [{ schemaname: "tenant1" }]
    )
  })
})

describe("EsOps.layerClient by the URL of a server", () => {
  it.live("goes through a socket, and refuses what the command refuses, with no password in its words", () =>
    Effect.gen(function* () {
      const { name, query, url } = yield* Effect.promise(database)
      const { password, port, user } = inject("postgres")
      const [row] = yield* Effect.promise(() => query("SHOW unix_socket_directories"))
      const folder = String(row?.["unix_socket_directories"])
      const connected = (text: string) =>
        Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT current_database() AS name`).pipe(
          Effect.provide(EsOps.layerClient({ url: Redacted.make(text) }))
        )
      const socket = `postgres://${user}:${encodeURIComponent(password)}@/${name}?host=${folder}&port=${port}`
      assert.deepStrictEqual(yield* connected(socket), [{ name }])
      const refused = ["?schema=a", "?sslmode=disable&currentSchema=a", "?search_path=a"].map((more) => `${url}${more}`)
      for (const wrong of [...refused, "not a url", "mysql://h/db"]) {
        const error = yield* Effect.flip(connected(wrong))
        assert.strictEqual(error._tag, "SettingError", wrong)
        assert.notInclude(error.message, password)
        if (refused.includes(wrong)) assert.include(error.message, "options=-c%20search_path%3Da")
      }
    })
  )
})
