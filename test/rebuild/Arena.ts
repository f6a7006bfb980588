/**
 * Rebuilds beside programs that write in every way that programs do, and readers that count; after each, every row has to be what its events add
 * up to.
 */
import { spawn } from "node:child_process"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Client } from "pg"

export const modes = ["merge", "gradual", "swap"] as const
export type Mode = (typeof modes)[number]

export const projections = ["totals", "kinds", "entries", "hands"] as const
export type Projection = (typeof projections)[number]

/** What happened so far. */
export interface Tally {
  rounds: number
  kills: number
  wrong: number
  gaps: number
  writes: number
  mended: number
}

/** Numbers between 0 and 1, the same for the same seed. */
export const random = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const tenant = "00000000-0000-4000-8000-0000000000aa"
const streams = 40
/** Those of them that are archived now and then. */
const archivable = 12
const idOf = (n: number): string => `00000000-0000-4000-9000-${n.toString(16).padStart(12, "0")}`

/** Appends an event, at the version that follows on what was read, or on what is there. */
const append = (client: Client, id: string, by: number, kind: string, version?: number) =>
  client.query<{ id: string }>(
    `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
    SELECT $1::uuid, 'counter', $2::uuid,
      coalesce($4::int, (SELECT max(version) FROM kumiko_events WHERE aggregate_id = $1::uuid AND tenant_id = $2::uuid), 0) + 1, 'counter.added', $3::jsonb, '{"userId":"x"}', 'x'
    WHERE NOT EXISTS (SELECT FROM kumiko_archived_streams WHERE aggregate_id = $1::uuid AND tenant_id = $2::uuid) RETURNING id`,
    [id, tenant, JSON.stringify({ by, kind }), version ?? null]
  )

/** The ways of keeping a row in step with an event. `before` is what was read of it before the event. */
const kinds = ["delta", "for update", "unlocked", "repeatable read", "serializable", "stranger"] as const
type Kind = (typeof kinds)[number]

const begin: { readonly [kind in Kind]: string } = {
  delta: "BEGIN",
  "for update": "BEGIN",
  unlocked: "BEGIN",
  "repeatable read": "BEGIN ISOLATION LEVEL REPEATABLE READ",
  serializable: "BEGIN ISOLATION LEVEL SERIALIZABLE",
  stranger: "BEGIN"
}

/** Adds to a row whatever it is; loads, adds and stores would be wrong for a row that several streams share. */
const add = (client: Client, table: string, key: string, value: string, by: number) =>
  client.query(
    `INSERT INTO ${table} AS t (${key}, total) VALUES ($1, $2) ON CONFLICT (${key}) DO UPDATE SET total = t.total + EXCLUDED.total`,
    [value, by]
  )

/** A row, and the version of its stream, as one statement sees them. */
const read = async (client: Client, id: string) => {
  const { rows } = await client.query<{ version: number; total: number | null }>(
    `SELECT coalesce((SELECT max(version) FROM kumiko_events WHERE aggregate_id = $1), 0) AS version,
      (SELECT total FROM read_totals WHERE id = $1) AS total`,
    [id]
  )
  return rows[0]
}

const lock = async (client: Client, id: string): Promise<number | null> => {
  const { rows } = await client.query<{ total: number }>("SELECT total FROM read_totals WHERE id = $1 FOR UPDATE", [id])
  return rows[0]?.total ?? null
}

