/**
 * `runs` and `runs:cancel`, on runs that stand in the table.
 */
import { assert, describe, it } from "@effect/vitest"
import {
  database,
  decodeChange,
  decodeDoctor,
  decodeError,
  decodeHistory,
  decodeRuns,
  project
} from "../support/Command.js"

/** The tables, and a run of this name that stands so. */
const insert = (name: string, outcome: string, lease: string) => `
  INSERT INTO es_ops_runs (id, operation_type, name, params, definition, access, phase, done, total, counters, epoch, epoch_at, epoch_done,
      host, pid, lease_until, started_at, updated_at, outcome)
    SELECT gen_random_uuid(), 'projection-rebuild', '${name}', '{"mode":"merge"}', '1', '{"reads":[],"changes":[]}', 'bulk', 60, 100, '{"written":3}', 1,
      now() - interval '10 seconds', 20, 'elsewhere', 7, clock_timestamp() + interval '${lease}', now() - interval '1 minute', now(), '${outcome}'`

describe("es-ops runs", () => {
  it("shows the runs that have not ended, with progress, rate, time left and owner, and runs:cancel ends one", async () => {
    const { env, query } = await database()
    const { run } = await project()
    const none = await run(["runs"], env)
    assert.deepStrictEqual([none.code, none.stdout], [0, "No unfinished runs.\n"], none.stderr)
    assert.deepStrictEqual(decodeRuns((await run(["runs", "--json"], env)).stdout).runs, [])
    assert.deepStrictEqual(await query("SELECT relname FROM pg_class WHERE relname ~ '^es_ops'"), [])

    await query((await run(["schema"], env)).stdout)
    await query(
      [
        insert("live", "running", "1 hour"),
        insert("gone", "running", "-1 second"),
        insert("stopped", "paused", "0 s"),
        insert("done", "applied", "0 s")
      ].join(";")
    )
    const { runs } = decodeRuns((await run(["runs", "--json"], env)).stdout)
    assert.deepStrictEqual(runs.map(({ live, name, outcome }) => [name, outcome, live]).toSorted(), [
      ["gone", "running", false],
      ["live", "running", true],
      ["stopped", "paused", false]
    ])
    const live = runs.find(({ name }) => name === "live")
    assert.deepInclude(live, {
      phase: "bulk",
      done: 60,
      total: 100,
      rate: 4,
      secondsLeft: 10,
      owner: { host: "elsewhere", pid: 7 }
    })
    const { stdout } = await run(["runs"], env)
    assert.match(stdout, /^running {5}projection-rebuild "live" .*bulk, 60 of 100, 4\.0\/s, 10 s left$/m)
    assert.match(stdout, /^interrupted projection-rebuild "gone" /m)
    assert.match(stdout, /^paused {6}projection-rebuild "stopped" /m)

    const doctor = decodeDoctor((await run(["doctor", "--json"], env)).stdout).checks.find(
      ({ name }) => name === "runs"
    )
    assert.deepInclude(doctor, {
      ok: false,
      detail: `projection-rebuild "gone" is half done, and no process is in it\nprojection-rebuild "stopped" is paused`
    })

    const id = live?.id ?? ""
    assert.deepStrictEqual(decodeChange((await run(["runs:cancel", id, "--json"], env)).stdout), { id, changed: true })
    const again = await run(["runs:cancel", id, "--json"], env)
    assert.deepStrictEqual([again.code, decodeError(again.stdout).error._tag], [2, "UsageError"])
    assert.deepStrictEqual(await query("SELECT epoch, outcome FROM es_ops_runs WHERE name = 'live'"), [
      { epoch: 2, outcome: "cancelled" }
    ])
    const [attempt] = decodeHistory((await run(["history", "--json"], env)).stdout)
    assert.deepInclude(attempt, {
      id: `projection-rebuild:live:${id}`,
      operationType: "projection-rebuild",
      outcome: "interrupted",
      reason: "cancelled"
    })
  })
})
