/**
 * Processes of the command that are killed where they stand: at a lock that is held against them.
 */
import assert from "node:assert/strict"
import { setTimeout as pause } from "node:timers/promises"
import { Client } from "pg"
import type { Running } from "./Project.js"

/** What is held, one after another, so that a process stops there, and the statement in which it waits. */
export type Point = ReadonlyArray<readonly [hold: string, statement: string]>

/** A connection whose end is no news. */
export const connected = async (url: string): Promise<Client> => {
  const client = new Client({ connectionString: url })
  client.on("error", () => undefined)
  await client.connect()
  return client
}

const waits = (statement: string) =>
  `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND query ~ '${statement}'`

/** A process is dead; what it had is for the next one to take at once. */
export const forgotten = (client: Client) =>
  client.query("UPDATE es_ops_runs SET lease_until = now() WHERE outcome = 'running'")

/** Starts a process, and kills it when it stands at a point. */
export const killAt = async (
  { client, url }: { readonly client: Client; readonly url: string },
  start: () => Running,
  point: Point
): Promise<void> => {
  const running = start()
  let held: Client | undefined
  for (const [hold, statement] of point) {
    const holder = await connected(url)
    await holder.query("BEGIN")
    await holder.query(hold)
    await held?.end()
    held = holder
    while ((await client.query(waits(statement))).rows.length === 0) {
      if (running.process.exitCode !== null)
        throw new Error(`it ended before it was killed at ${statement}:\n${(await running.result).stderr}`)
      await pause(5)
    }
  }
  running.process.kill("SIGKILL")
  assert.equal((await running.result).signal, "SIGKILL", point.at(-1)?.[1])
  await held?.end()
  await forgotten(client)
}

/** Starts a process, and kills it after so many milliseconds, if it is not done by then; answers with whether it was killed. */
export const killAfter = async (client: Client, start: () => Running, milliseconds: number): Promise<boolean> => {
  const running = start()
  await pause(milliseconds)
  running.process.kill("SIGKILL")
  const { signal } = await running.result
  await forgotten(client)
  return signal === "SIGKILL"
}
