/**
 * A mixed fleet: replicas of the reference, played in plain SQL, and ours on one database, over the same seeds, with kills. The judge is a
 * ledger that every seed writes a row to.
 */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { admin, bundled, database, untilTrue } from "../support/Command.js"
import type { Project } from "../support/Project.js"
import * as Projects from "../support/Project.js"
import * as Reference from "../support/Reference.js"

const ids = Array.from({ length: 20 }, (_, n) => `seed-${String(n).padStart(2, "0")}`)

const files = Object.fromEntries(
  ids.map((id) => [
    `seeds/${id}.mjs`,
    `export default {
  description: "ours",
  run: async (ctx) => {
    await ctx.systemWriteAs("tenant:write:create", { key: "${id}", name: "${id}" })
  }
}`
  ])
)

/** Ours write through a handler and the projection, and the trigger on the read table keeps the ledger. */
const ledger = `CREATE TABLE ledger (seed text, by text);
  CREATE TABLE read_tenants (id uuid PRIMARY KEY, name text NOT NULL, key text NOT NULL, inserted_at timestamptz NOT NULL DEFAULT now());
  CREATE FUNCTION keep_ledger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO ledger VALUES (NEW.key, 'ours'); PERFORM pg_sleep(0.01); RETURN NEW; END $$;
  CREATE TRIGGER keep_ledger AFTER INSERT ON read_tenants FOR EACH ROW EXECUTE FUNCTION keep_ledger()`

/** Both sides have had a part, or one of them had no chance: the same rows either way. */
const judge = async (query: (text: string) => Promise<ReadonlyArray<Record<string, unknown>>>) => {
  assert.deepStrictEqual(
    await query(
      `SELECT m.id, (SELECT count(*)::int FROM ledger l WHERE l.seed = m.id) AS effects FROM kumiko_es_operations m ORDER BY 1`
    ),
    ids.map((id) => ({ id, effects: 1 }))
  )
  assert.deepStrictEqual(await query("SELECT count(*)::int AS n FROM ledger"), [{ n: 20 }])
  // Each marker is by whom the effect is.
  assert.deepStrictEqual(
    await query(`SELECT m.id FROM kumiko_es_operations m JOIN ledger l ON l.seed = m.id
      WHERE (l.by = 'reference') <> (m.notes = 'by the reference')`),
    []
  )
  const [{ there } = { there: false }] = await query("SELECT to_regclass('kumiko_events') IS NOT NULL AS there")
  assert.deepStrictEqual(
    there === true ? await query("SELECT count(*)::int AS n FROM kumiko_events") : [{ n: 0 }],
    await query("SELECT count(*)::int AS n FROM ledger WHERE by = 'ours'")
  )
}

const reference = (made: Project, env: Readonly<Record<string, string>>) =>
  Projects.watch(
    spawn(process.execPath, [join(made.folder, "reference.mjs"), ...ids], {
      cwd: made.folder,
      env: { PATH: process.env["PATH"] ?? "", ...env }
    })
  )

describe("four replicas of the reference and four of ours", () => {
  it("start on an empty database at the same moment: each seed's effect and marker are there once", async () => {
    const { env, query, url } = await database()
    await query(ledger)
    const made = await bundled({ ...files, "reference.mjs": Reference.replica })
    await admin(async (gate) => {
      // Theirs wait at the one lock, ours at the other.
      await gate.query("SELECT pg_advisory_lock(42), pg_advisory_lock(1702063984)")
      const theirs = Array.from({ length: 4 }, () => reference(made, env))
      const ours = Array.from({ length: 4 }, () => made.start(["seed:apply", "--json"], env))
      // All eight are connected: ours look for their tables while theirs create one without the lock.
      await untilTrue(() =>
        query(
          `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^(es-ops|reference)' HAVING count(*) >= 8`
        )
      )
      await gate.query("SELECT pg_advisory_unlock(42), pg_advisory_unlock(1702063984)")
      for (const { result } of [...theirs, ...ours]) {
        const { code, stderr } = await result
        assert.strictEqual(code, 0, stderr)
      }
    }, url)
    await judge(query)
  })

  it("are killed, one of each after every few seeds, and started again: the same", async () => {
    const { env, query } = await database()
    await query(`${ledger}; ${Reference.tables}`)
    const made = await bundled({ ...files, "reference.mjs": Reference.replica })
    const start = {
      reference: () => reference(made, env),
      ours: () => made.start(["seed:apply", "--json"], env)
    }
    const running = {
      reference: Array.from({ length: 4 }, start.reference),
      ours: Array.from({ length: 4 }, start.ours)
    }
    let kills = 0
    for (const side of ["ours", "reference", "ours", "reference", "ours", "reference"] as const) {
      const [{ n: before } = { n: 0 }] = await query("SELECT count(*)::int AS n FROM kumiko_es_operations")
      // After the next marker: whoever is killed is anywhere between waiting and committing.
      await untilTrue(() =>
        query(`SELECT 1 FROM kumiko_es_operations HAVING count(*) > ${Number(before)} OR count(*) = 20`)
      )
      const victim = running[side].shift()
      if (victim?.process.kill("SIGKILL") === true) kills++
      await victim?.result
      running[side].push(start[side]())
    }
    assert.isAbove(kills, 0)
    for (const { result } of [...running.reference, ...running.ours]) {
      const { code, stderr } = await result
      assert.strictEqual(code, 0, stderr)
    }
    await judge(query)
  })
})
