/**
 * Counts what a reader of one way through the library has to walk through: files, functions entered, and changes from one file to another.
 *
 * npm run trace -- [--list] [--path]
 *
 * `--list` adds the files of each walk with their entries, `--path` the sequence of files. A missed target is exit code 1.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { SqlClient } from "@effect/sql"
import type { SeedContext as Context } from "effect-es-ops"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import process, { stdout } from "node:process"
import { parseArgs } from "node:util"
import { Client } from "pg"
import * as CommitProxy from "../CommitProxy.js"
import * as TestServer from "../TestServer.js"
import type { Entry } from "./Instrumented.js"
import * as Instrumented from "./Instrumented.js"

interface Walk {
  readonly name: string
  readonly targets: { readonly files?: number; readonly changes?: number }
  readonly entries: ReadonlyArray<Entry>
}

const { values } = parseArgs({
  options: { list: { type: "boolean", default: false }, path: { type: "boolean", default: false } }
})

const traced = await Instrumented.load()
const server = await TestServer.start()
const { EsOps, Seed, SeedContext, SeedRunner } = traced.library

const observer = {
  planned: () => Effect.void,
  waiting: () => Effect.void,
  started: () => Effect.void,
  outcome: () => Effect.void
}

/** A database with a table of the application's. */
const database = async (name: string): Promise<string> => {
  const { host, password, port, user } = server.address
  const url = new URL(`postgres://${user}:${password}@${host}:${port}/postgres`)
  await query(url.href, `CREATE DATABASE ${name}`)
  url.pathname = name
  await query(url.href, "CREATE TABLE things (name text)")
  return url.href
}

const query = async (connectionString: string, statement: string): Promise<void> => {
  const client = new Client({ connectionString })
  await client.connect()
  await client.query(statement).finally(() => client.end())
}

/** The application's client, connected. */
const connected = async (url: string) => {
  const client = ManagedRuntime.make(PgClient.layer({ url: Redacted.make(url), maxConnections: 4 }))
  await client.runPromise(Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`))
  return client
}

type Connected = Awaited<ReturnType<typeof connected>>
type Body = Effect.Effect<unknown, unknown, SqlClient.SqlClient | Context.SeedContext>

const applied = SeedRunner.apply({ appliedBy: "boot", observer }).pipe(Effect.either)

/** An application with these seeds over its client, before it applies them. */
const booted = async (client: Connected, bodies: Readonly<Record<string, Body>>) => {
  const seeds = Object.fromEntries(
    Object.entries(bodies).map(([id, run]) => [id, Seed.make({ description: "traced", run })])
  )
  const { context } = await client.runtime()
  const boot = ManagedRuntime.make(Layer.provideMerge(EsOps.layer({ seeds }), Layer.succeedContext(context)))
  await boot.runtime()
  return boot
}

/** A boot that has created the tables. */
const first = { "20260101-first": Effect.void }
const insert = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO things (name) VALUES ('a thing')`)
const tenant = (key: string) => SeedContext.systemWriteAs("tenant:write:create", { key, name: key })

/** What is entered in a whole run of these seeds; whether they were applied must be as expected. */
const wholeRun = async (client: Connected, bodies: Readonly<Record<string, Body>>, expected: "Left" | "Right") => {
  const boot = await booted(client, { ...first, ...bodies })
  traced.begin()
  const answer = await boot.runPromise(applied)
  const entries = traced.end()
  if (answer._tag !== expected) throw new Error("a walk ended otherwise than it should", { cause: answer })
  return entries
}

/** A walk over a database of its own, in which the tables are there. */
const walk = async (
  name: string,
  targets: Walk["targets"],
  entriesOf: (client: Connected, url: string) => Promise<ReadonlyArray<Entry>>
): Promise<Walk> => {
  const url = await database(name.replaceAll(" ", "_"))
  const client = await connected(url)
  try {
    await (await booted(client, first)).runPromise(applied)
    return { name, targets, entries: await entriesOf(client, url) }
  } finally {
    await client.dispose()
  }
}

const oneWrite = async (client: Connected) => {
  let entries: ReadonlyArray<Entry> = []
  const body = Effect.gen(function* () {
    yield* tenant("warm")
    traced.begin()
    yield* tenant("traced")
    entries = traced.end()
  })
  await (await booted(client, { ...first, "20260102-next": body })).runPromise(applied)
  return entries
}

const lostCommit = async (_: Connected, url: string) => {
  const proxy = await CommitProxy.start(server.address)
  const through = new URL(url)
  through.port = `${proxy.port}`
  const client = await connected(through.href)
  const body = Effect.tap(insert, () => Effect.sync(() => proxy.arm("after")))
  try {
    return await wholeRun(client, { "20260102-next": body }, "Right")
  } finally {
    await client.dispose()
    await proxy.close()
  }
}

const walks = async (): Promise<ReadonlyArray<Walk>> => [
  await walk("seed", { files: 30, changes: 120 }, (client) => wholeRun(client, { "20260102-next": insert }, "Right")),
  await walk("write", { files: 12 }, oneWrite),
  await walk("idle boot", {}, (client) => wholeRun(client, {}, "Right")),
  await walk("failed seed", { files: 35 }, (client) =>
    wholeRun(client, { "20260102-next": Effect.zipRight(insert, Effect.fail("no")) }, "Left")
  ),
  await walk("lost commit", { files: 35 }, lostCommit)
]

/** Each is counted once, however often it is entered. */
const functionsOf = (entries: ReadonlyArray<Entry>): number =>
  new Set(entries.map(({ file, name }) => `${file} ${name}`)).size

/** Consecutive entries in one file are one stay. */
const staysOf = (entries: ReadonlyArray<Entry>): ReadonlyArray<string> =>
  entries.map(({ file }) => file).filter((file, n, files) => file !== files[n - 1])

const countsOf = (entries: ReadonlyArray<Entry>): ReadonlyArray<readonly [string, number]> => {
  const counts = new Map<string, number>()
  for (const { file } of entries) counts.set(file, (counts.get(file) ?? 0) + 1)
  return [...counts].toSorted(([, a], [, b]) => b - a)
}

const met = (count: number, target: number | undefined): boolean => target === undefined || count <= target

const cell = (count: number, target: number | undefined): string =>
  target === undefined ? `${count}` : `${count} (${met(count, target) ? "at most" : "MISSED:"} ${target})`

const print = (all: ReadonlyArray<Walk>): boolean => {
  const lines = all.map(({ entries, name, targets }) => {
    const files = new Set(entries.map(({ file }) => file)).size
    const changes = staysOf(entries).length - 1
    const cells = [name, cell(files, targets.files), `${functionsOf(entries)}`, cell(changes, targets.changes)]
    return { cells, met: met(files, targets.files) && met(changes, targets.changes) }
  })
  const rows = [["walk", "files", "functions", "changes of file"], ...lines.map(({ cells }) => cells)]
  for (const row of rows)
    stdout.write(
      `${row
        .map((text) => text.padEnd(18))
        .join("")
        .trimEnd()}\n`
    )
  for (const { entries, name } of all) {
    if (values.list) {
      stdout.write(`\n${name}\n`)
      for (const [file, count] of countsOf(entries)) stdout.write(`${`${count}`.padStart(6)}  ${file}\n`)
    }
    if (values.path)
      stdout.write(
        `\n${name}\n${staysOf(entries)
          .map((file) => `  ${file}\n`)
          .join("")}`
      )
  }
  return lines.every((line) => line.met)
}

try {
  if (!print(await walks())) process.exitCode = 1
} finally {
  await traced.remove()
  await server.stop()
}
