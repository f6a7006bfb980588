/**
 * Rebuilds on a cluster of real processes, of which some are killed, some come late, and some lose the database for a while. After each, every row has
 * to be what its events add up to, and every lane's work to be committed once.
 */
import { spawn } from "node:child_process"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Client } from "pg"
import type { FaultProxy, Outage } from "../support/FaultProxy.js"
import * as FaultProxies from "../support/FaultProxy.js"
import type { Running } from "../support/Project.js"
import { watch } from "../support/Project.js"
import { freePort } from "../support/TestServer.js"

/** What happened so far. */
export interface Tally {
  rounds: number
  kills: number
  outages: number
  /** Rows that are not what their events add up to. */
  wrong: number
  /** Rounds in which not every event was committed once. */
  uneven: number
  /** Rounds whose progress went back, or did not end with all events. */
  unsteady: number
}

/** A database with a cluster over it. The first runner reaches it through a wire that can fail. */
export interface Cluster {
  readonly url: string
  readonly client: Client
  readonly wire: FaultProxy
  readonly runners: Array<Running>
  readonly events: number
  readonly tally: Tally
}

const tenant = "00000000-0000-4000-8000-0000000000aa"

/** Opens a database whose event tables are there: `events` of them, 20 a stream. */
export const open = async (url: string, events: number): Promise<Cluster> => {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query("CREATE TABLE read_totals (id uuid PRIMARY KEY, total integer NOT NULL)")
  await client.query(
    `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
    SELECT md5((n / 20)::text)::uuid, 'counter', '${tenant}', n % 20 + 1, 'counter.added',
      jsonb_build_object('by', n % 7, 'kind', 'kind ' || n % 5), '{"userId":"x"}', 'x' FROM generate_series(0, ${events - 1}) AS n`
  )
  await client.query("ANALYZE kumiko_events")
  const { hostname, port } = new URL(url)
  const wire = await FaultProxies.start({ host: hostname, port: Number(port) })
  const tally = { rounds: 0, kills: 0, outages: 0, wrong: 0, uneven: 0, unsteady: 0 }
  return { url, client, wire, runners: [], events, tally }
}

/** Ends all of it. */
export const close = async ({ client, runners, wire }: Cluster): Promise<void> => {
  for (const runner of runners) runner.process.kill("SIGKILL")
  await Promise.all(runners.map(({ result }) => result))
  await wire.close()
  await client.end()
}

const program = (name: string): string => fileURLToPath(new URL(`./${name}.mjs`, import.meta.url))

/** Starts a runner; the first takes the wire that can fail. */
export const join = async ({ runners, url, wire }: Cluster): Promise<Running> => {
  const own = new URL(url)
  if (runners.length === 0) own.port = `${wire.port}`
  const runner = watch(spawn(process.execPath, [program("Runner"), own.href, `${await freePort()}`]))
  runners.push(runner)
  return runner
}

/** Kills a runner, and takes it out of the list. */
export const kill = async ({ runners, tally }: Cluster, runner: Running): Promise<void> => {
  runner.process.kill("SIGKILL")
  await runner.result
  runners.splice(runners.indexOf(runner), 1)
  tally.kills++
}

/** The first runner has no database for so long. */
export const outage = async ({ tally, wire }: Cluster, how: Outage, milliseconds: number): Promise<void> => {
  const mend = wire.fail(how)
  tally.outages++
  await pause(milliseconds)
  mend()
}

/** Rebuilds once, while `trouble` does what it does; answers with how long it took, in milliseconds. */
export const round = async (
  cluster: Cluster,
  lanes: number,
  trouble: (rebuilding: Running) => Promise<void>
): Promise<number> => {
  const { client, events, tally, url } = cluster
  await client.query("UPDATE read_totals SET total = total + 1000 WHERE random() < 0.3")
  await client.query("DELETE FROM read_totals WHERE random() < 0.1")
  const since = Date.now()
  const rebuilding = watch(spawn(process.execPath, [program("Rebuilder"), url, `${lanes}`]))
  const [{ code, stderr, stdout }] = await Promise.all([rebuilding.result, trouble(rebuilding)])
  if (code !== 0) throw new Error(`the rebuild ended with ${code}:\n${stderr}${stdout}`)
  tally.rounds++
  tally.wrong += await wrongRows(client)
  if (!(await isEven(cluster))) tally.uneven++
  if (!isSteady(stdout, events)) tally.unsteady++
  return Date.now() - since
}

const wrongRows = async (client: Client): Promise<number> => {
  const { rows } = await client.query<Record<string, unknown>>(
    `SELECT * FROM (SELECT aggregate_id AS id, sum((payload->>'by')::int)::int AS total FROM kumiko_events GROUP BY 1) s
      FULL JOIN read_totals r USING (id) WHERE s.total IS DISTINCT FROM r.total`
  )
  if (rows.length > 0) console.error(rows.slice(0, 3))
  return rows.length
}

/** What the lanes of the last run have committed is every event, once. */
const isEven = async ({ client, events }: Cluster): Promise<boolean> => {
  const { rows } = await client.query<{ lane: string; done: number; counted: number }>(
    `SELECT l.lane, l.done::int, (l.counters->>'events')::int AS counted FROM es_ops_run_lanes l
      WHERE l.run_id = (SELECT id FROM es_ops_runs ORDER BY started_at DESC LIMIT 1)`
  )
  const sum = rows.reduce((all, { done }) => all + done, 0)
  const is = sum === events && rows.every(({ counted, done }) => counted === done)
  if (!is) console.error(`${sum} of ${events}`, rows)
  return is
}

/** The run's progress is one number over all lanes, which only grows. */
const isSteady = (stdout: string, events: number): boolean => {
  const seen = [...stdout.matchAll(/"done":(\d+)/g)].map(([, done]) => Number(done))
  const is = seen.at(-1) === events && seen.every((done, at) => at === 0 || done >= (seen[at - 1] ?? 0))
  if (!is) console.error(`${seen.join(" ")} of ${events}`)
  return is
}
