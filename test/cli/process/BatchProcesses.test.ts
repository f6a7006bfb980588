/**
 * A seed in batches, done by processes that are killed: each row once.
 */
import { assert, describe, it } from "@effect/vitest"
import { bundled, database, decodeApply, decodeStatus, untilTrue } from "../../support/Command.js"

/** Few rows for a test among many; as many as one likes by hand. */
const [rows, size, kills] = [
  Number(process.env["BATCH_ROWS"] ?? 3000),
  Number(process.env["BATCH_SIZE"] ?? 50),
  Number(process.env["BATCH_KILLS"] ?? 5)
]

const batched = `
import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Seed } from "effect-es-ops"

export default Seed.batched({
  description: "every row is touched",
  size: ${size},
  source: { sql: "SELECT id FROM items;", key: "id" },
  process: (rows) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql\`INSERT INTO touched \${sql.insert(rows.map(({ id }) => ({ id })))}\`
    })
})
`

const world = async () => {
  const { env, query } = await database()
  await query(
    `CREATE TABLE items AS SELECT n::bigint * 7 AS id FROM generate_series(1, ${rows}) AS n; CREATE TABLE touched (id bigint)`
  )
  return { ...(await bundled({ "seeds/1.mjs": batched })), env, query }
}

const doneRows = "coalesce((SELECT done FROM es_ops_runs WHERE operation_type = 'seed-migration'), 0)"

describe("a seed in batches", { timeout: 900_000 }, () => {
  it("has each row once, wherever its processes are killed, and a replica that waits goes on", async () => {
    const { env, query, start } = await world()
    const began = () => start(["seed:apply", "--json"], env)
    let [first, second] = [began(), began()]
    await untilTrue(() => query("SELECT 1 WHERE to_regclass('es_ops_runs') IS NOT NULL"))
    for (let killed = 1; killed <= kills; killed++) {
      // Anywhere in this part of the rows, and anywhere in a batch.
      const at = Math.floor(((killed - Math.random()) * rows) / (kills + 1))
      await untilTrue(() => query(`SELECT 1 WHERE ${doneRows} >= ${at}`))
      first.process.kill("SIGKILL")
      await first.result
      ;[first, second] = [second, began()]
    }
    const ended = await Promise.all([first.result, second.result])
    assert.deepStrictEqual(
      ended.map(({ code }) => code),
      [0, 0],
      ended.map(({ stderr, stdout }) => stdout + stderr).join("\n")
    )
    const documents = ended.map(({ stdout }) => decodeApply(stdout))
    // One that begins when all is done has nothing to say of it.
    const said = documents.flatMap(({ applied, raced }) => [...applied.map(({ id }) => id), ...raced])
    assert.deepStrictEqual([...new Set(said)], ["1"])
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n, count(DISTINCT id)::int AS ids FROM touched"), [
      { n: rows, ids: rows }
    ])
    assert.deepStrictEqual(await query("SELECT id, notes FROM kumiko_es_operations"), [
      { id: "1", notes: "every row is touched" }
    ])
    assert.deepStrictEqual(await query("SELECT outcome, done::int AS done, total::int AS total FROM es_ops_runs"), [
      { outcome: "applied", done: rows, total: rows }
    ])
  })

  it("that is interrupted says how far it is, is shown half done, and goes on", async () => {
    const { env, query, run, start } = await world()
    const first = start(["seed:apply", "--pause-between", "20ms"], env)
    await untilTrue(() => query("SELECT 1 WHERE to_regclass('es_ops_runs') IS NOT NULL"))
    await untilTrue(() => query(`SELECT 1 WHERE ${doneRows} > ${2 * size}`))
    first.process.kill("SIGINT")
    const stopped = await first.result
    assert.strictEqual(stopped.code, 130)
    assert.match(stopped.stdout + stopped.stderr, /half done: its \d+ rows that are done stay/)
    const [seed] = decodeStatus((await run(["seed:status", "--json"], env)).stdout).seeds
    assert.include(["interrupted", "running"], seed?.state)
    assert.isAtLeast(seed?.progress?.done ?? 0, 2 * size)
    assert.strictEqual(seed?.progress?.total, rows)
    assert.match((await run(["seed:status"], env)).stdout, new RegExp(`half done: \\d+ of ${rows} rows`))
    const done = await run(["seed:apply"], env)
    assert.strictEqual(done.code, 0, done.stderr)
    assert.deepStrictEqual(await query("SELECT count(*)::int AS n, count(DISTINCT id)::int AS ids FROM touched"), [
      { n: rows, ids: rows }
    ])
  })
})
