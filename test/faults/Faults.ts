/**
 * Rounds of faults against the built command, with a ledger in the database as judge.
 *
 * Every seed appends an event, changes a read table through its projection and writes a row to the ledger by itself. A round starts processes
 * over fresh seeds and lets something go wrong with one or more of them; then one is left in peace. At the end each effect must be
 * there exactly as often as its marker: once.
 */
import { spawn } from "node:child_process"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { execPath } from "node:process"
import { Client } from "pg"
import type { FaultProxy, Point } from "../support/FaultProxy.js"
import type { Project, Result, Running } from "../support/Project.js"
import * as Projects from "../support/Project.js"

/** What can go wrong at a named point. */
export const faults = ["SIGKILL", "SIGTERM", "SIGINT", "the backend is ended", "the wire is cut"] as const
export type Fault = (typeof faults)[number]

/** What has been seen so far. */
export interface Tally {
  rounds: number
  kills: number
  faults: number
  doubled: number
  lost: number
}

export interface Arena {
  readonly project: Project
  readonly query: (text: string) => Promise<ReadonlyArray<Record<string, unknown>>>
  /** The database directly, and through the proxy. */
  readonly url: string
  readonly proxied: string
  readonly proxy: FaultProxy
  readonly tally: Tally
  readonly close: () => Promise<void>
}

const seedsOfRound = 3

const source = (key: string) => `import { Effect } from "effect"
import { SqlClient } from "@effect/sql"
import { Seed, SeedContext } from "effect-es-ops"

export default Seed.make({
  description: "a round's seed",
  run: Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* SeedContext.systemWriteAs("tenant:write:create", { key: "${key}", name: "a tenant" })
    yield* sql\`INSERT INTO ledger (seed) VALUES (\${"${key}"})\`
    yield* sql\`SELECT pg_sleep(0.005)\`
  })
})
`

/** An arena on the database of this URL; its processes are those of the bundle in this folder. */
export const open = async (url: string, proxy: FaultProxy, bundle: string): Promise<Arena> => {
  const client = new Client({ connectionString: url })
  await client.connect()
  const proxied = new URL(url)
  proxied.port = `${proxy.port}`
  await client.query("CREATE TABLE ledger (seed text NOT NULL)")
  const project = await Projects.make({}, "project", bundle)
  return {
    project,
    proxy,
    url,
    proxied: proxied.href,
    query: async (text) => (await client.query<Record<string, unknown>>(text)).rows,
    tally: { rounds: 0, kills: 0, faults: 0, doubled: 0, lost: 0 },
    close: async () => {
      await client.end()
      await project.remove()
    }
  }
}

const start = ({ project }: Arena, seeds: string, url: string): Running =>
  Projects.watch(
    spawn(execPath, [project.command, "seed:apply", "--json", "--seeds", seeds], {
      cwd: project.folder,
      env: { PATH: process.env["PATH"] ?? "", DATABASE_URL: url }
    })
  )

/** What a process may end with when something went wrong: done, a failure that is told, or a signal; never a crash. */
const ends = new Set([0, 1, 5, 6, 130, 143])

const checkEnd = ({ code, signal, stderr, stdout }: Result): void => {
  // SIGKILL, or another one before the command was there to hear it.
  if (signal !== null && (signal === "SIGKILL" || stdout === "")) return
  if (code === null || !ends.has(code)) throw new Error(`it ended with ${code ?? signal}:\n${stdout}${stderr}`)
  JSON.parse(stdout)
}

