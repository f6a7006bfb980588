/**
 * The server of a run, fresh databases on it, and programs of their own.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql/SqlClient"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime, Redacted } from "effect"
import type { Seed } from "effect-es-ops"
import { EsOps } from "effect-es-ops"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process, { execPath } from "node:process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Client } from "pg"
import * as TestServer from "../support/TestServer.js"

/** What the works are done on. */
export interface World {
  /** The URL of a fresh database. */
  readonly database: () => Promise<string>
  /** The URL of a copy of a database, which is filled when it is asked for first. */
  readonly copy: (name: string, fill: (url: string) => Promise<unknown>) => Promise<string>
}

/** A PostgreSQL 18 of its own, as durable as in production: its URL without a database. */
export const start = async () => {
  const server = await TestServer.start({ fsync: "on" })
  const { host, password, port, user } = server.address
  return { url: `postgres://${user}:${password}@${host}:${port}`, stop: server.stop }
}

/** Fresh databases on the server of this URL. */
export const on = (server: string): World => {
  let databases = 0
  const create = async (from: string) => {
    const name = `bench_${process.pid}_${databases++}`
    await admin(`CREATE DATABASE ${name} TEMPLATE ${from} STRATEGY file_copy`)
    return `${server}/${name}`
  }
  const admin = async (text: string) => {
    const client = await connected(`${server}/postgres`)
    const { rows } = await client.query<Record<string, unknown>>(text)
    await client.end()
    return rows
  }
  return {
    database: () => create("template1"),
    copy: async (name, fill) => {
      const found = await admin(`SELECT FROM pg_database WHERE datname = '${name}'`)
      if (found.length === 0) {
        await admin(`CREATE DATABASE ${name}`)
        await fill(`${server}/${name}`)
      }
      return create(name)
    }
  }
}

/** The bare driver. */
export const connected = async (url: string): Promise<Client> => {
  const client = new Client({ connectionString: url })
  // The server is stopped at the end, whoever is connected.
  client.on("error", () => undefined)
  await client.connect()
  return client
}

/** The messages that are sent by the driver meanwhile, with their parameters. */
export const sent = async (
  run: () => Promise<unknown>
): Promise<ReadonlyArray<readonly [text: string, params: Array<unknown>]>> => {
  const messages: Array<readonly [string, Array<unknown>]> = []
  const { query } = Client.prototype
  Client.prototype.query = function (this: Client, ...args: Array<unknown>) {
    const [text, params] = args
    if (typeof text === "string") messages.push([text, Array.isArray(params) ? params : []])
    return Reflect.apply(query, this, args)
  }
  await run()
  Client.prototype.query = query
  return messages
}

/** No log but errors. */
export const quiet = Logger.minimumLogLevel(LogLevel.Error)

/** The application's client. */
export const client = (url: string): Layer.Layer<PgClient.PgClient | SqlClient> =>
  Layer.orDie(PgClient.layer({ url: Redacted.make(url), maxConnections: 2 }))

/** Everything that applying these seeds needs. */
export const operations = (url: string, seeds: string | Readonly<Record<string, Seed.Seed<unknown, SqlClient>>>) =>
  Layer.orDie(EsOps.layer({ seeds })).pipe(Layer.provideMerge(client(url)))

/** An application that is up: its pool is open. */
export const application = (...[url, seeds]: Parameters<typeof operations>) =>
  ManagedRuntime.make(Layer.merge(operations(url, seeds), quiet))

export const selectOne = Effect.flatMap(SqlClient, (sql) => sql`SELECT 1`)

/** The same without its warnings. */
export const quietly = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provide(effect, quiet)

/** A folder with these files, removed with `remove`. */
export const folder = async (files: Readonly<Record<string, string>>) =>
  filled(await mkdtemp(join(tmpdir(), "es-ops-bench-")), files)

export const filled = async (path: string, files: Readonly<Record<string, string>>) => {
  await mkdir(path, { recursive: true })
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text)
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

/** The names of so many seeds, in their order. */
export const ids = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, n) => `2026-01-01-seed-${`${n}`.padStart(6, "0")}`)

/** A program of this folder, in a process of its own: it says lines, and is told to go on by one. */
export const program = (name: string, args: ReadonlyArray<string>) => {
  const path = fileURLToPath(new URL(name, import.meta.url))
  const child = spawn(execPath, [path, ...args], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ended = once(child, "close").then(([code]) => {
    if (code !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${String(code)}`)
  })
  return {
    next: async (): Promise<string> => {
      const { value } = await lines.next()
      return typeof value === "string" ? value : await ended.then(() => "", Promise.reject)
    },
    go: () => child.stdin.write("\n"),
    /** Tells it that there is no more to do. */
    end: async () => {
      child.stdin.end()
      await ended
    },
    ended
  }
}

/** Runs a program to its end, its output thrown away. */
export const ran = async (
  file: string,
  args: ReadonlyArray<string>,
  options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }
): Promise<void> => {
  const child = spawn(execPath, [file, ...args], { ...options, stdio: ["ignore", "ignore", "ignore"] })
  const [code] = await once(child, "close")
  if (code !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${String(code)}`)
}
