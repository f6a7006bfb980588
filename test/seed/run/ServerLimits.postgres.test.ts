/**
 * Seeds that run into a limit of the server are told what to do.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { bundled, decodeApply, decodeHistory } from "../../support/Command.js"
import * as Projects from "../../support/Project.js"
import * as Database from "../../support/TestDatabase.js"
import { apply, fresh, layerOf, seed, tenant } from "../../support/Applying.js"
import * as TestServer from "../../support/TestServer.js"
import { TestDatabase } from "../../support/TestDatabase.js"

describe("a seed that runs into a limit of the server", () => {
  it("of many sql.withTransaction parts is told to use fewer, batches, or max_locks_per_transaction", async () => {
    const server = await TestServer.start({ max_connections: "20", max_locks_per_transaction: "10" })
    const { host, password, port, user } = server.address
    const env = { DATABASE_URL: `postgres://${user}:${password}@${host}:${port}/postgres` }
    const { run } = await bundled({
      "seeds/1.mjs": Projects.seedSource(`yield* sql\`CREATE TABLE parts (n integer)\`
    for (let n = 0; n < 5000; n++) yield* sql.withTransaction(sql\`INSERT INTO parts VALUES (\${n})\`)`)
    })
    const { code, stdout } = await run(["seed:apply", "--json"], env)
    const [attempt] = decodeHistory((await run(["history", "1", "--json"], env)).stdout)
    await server.stop()
    assert.strictEqual(code, 1)
    const { failed } = decodeApply(stdout)
    assert.deepStrictEqual([failed?.error._tag, failed?.error.cause?.code], ["SeedFailed", "53200"])
    for (const words of ["fewer parts", "batches", "max_locks_per_transaction"])
      assert.include(failed?.error.message, words)
    assert.match(failed?.error.message ?? "", /: out of shared memory$/)
    assert.strictEqual(attempt?.outcome, "failed")
  })

  it.live("of the stack depth is told so", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const deep = Effect.flatMap(SqlClient.SqlClient, (sql) =>
        sql.unsafe(
          "CREATE FUNCTION deep(n integer) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN deep(n + 1); END'; SELECT deep(1)"
        )
      )
      const failed = yield* Effect.flip(Effect.provide(apply(), layerOf(Database.clientOf(url), { a: seed(deep) })))
      assert.strictEqual(failed._tag, "SeedFailed")
      assert.include(failed.message, "max_stack_depth")
    }).pipe(fresh)
  )

  it.live("is not one of 300 writes, which hold no more locks than a few", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const many = Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        for (let n = 0; n < 300; n++) yield* tenant(`k${n}`)
        const [row] = yield* sql<{
          n: number
        }>`SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'transactionid' AND pid = pg_backend_pid()`
        return yield* Number(row?.n) < 5 ? Effect.void : Effect.fail(new Error(`${row?.n} locks`))
      })
      yield* Effect.provide(apply(), layerOf(Database.clientOf(url), { a: seed(many) }))
    }).pipe(fresh)
  )
})