/** One write of one kind: event, pause, rows, and now and then a rollback. */
const write = async (client: Client, kind: Kind, next: () => number): Promise<boolean> => {
  // A snapshot does not see that a stream was archived: those that are stay out of its way.
  const isOld = kind === "repeatable read" || kind === "serializable"
  const id = idOf(isOld ? archivable + Math.floor(next() * (streams - archivable)) : Math.floor(next() * streams))
  const by = 1 + Math.floor(next() * 9)
  const name = `kind ${Math.floor(next() * 7)}`
  const wait = () => (next() < 0.5 ? Promise.resolve() : pause(next() * 30))
  await client.query(begin[kind])
  try {
    const isUnlocked = kind === "unlocked"
    const before = isUnlocked ? await read(client, id) : undefined
    // A stranger may come with a snapshot that it took long before its first write.
    if (kind === "repeatable read") await client.query("SELECT 1 FROM kumiko_archived_streams LIMIT 1")
    await wait()
    const { rows } = await append(client, id, by, name, before?.version)
    if (rows[0] === undefined) {
      await client.query("ROLLBACK")
      return false
    }
    await wait()
    if (kind === "for update" || isUnlocked) {
      const total = isUnlocked ? (before?.total ?? null) : await lock(client, id)
      if (total === null) await add(client, "read_totals", "id", id, by)
      else await client.query("UPDATE read_totals SET total = $2 WHERE id = $1", [id, total + by])
    } else await add(client, "read_totals", "id", id, by)
    await add(client, "read_kinds", "kind", name, by)
    await client.query("INSERT INTO read_entries (event_id, by) VALUES ($1, $2)", [rows[0].id, by])
    await add(client, "read_hands", "id", id, by)
    if (next() < 0.3) await wait()
    await client.query(next() < 0.2 ? "ROLLBACK" : "COMMIT")
    return true
  } catch {
    await client.query("ROLLBACK").catch(() => undefined)
    return false
  }
}

/** Archives and restores streams, with their rows, as our own store does it. */
const archive = async (client: Client, next: () => number) => {
  const id = idOf(Math.floor(next() * archivable))
  await client.query("BEGIN")
  try {
    const { rowCount } = await client.query(
      "DELETE FROM kumiko_archived_streams WHERE aggregate_id = $1 AND tenant_id = $2",
      [id, tenant]
    )
    if ((rowCount ?? 0) > 0) {
      await client.query("SELECT 1 FROM read_totals WHERE id = $1 FOR UPDATE", [id])
      await client.query(
        `INSERT INTO read_totals (id, total) SELECT aggregate_id, sum((payload->>'by')::int) FROM kumiko_events WHERE aggregate_id = $1 GROUP BY 1
          ON CONFLICT (id) DO UPDATE SET total = EXCLUDED.total`,
        [id]
      )
    } else {
      await client.query("LOCK TABLE kumiko_events IN SHARE ROW EXCLUSIVE MODE")
      await client.query(
        "INSERT INTO kumiko_archived_streams (tenant_id, aggregate_id, aggregate_type, archived_by) VALUES ($1, $2, 'counter', 'x')",
        [tenant, id]
      )
      await client.query("DELETE FROM read_totals WHERE id = $1", [id])
    }
    await client.query("COMMIT")
  } catch {
    await client.query("ROLLBACK").catch(() => undefined)
  }
}

/** A database with all that goes on in it. */
export interface Arena {
  readonly url: string
  readonly client: Client
  readonly tally: Tally
  readonly next: () => number
}

/** The tables of the projections, as the layers make them. */
const tables = [
  "CREATE TABLE IF NOT EXISTS read_totals (id uuid PRIMARY KEY, total integer NOT NULL)",
  "CREATE TABLE IF NOT EXISTS read_kinds (kind text PRIMARY KEY, total integer NOT NULL)",
  "CREATE TABLE IF NOT EXISTS read_entries (event_id bigint PRIMARY KEY, by integer NOT NULL)",
  "CREATE TABLE IF NOT EXISTS read_hands (id uuid PRIMARY KEY, total integer NOT NULL)"
]

/** Nothing happened so far. */
export const nothing = (): Tally => ({ rounds: 0, kills: 0, wrong: 0, gaps: 0, writes: 0, mended: 0 })

/** Opens a database whose event tables are there. What happens in it is added to `tally`. */
export const open = async (url: string, seed: number, tally = nothing()): Promise<Arena> => {
  const client = await connect(url)
  for (const table of tables) await client.query(table)
  return { url, client, tally, next: random(seed) }
}

const connect = async (url: string): Promise<Client> => {
  const client = new Client({ connectionString: url })
  client.on("error", () => undefined)
  await client.connect()
  return client
}

