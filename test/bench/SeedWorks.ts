/**
 * What seeds cost: the protocol around a body.
 */
import { SqlClient } from "@effect/sql"
import { Effect, Layer, ManagedRuntime } from "effect"
import { Seed, SeedRunner } from "effect-es-ops"
import { Client } from "pg"
import type { Side, Work } from "./Rounds.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const seeds = 1_000
/** The statements of a step by hand. */
export const lock = "SELECT pg_try_advisory_xact_lock(1702063984)"
export const check = "SELECT 1 FROM kumiko_es_operations WHERE id = $1"
export const marker =
  "INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by, notes) VALUES ($1, 'seed-migration', 1, 'boot', 'by hand')"
const empty = "TRUNCATE bench, kumiko_es_operations, es_ops_attempts, kumiko_events, read_tenants, read_users"

/** Our tables, as a first start makes them. */
export const createTables = async (url: string) => {
  const first = Worlds.application(url, { first: Seed.make({ description: "the tables", run: Effect.void }) })
  await first.runPromise(SeedRunner.apply({ appliedBy: "boot" }))
  await first.dispose()
}

/** A database with all tables, and a way to empty them. */
export const arena = async (world: World) => {
  const url = await world.database()
  const bare = await Worlds.connected(url)
  await bare.query("CREATE TABLE bench (n integer)")
  await createTables(url)
  return { url, bare, prepare: () => bare.query(empty) }
}

/** All of these seeds, applied by an application that is up. */
export const applied = (
  { prepare, url }: { readonly url: string; readonly prepare: () => Promise<unknown> },
  seeds: Readonly<Record<string, Seed.Seed<unknown, SqlClient.SqlClient>>>
) => {
  const app = Worlds.application(url, seeds)
  const side: Side = {
    prepare,
    run: async () => {
      const { outcomes } = await app.runPromise(SeedRunner.apply({ appliedBy: "boot" }))
      const count = outcomes.filter(({ _tag }) => _tag === "Applied").length
      if (count !== Object.keys(seeds).length) throw new Error(`${count} seeds were applied`)
    }
  }
  return { side, close: () => app.dispose() }
}

/** Ours are seeds whose body is one insert, one after another. */
export const inserts = (world: World, floor: (bare: Client, id: string) => Promise<unknown>) => async () => {
  const made = await arena(world)
  const insert = Seed.make({
    description: "one insert",
    run: Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO bench (n) VALUES (${1})`)
  })
  const ids = Worlds.ids(seeds)
  const ours = applied(made, Object.fromEntries(ids.map((id) => [id, insert])))
  return {
    floor: {
      prepare: made.prepare,
      run: async () => {
        for (const id of ids) await floor(made.bare, id)
      }
    },
    ours: ours.side,
    close: async () => {
      await ours.close()
      await made.bare.end()
    }
  }
}

/** The very messages that those seeds send, sent by the bare driver: what is left without us, and with the protocol. */
const replayed = (world: World) => async () => {
  const made = await arena(world)
  const ours = await inserts(world, insertOne)()
  await ours.ours.prepare?.()
  const messages = await Worlds.sent(ours.ours.run)
  await ours.close()
  const sent = messages.slice(messages.findIndex(([text]) => text.startsWith("BEGIN")))
  return {
    floor: {
      prepare: made.prepare,
      run: async () => {
        for (let n = 0; n < seeds; n++) await insertOne(made.bare)
      }
    },
    ours: {
      prepare: made.prepare,
      run: async () => {
        for (const [text, params] of sent) await made.bare.query(text, params)
      }
    },
    close: () => made.bare.end()
  }
}

/** The statements of a step by hand, as an Effect program over the application's client: what is left without us, and with Effect. */
const asEffect = (world: World) => async () => {
  const made = await arena(world)
  const app = ManagedRuntime.make(Layer.merge(Worlds.client(made.url), Worlds.quiet))
  const ids = Worlds.ids(seeds)
  const all = Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.forEach(ids, (id) => effectByHand(sql, id, sql`INSERT INTO bench (n) VALUES (${1})`), { discard: true })
  )
  return {
    floor: {
      prepare: made.prepare,
      run: async () => {
        for (const id of ids) await byHand(made.bare, id)
      }
    },
    ours: { prepare: made.prepare, run: () => app.runPromise(all) },
    close: async () => {
      await app.dispose()
      await made.bare.end()
    }
  }
}

/** A step by hand as an Effect program. */
export const effectByHand = <A, E, R>(sql: SqlClient.SqlClient, id: string, body: Effect.Effect<A, E, R>) =>
  sql.withTransaction(
    Effect.gen(function* () {
      yield* sql.unsafe(lock)
      yield* sql.unsafe(check, [id])
      yield* body
      yield* sql.unsafe(marker, [id])
    })
  )

export const insertOne = (bare: Client) => bare.query("INSERT INTO bench (n) VALUES ($1)", [1])

export const byHand = async (bare: Client, id: string) => {
  await bare.query("BEGIN")
  await bare.query(lock)
  await bare.query(check, [id])
  await insertOne(bare)
  await bare.query(marker, [id])
  await bare.query("COMMIT")
}

export const works = (world: World): ReadonlyArray<Work> => [
  {
    name: "seed",
    work: "1,000 seeds, each one insert",
    floor: "1,000 inserts, each committed",
    target: 2.5,
    open: inserts(world, insertOne)
  },
  {
    name: "seed-messages",
    work: "the same messages, sent by the bare driver",
    floor: "1,000 inserts, each committed",
    open: replayed(world)
  },
  {
    name: "seed-by-hand",
    work: "1,000 seeds, each one insert",
    floor: "1,000 times BEGIN, lock, check, insert, marker, COMMIT",
    target: 1.1,
    open: inserts(world, byHand)
  },
  {
    name: "seed-effect",
    work: "the same statements as an Effect program, without us",
    floor: "1,000 times BEGIN, lock, check, insert, marker, COMMIT",
    open: asEffect(world)
  }
]
