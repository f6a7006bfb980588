/**
 * Moves back and forth by processes that are killed, under writers of both tenants. After them each acknowledged event has to be there once, as it
 * was written, and each stream on one tenant in versions without a gap.
 */
import assert from "node:assert/strict"
import { randomUUID } from "node:crypto"
import type { Client } from "pg"
import * as Kills from "../support/Kills.js"
import type { Project } from "../support/Project.js"
import * as MoveWriters from "./MoveWriters.js"

/** A database with streams that are written and moved. */
export interface Moves {
  readonly url: string
  readonly client: Client
  readonly project: Project
  readonly ids: ReadonlyArray<string>
  readonly tenants: readonly [from: string, to: string]
  /** Ends the writers; answers with what the server has acknowledged to them. */
  readonly stop: () => Promise<ReadonlyArray<string>>
}

/** What a move must leave as it is; a number that JavaScript cannot hold is among it. */
const written = `SELECT md5(string_agg(concat_ws('|', id, aggregate_id, aggregate_type, type, event_version, payload, metadata, created_at, created_by), E'\\n' ORDER BY id))
  FROM kumiko_events WHERE id <= $1`

const place = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, payload, metadata, created_by)
  SELECT unnest($1::uuid[]), 'order', $2, 1, 'order.placed', '{"cents": 12345678901234567890.10}', '{"userId": "u"}', 'u' RETURNING id`

/** Begins so many streams, and lets the writers begin. */
export const open = async (url: string, project: Project, streams: number): Promise<Moves> => {
  const client = await Kills.connected(url)
  await client.query((await project.runProcess(["schema"], { DATABASE_URL: url })).stdout)
  const ids = Array.from({ length: streams }, () => randomUUID())
  const tenants = [randomUUID(), randomUUID()] as const
  await client.query(place, [ids, tenants[0]])
  const over = new AbortController()
  const writers = MoveWriters.kinds.map(async ([isolation, insert]) => {
    const own = await Kills.connected(url)
    const acknowledged: Array<string> = []
    while (!over.signal.aborted) {
      const id = ids[Math.floor(Math.random() * ids.length)] ?? ""
      acknowledged.push(...(await MoveWriters.write(own, isolation, insert, id)))
    }
    await own.end()
    return acknowledged
  })
  const stop = async () => {
    over.abort()
    return (await Promise.all(writers)).flat()
  }
  return { url, client, project, ids, tenants, stop }
}

/** Where a process is killed: before its first batch, and with all of one behind it but the COMMIT. */
const beforeBatch = ["SELECT FROM es_ops_runs FOR NO KEY UPDATE", "UPDATE \\S*es_ops_runs.* r SET"] as const
export const points = {
  "when it waits for the events": [["LOCK TABLE kumiko_events IN SHARE MODE", "LOCK TABLE kumiko_events"]],
  "when its COMMIT is sent": [["LOCK TABLE kumiko_events IN SHARE MODE", "LOCK TABLE kumiko_events"], beforeBatch]
} as const

/** A process that moves all of them there, or back. */
const starting = async ({ ids, project, tenants, url }: Moves, back: boolean) => {
  const [from, to] = back ? tenants.toReversed() : tenants
  const lines = ids.map((aggregateId) => JSON.stringify({ aggregateId, from, to }))
  const plan = back ? "back.jsonl" : "there.jsonl"
  await project.write(plan, `${lines.join("\n")}\n`)
  const words = ["stream:move", "--plan", plan, "--merge", "--lock-timeout", "1m", "--json"]
  return () => project.start(words, { DATABASE_URL: url })
}

/** Moves all of them there, or back, by a process that is killed at a point or after so many milliseconds, and by one that goes on. */
export const round = async (moves: Moves, back: boolean, at: Kills.Point | number): Promise<boolean> => {
  const start = await starting(moves, back)
  const isKilled =
    typeof at === "number"
      ? await Kills.killAfter(moves.client, start, at)
      : await Kills.killAt(moves, start, at).then(() => true)
  const { code, stderr } = await start().result
  assert.equal(code, 0, stderr)
  return isKilled
}

/** The digest of the events up to this id, whichever tenant they are on. */
export const digest = async ({ client }: Moves, upTo: string): Promise<unknown> =>
  (await client.query<Record<string, unknown>>(written, [upTo])).rows[0]

/** The greatest id, with nothing under way below it that could still come: the writers are over. */
export const newest = async ({ client }: Moves): Promise<string> =>
  (await client.query<{ id: string }>("SELECT max(id)::text AS id FROM kumiko_events")).rows[0]?.id ?? "0"

/** Looks at what came of it, when the writers are over. */
export const look = async ({ client, ids }: Moves, tenant: string, acknowledged: ReadonlyArray<string>) => {
  const { rows } = await client.query<{ aggregate_id: string; tenant_id: string; version: number; n: string | null }>(
    "SELECT aggregate_id, tenant_id, version, payload->>'n' AS n FROM kumiko_events ORDER BY aggregate_id, version"
  )
  const found = rows.flatMap(({ n }) => n ?? [])
  const there = new Set(found)
  assert.equal(there.size, found.length, "an event is there twice")
  assert.deepEqual(
    acknowledged.filter((n) => !there.has(n)),
    [],
    "an acknowledged event is gone"
  )
  for (const id of ids) {
    const stream = rows.filter(({ aggregate_id }) => aggregate_id === id)
    assert.deepEqual(
      stream.map(({ tenant_id, version }) => [tenant_id, version]),
      stream.map((_, at) => [tenant, at + 1])
    )
  }
  return { events: rows.length, acknowledged: acknowledged.length }
}