/** What is not what the events add up to. */
const wrong: { readonly [projection in Projection]: string } = {
  totals: `SELECT * FROM (SELECT e.aggregate_id AS id, sum((e.payload->>'by')::int)::int AS total FROM kumiko_events e WHERE NOT EXISTS
      (SELECT FROM kumiko_archived_streams a WHERE a.aggregate_id = e.aggregate_id) GROUP BY 1) s FULL JOIN read_totals r USING (id)
    WHERE s.total IS DISTINCT FROM r.total`,
  kinds: `SELECT * FROM (SELECT payload->>'kind' AS kind, sum((payload->>'by')::int)::int AS total FROM kumiko_events GROUP BY 1) s
    FULL JOIN read_kinds r USING (kind) WHERE s.total IS DISTINCT FROM r.total`,
  entries: `SELECT * FROM (SELECT id AS event_id, (payload->>'by')::int AS by FROM kumiko_events) s
    FULL JOIN read_entries r USING (event_id) WHERE s.by IS DISTINCT FROM r.by`,
  hands: `SELECT * FROM (SELECT aggregate_id AS id, sum((payload->>'by')::int)::int AS total FROM kumiko_events GROUP BY 1) s
    FULL JOIN read_hands r USING (id) WHERE s.total IS DISTINCT FROM r.total`
}

/** What a rebuild has to put right: rows that are wrong, and rows that are missing. */
const damage: { readonly [projection in Projection]: ReadonlyArray<string> } = {
  totals: ["UPDATE read_totals SET total = total + 1000 WHERE random() < 0.3"],
  kinds: ["UPDATE read_kinds SET total = total - 7 WHERE random() < 0.5"],
  entries: ["UPDATE read_entries SET by = by + 1 WHERE random() < 0.1"],
  hands: ["UPDATE read_hands SET total = total + 3 WHERE random() < 0.3"]
}

const counted = {
  totals: "read_totals",
  kinds: "read_kinds",
  entries: "read_entries",
  hands: "read_hands"
} as const

/** Rebuilds once while everybody writes; `kills` times its process is killed, and begun again. */
export const round = async (arena: Arena, projection: Projection, mode: Mode, kills: number): Promise<void> => {
  const { client, next, tally, url } = arena
  const state = { isOver: false }
  const until = async (work: (own: Client) => Promise<void>) => {
    const own = await connect(url)
    while (!state.isOver) await work(own)
    await own.end()
  }
  const writers = kinds.map((kind) => {
    const own = random(Math.floor(next() * 1e9))
    return until(async (writer) => {
      if (await write(writer, kind, own)) tally.writes++
    })
  })
  const archiver = until(async (own) => {
    await archive(own, next)
    await pause(20 + next() * 50)
  })
  await pause(200)
  for (const statement of damage[projection]) await client.query(statement)
  let fewest = 0
  const reader = until(async (own) => {
    const { rows } = await own.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${counted[projection]}`)
    const n = rows[0]?.n ?? 0
    // Streams that are archived take their rows with them; nothing else does.
    if (n < fewest - (projection === "totals" ? streams : 0) || (n === 0 && fewest > 0)) tally.gaps++
    fewest = Math.max(fewest, n)
    await pause(5)
  })
  try {
    for (let n = 0; n < kills; n++) await rebuild(arena, projection, mode, 400 + next() * 1500)
    await rebuild(arena, projection, mode)
    await pause(100)
  } finally {
    state.isOver = true
    await Promise.all([...writers, archiver, reader])
  }
  const { rows } = await client.query(wrong[projection])
  tally.rounds++
  tally.wrong += rows.length
  if (rows.length > 0) console.error(projection, mode, rows.slice(0, 3))
}

const rebuilder = fileURLToPath(new URL("./Rebuilder.mjs", import.meta.url))

/** Runs a process that rebuilds; after `killAfter` milliseconds it is killed, and its lease is taken for over. */
const rebuild = async ({ client, tally, url }: Arena, projection: Projection, mode: Mode, killAfter?: number) => {
  const child = spawn(process.execPath, [rebuilder, url, projection, mode], { stdio: ["ignore", "pipe", "pipe"] })
  const output: Array<string> = []
  child.stdout.on("data", (data) => output.push(String(data)))
  child.stderr.on("data", (data) => output.push(String(data)))
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve))
  const killing =
    killAfter === undefined
      ? undefined
      : globalThis.setTimeout(() => {
          if (child.kill("SIGKILL")) tally.kills++
        }, killAfter)
  const code = await ended
  clearTimeout(killing)
  if (code === null)
    await client
      .query("UPDATE es_ops_runs SET lease_until = clock_timestamp() WHERE outcome = 'running'")
      .catch(() => undefined)
  else if (code !== 0) throw new Error(output.join(""))
  else tally.mended += Number(/"mended":(\d+)/.exec(output.join(""))?.[1] ?? 0)
}
