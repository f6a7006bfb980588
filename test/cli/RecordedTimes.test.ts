/**
 * Times of the record that JavaScript has no instant for: shown as text by every command, with all that is beside them.
 */
import { assert, describe, it } from "@effect/vitest"
import { database, decodeDoctor, decodeHistory, decodeStatus, project, tenant } from "../support/Command.js"

const year = "290000-01-02T03:04:05Z"

describe("a record with times that JavaScript cannot hold", () => {
  it("is shown by status, history and doctor, those times as text", async () => {
    const { env, query } = await database()
    const { run } = await project({
      "seeds/1.mjs": tenant("a"),
      "seeds/2.mjs": tenant("b"),
      "seeds/3.mjs": tenant("c")
    })
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    const times = { "1": "-infinity", "2": "infinity", "3": "290000-01-02 03:04:05+00" }
    for (const [id, time] of Object.entries(times)) {
      await query(`UPDATE kumiko_es_operations SET applied_at = '${time}' WHERE id = '${id}';
        UPDATE es_ops_attempts SET started_at = '${time}', ended_at = '${time}' WHERE operation_id = '${id}'`)
    }
    const shown = ["-infinity", "infinity", year]

    const status = decodeStatus((await run(["seed:status", "--json", "--check"], env)).stdout)
    assert.deepStrictEqual(
      status.seeds.map(({ appliedAt, lastAttempt, state }) => [state, appliedAt, lastAttempt?.at]),
      shown.map((time) => ["applied", time, time])
    )
    const history = decodeHistory((await run(["history", "--json"], env)).stdout)
    assert.deepStrictEqual(
      history.map(({ endedAt, startedAt }) => [startedAt, endedAt]),
      shown.toReversed().map((time) => [time, time])
    )
    const doctor = await run(["doctor", "--json"], env)
    assert.deepStrictEqual([doctor.code, decodeDoctor(doctor.stdout).checks.filter(({ ok }) => !ok)], [0, []])
    for (const command of ["seed:status", "history"]) {
      const { code, stdout } = await run([command], env)
      assert.strictEqual(code, 0)
      for (const time of ["-infinity", " infinity", "290000-01-02 03:04:05Z"]) assert.include(stdout, time)
    }
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
  })
})
