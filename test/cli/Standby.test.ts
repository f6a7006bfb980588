/**
 * Commands and the library on a server that takes no writes: a standby that follows a primary, and one whose transactions only read by default.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { EsOps, Identity, WriteDispatcher } from "effect-es-ops"
import {
  admin,
  bundled,
  database,
  decodeApply,
  decodeDoctor,
  decodeError,
  tenant,
  untilTrue
} from "../support/Command.js"
import * as Projects from "../support/Project.js"
import * as TestServer from "../support/TestServer.js"

const outside = Projects.seedSource("yield* sql`CREATE TABLE IF NOT EXISTS made (n integer)`", 'transaction: "none",')

const says = /the server is a standby \(in recovery\), which takes no writes: name the primary server/

const actor = {
  id: "00000000-0000-0000-0000-000000000000",
  tenantId: "00000000-0000-4000-8000-000000000000",
  roles: ["system"]
}

const creating = (url: string) =>
  WriteDispatcher.submit(Identity.createTenant, { key: "sent", name: "n" }, { actor }).pipe(
    Effect.provide(EsOps.layer({ seeds: {} })),
    Effect.provide(PgClient.layer({ url: Redacted.make(url) }).pipe(Layer.orDie))
  )

describe("a standby", () => {
  it("is named by all that writes, and by the doctor, while what reads and what has nothing to do goes on", async () => {
    const primary = await TestServer.start()
    try {
      const urlOf = ({ password, port, user }: TestServer.Address) =>
        `postgres://${user}:${password}@127.0.0.1:${port}/postgres`
      const env = { DATABASE_URL: urlOf(primary.address) }
      const { run, write } = await bundled({ "seeds/1.mjs": tenant("one") })
      const follower = await primary.follower()
      try {
        const url = urlOf(follower.address)
        const there = { DATABASE_URL: url }
        const refused = async (...words: ReadonlyArray<string>) => {
          const { code, stderr, stdout } = await run([...words, "--json"], there)
          assert.strictEqual(code, 6, stderr)
          const error = words[0] === "seed:apply" ? decodeApply(stdout).failed?.error : decodeError(stdout).error
          assert.strictEqual(error?._tag, "DatabaseError")
          assert.match(error?.message ?? "", says)
        }
        // Before the tables are there, and behind that.
        await refused("seed:apply")
        assert.strictEqual((await run(["seed:apply"], env)).code, 0)
        await untilTrue(() =>
          admin(
            async (client) =>
              (await client.query("SELECT 1 WHERE to_regclass('kumiko_es_operations') IS NOT NULL")).rows,
            url
          )
        )
        assert.strictEqual((await run(["seed:apply"], there)).code, 0)
        await write("seeds/2.mjs", tenant("two"))
        await refused("seed:apply")
        await refused("seed:apply", "--dry-run")
        await refused("seed:mark", "2", "--reason", "x")
        await refused("seed:unmark", "1", "--reason", "x")
        await write("seeds/2.mjs", outside)
        await refused("seed:apply")
        assert.strictEqual((await run(["seed:status"], there)).code, 0)
        const doctor = await run(["doctor", "--json"], there)
        assert.strictEqual(doctor.code, 6)
        const { checks } = decodeDoctor(doctor.stdout)
        assert.deepStrictEqual(
          checks.filter(({ ok }) => !ok).map(({ detail, name }) => [name, detail]),
          [["writable", "the server is a standby (in recovery): it takes no writes"]]
        )
        const failed = await Effect.runPromise(Effect.flip(creating(url)))
        assert.strictEqual(failed._tag, "DatabaseError")
        assert.match(failed.message, says)
      } finally {
        await follower.stop()
      }
    } finally {
      await primary.stop()
    }
  })
})

describe("transactions that only read by default", () => {
  it.each(["DATABASE", "ROLE postgres IN DATABASE"])(
    "of a %s write for seeds of both kinds, and for a request",
    async (of) => {
      const { env, name, query, url } = await database()
      await query(`ALTER ${of} "${name}" SET default_transaction_read_only = on`)
      const { run } = await bundled({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": outside })
      const { code, stderr } = await run(["seed:apply"], env)
      assert.strictEqual(code, 0, stderr)
      await Effect.runPromise(creating(url))
      assert.deepStrictEqual(await query("SELECT key FROM read_tenants ORDER BY key"), [
        { key: "one" },
        { key: "sent" }
      ])
      assert.deepStrictEqual(await query("SELECT to_regclass('made') IS NOT NULL AS made"), [{ made: true }])
    }
  )
})
