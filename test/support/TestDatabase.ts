/**
 * A database of its own for a suite, and ways into it beside the code under test.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import type { SqlClient } from "@effect/sql/SqlClient"
import { Context, Effect, Layer, Redacted } from "effect"
import { randomUUID } from "node:crypto"
import { Client } from "pg"
import { inject } from "vitest"

/** The URL of a fresh, empty database; dropped with the scope. */
export class TestDatabase extends Context.Tag("test/TestDatabase")<
  TestDatabase,
  {
    readonly url: string
    /** Runs a statement on a connection of its own. */
    readonly query: (text: string, params?: ReadonlyArray<unknown>) => Promise<ReadonlyArray<Record<string, unknown>>>
    /** A connection that stays open, for sessions that hold something. */
    readonly connect: () => Promise<Client>
  }
>() {}

const urlOf = (database: string, user?: string, password?: string): string => {
  const server = inject("postgres")
  const login = `${user ?? server.user}:${encodeURIComponent(password ?? server.password)}`
  return `postgres://${login}@${server.host}:${server.port}/${database}`
}

/** The server's URL for another user, password or database. */
export const url = urlOf

/** Advisory locks that somebody holds in this database: `pg_locks` shows those of all. */
export const advisoryLocks =
  "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"

const query = async (connectionString: string, text: string, params: ReadonlyArray<unknown> = []) => {
  const client = new Client({ connectionString })
  await client.connect()
  try {
    const { rows } = await client.query<Record<string, unknown>>(text, [...params])
    return rows
  } finally {
    await client.end()
  }
}

const make = Effect.gen(function* () {
  const name = `test_${randomUUID().replaceAll("-", "")}`
  const admin = urlOf("postgres")
  const open = new Set<Client>()
  yield* Effect.acquireRelease(
    Effect.promise(() => query(admin, `CREATE DATABASE ${name} ${inject("postgres").creating}`)),
    () =>
      Effect.promise(async () => {
        for (const client of open) await client.end().catch(() => undefined)
        await query(admin, `DROP DATABASE ${name} WITH (FORCE)`)
      })
  )
  const address = urlOf(name)
  return TestDatabase.of({
    url: address,
    query: (text, params) => query(address, text, params),
    connect: async () => {
      const client = new Client({ connectionString: address })
      client.on("error", () => undefined)
      await client.connect()
      open.add(client)
      return client
    }
  })
})

/** A fresh database. */
export const layer: Layer.Layer<TestDatabase> = Layer.scoped(TestDatabase, make)

/** An application's client on the database of this URL. */
export const clientOf = (
  url: string,
  config: Partial<PgClient.PgClientConfig> = {}
): Layer.Layer<PgClient.PgClient | SqlClient> =>
  PgClient.layer({ url: Redacted.make(url), maxConnections: 4, ...config }).pipe(Layer.orDie)

/** The application's client on it. */
export const client = (
  config: Partial<PgClient.PgClientConfig> = {}
): Layer.Layer<PgClient.PgClient | SqlClient, never, TestDatabase> =>
  Layer.unwrapEffect(Effect.map(TestDatabase, ({ url }) => clientOf(url, config)))