/** A round over fresh seeds: `happen` lets things go wrong, and then one is left in peace. */
export const round = async (
  arena: Arena,
  name: string,
  happen: (seeds: string) => Promise<ReadonlyArray<Running>>
): Promise<void> => {
  const { project, query, tally, url } = arena
  const ids = Array.from({ length: seedsOfRound }, (_, n) => `${name}-${n}`)
  for (const id of ids) await project.write(`${name}/${id}.mjs`, source(id))
  const running = await happen(name)
  for (const { result } of running) checkEnd(await result)
  const peace = await project.run(["seed:apply", "--json", "--seeds", name], { DATABASE_URL: url })
  if (peace.code !== 0)
    throw new Error(`in peace it ended with ${peace.code ?? peace.signal}:\n${peace.stdout}${peace.stderr}`)
  await judge(arena, name, ids)
  await rm(join(project.folder, name), { recursive: true })
  tally.rounds++
  // A session whose client was killed a moment ago is ended by the server in its own time.
  const ours = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'es-ops%'`
  while ((await query(ours)).length > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  const held = await query(
    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
  )
  if (held.length > 0) throw new Error(`a lock is left after ${name}`)
}

/** Each effect as often as its marker, and that once. */
const judge = async ({ query, tally }: Arena, name: string, ids: ReadonlyArray<string>): Promise<void> => {
  const counted = await query(`SELECT s.id,
      (SELECT count(*)::int FROM kumiko_es_operations m WHERE m.id = s.id) AS markers,
      (SELECT count(*)::int FROM ledger l WHERE l.seed = s.id) AS ledger,
      (SELECT count(*)::int FROM read_tenants t WHERE t.key = s.id) AS read,
      (SELECT count(*)::int FROM kumiko_events e WHERE e.payload->>'key' = s.id) AS events,
      (SELECT count(*)::int FROM es_ops_attempts a WHERE a.operation_id = s.id AND a.outcome = 'applied') AS applied
    FROM unnest(ARRAY[${ids.map((id) => `'${id}'`).join(", ")}]) AS s (id)`)
  for (const { applied, events, id, ledger, markers, read } of counted) {
    const effects = [markers, ledger, read, events, applied].map(Number)
    if (effects.some((n) => n > 1)) tally.doubled++
    if (effects.some((n) => n < 1)) tally.lost++
    if (effects.some((n) => n !== 1)) throw new Error(`${name}, ${String(id)}: ${JSON.stringify(effects)}`)
  }
}

/** One process is held at a named point of one of its seeds, and the fault happens to it there. */
export const atPoint = (arena: Arena, name: string, point: Point, fault: Fault, passes: number): Promise<void> =>
  round(arena, name, async (seeds) => {
    const { proxied, proxy, query, tally } = arena
    const stop = proxy.stopAt(point, passes)
    const running = start(arena, seeds, proxied)
    // Whoever never gets to the point ends by itself, and the round says so.
    const stopped = await Promise.race([stop, running.result])
    if (!("resume" in stopped)) throw new Error(`it never was ${point}:\n${stopped.stdout}${stopped.stderr}`)
    if (point === "inside a statement") stopped.resume()
    tally.faults++
    if (fault === "the backend is ended") await query(`SELECT pg_terminate_backend(${stopped.backend})`)
    else if (fault === "the wire is cut") stopped.cut()
    else {
      tally.kills++
      running.process.kill(fault)
    }
    if (fault === "SIGKILL") await running.result
    if (point !== "inside a statement") stopped.resume()
    return [running]
  })

/** One process waits for a lock that somebody else holds, and is ended there. */
export const whileWaiting = (arena: Arena, name: string, signal: "SIGKILL" | "SIGTERM" | "SIGINT"): Promise<void> =>
  round(arena, name, async (seeds) => {
    const { query, tally, url } = arena
    await query("SELECT pg_advisory_lock(1702063984)")
    const running = start(arena, seeds, url)
    await running.says("waits, 0 s so far")
    tally.kills++
    running.process.kill(signal)
    await running.result
    await query("SELECT pg_advisory_unlock(1702063984)")
    return [running]
  })

/** When a process of a crowd is ended, in milliseconds after its start, and how. */
export interface End {
  readonly after: number
  readonly signal: "SIGKILL" | "SIGTERM" | "SIGINT"
}

/** A crowd of processes, each of which is ended at an instant of its own. */
export const crowd = (arena: Arena, name: string, ends: ReadonlyArray<End>): Promise<void> =>
  round(arena, name, async (seeds) => {
    const { tally, url } = arena
    const running = ends.map(() => start(arena, seeds, url))
    await Promise.all(
      running.map(
        ({ process: child, result }, n) =>
          new Promise<void>((resolve) => {
            const timer = setTimeout(() => {
              if (child.kill(ends[n]?.signal)) tally.kills++
              resolve()
            }, ends[n]?.after)
            void result.then(() => {
              clearTimeout(timer)
              resolve()
            })
          })
      )
    )
    return running
  })

/** So many processes at once, none of which is disturbed: nobody fails. */
export const undisturbed = (arena: Arena, name: string, size: number): Promise<void> =>
  round(arena, name, async (seeds) => {
    const running = Array.from({ length: size }, () => start(arena, seeds, arena.url))
    for (const { result } of running) {
      const { code, stderr } = await result
      if (code !== 0) throw new Error(`one of ${size} ended with ${code}:\n${stderr}`)
    }
    return running
  })

/** Numbers from 0 to 1 that follow from a seed (mulberry32), so that a run can be repeated. */
export const random = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
