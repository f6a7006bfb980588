/**
 * What seeds cost: the protocol around a body, a write through a handler, many events.
 */
import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Seed, SeedContext, SeedRunner } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { Client } from "pg"
import type { Side, Work } from "./Rounds.js"
import { measured } from "./Rounds.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const seeds = 1_000
const lock = "SELECT pg_try_advisory_xact_lock(1702063984)"
const check = "SELECT 1 FROM kumiko_es_operations WHERE id = $1"
const marker =
  "INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by, notes) VALUES ($1, 'seed-migration', 1, 'boot', 'by hand')"
const attempt = `INSERT INTO es_ops_attempts (operation_id, operation_type, attempt, outcome, started_at, ended_at, duration_ms, waited_ms, applied_by, host, pid)
  VALUES ($1, 'seed-migration', 1, 'applied', now(), now(), 1, 0, 'boot', 'host', 1)`
const empty = "TRUNCATE bench, kumiko_es_operations, es_ops_attempts, kumiko_events, read_tenants, read_users"

/** A database with all tables, and a way to empty them. */
const arena = async (world: World) => {
  const url = await world.database()
  const bare = await Worlds.connected(url)
  await bare.query("CREATE TABLE bench (n integer)")
  const first = Worlds.application(url, { first: Seed.make({ description: "the tables", run: Effect.void }) })
  await first.runPromise(SeedRunner.apply({ appliedBy: "boot" }))
  await first.dispose()
  return { url, bare, prepare: () => bare.query(empty) }
}

/** All of these seeds, applied by an application that is up. */
const applied = (
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
const inserts = (world: World, floor: (bare: Client, id: string) => Promise<unknown>) => async () => {
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
  const messages: Array<readonly [string, Array<unknown>]> = []
  const { query } = Client.prototype
  Client.prototype.query = function (this: Client, ...args: Array<unknown>) {
    const [text, params] = args
    if (typeof text === "string") messages.push([text, Array.isArray(params) ? params : []])
    return Reflect.apply(query, this, args)
  }
  await ours.ours.prepare?.()
  await ours.ours.run()
  Client.prototype.query = query
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

const insertOne = (bare: Client) => bare.query("INSERT INTO bench (n) VALUES ($1)", [1])

const byHand = async (bare: Client, id: string) => {
  await bare.query("BEGIN")
  await bare.query(lock)
  await bare.query(check, [id])
  await insertOne(bare)
  await bare.query(marker, [id])
  await bare.query("COMMIT")
}

const eventOf = (tenant: string, id: string, key: string) => [
  id,
  tenant,
  JSON.stringify({ key, name: key, id }),
  JSON.stringify({ userId: "user", correlationId: id, headers: { operationId: "by-hand" } })
]
const insertEvent = `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload, metadata, created_by)
  VALUES ($1, 'tenant', $2, 1, 'tenant.created', 1, $3, $4, 'user') RETURNING id, created_at`
const readVersion = "SELECT max(version) FROM kumiko_events WHERE tenant_id = $1 AND aggregate_id = $2"
const insertTenant = "INSERT INTO read_tenants (id, name, key) VALUES ($1, $2, $3) RETURNING id"
const system = "00000000-0000-4000-8000-000000000001"

const writes = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: randomUUID(), key: `tenant-${n}`, name: `tenant ${n}` }))

const oneWrite = (world: World) => async () => {
  const made = await arena(world)
  const times = 200
  const payloads = writes(times)
  const ids = Worlds.ids(times)
  const ours = applied(
    made,
    Object.fromEntries(
      ids.map((id, n) => [
        id,
        Seed.make({ description: "one write", run: SeedContext.systemWriteAs("tenant:write:create", payloads[n]) })
      ])
    )
  )
  const { bare } = made
  return {
    floor: {
      prepare: made.prepare,
      run: async () => {
        for (const [n, { id, key, name }] of payloads.entries()) {
          await bare.query("BEGIN")
          await bare.query(lock)
          await bare.query(check, [ids[n]])
          await bare.query(readVersion, [system, id])
          await bare.query(insertEvent, eventOf(system, id, key))
          await bare.query(insertTenant, [id, name, key])
          await bare.query(marker, [ids[n]])
          await bare.query(attempt, [ids[n]])
          await bare.query("COMMIT")
        }
      }
    },
    ours: ours.side,
    close: async () => {
      await ours.close()
      await bare.end()
    }
  }
}

const manyEvents = (world: World, count: number) => async () => {
  const made = await arena(world)
  const payloads = writes(count)
  const ours = applied(made, {
    many: Seed.make({ description: "many", run: SeedContext.systemWriteAll("user:write:create", payloads.map(userOf)) })
  })
  const { bare } = made
  return {
    floor: {
      prepare: made.prepare,
      run: async () => {
        await bare.query("BEGIN")
        for (let from = 0; from < count; from += 1000) {
          const rows = payloads.slice(from, from + 1000).map(({ id, key }) => eventOf(system, id, key))
          const values = rows.map(
            (_, n) =>
              `($${n * 4 + 1}, 'tenant', $${n * 4 + 2}, 1, 'tenant.created', 1, $${n * 4 + 3}, $${n * 4 + 4}, 'user')`
          )
          await bare.query(
            `INSERT INTO kumiko_events (aggregate_id, aggregate_type, tenant_id, version, type, event_version, payload, metadata, created_by)
              VALUES ${values.join(", ")}`,
            rows.flat()
          )
        }
        await bare.query("COMMIT")
      }
    },
    ours: ours.side,
    close: async () => {
      await ours.close()
      await bare.end()
    }
  }
}

const userOf = ({ id, key }: { readonly id: string; readonly key: string }) => ({
  id,
  email: `${key}@example.com`,
  tenantId: system
})

const singleWrites = (world: World) => async () => {
  const made = await arena(world)
  const count = 1_000
  const payloads = writes(count)
  const ours = applied(made, {
    single: Seed.make({
      description: "single writes",
      run: Effect.forEach(payloads, (payload) => SeedContext.systemWriteAs("tenant:write:create", payload), {
        discard: true
      })
    })
  })
  const { bare } = made
  return {
    floor: {
      prepare: made.prepare,
      run: async () => {
        await bare.query("BEGIN")
        for (const { id, key, name } of payloads) {
          await bare.query("SAVEPOINT a")
          await bare.query(readVersion, [system, id])
          await bare.query(insertEvent, eventOf(system, id, key))
          await bare.query(insertTenant, [id, name, key])
          await bare.query("RELEASE SAVEPOINT a")
        }
        await bare.query("COMMIT")
      }
    },
    ours: ours.side,
    close: async () => {
      await ours.close()
      await bare.end()
    }
  }
}

/** The highest resident set of a process of its own that applies a seed of so many events. */
const peak = (world: World, events: number): Side => ({
  run: async () => {
    const child = Worlds.program("Events.mjs", [await world.database(), `${events}`])
    const said = await child.next()
    await child.ended
    return measured(Number(said))
  }
})

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
    name: "write",
    work: "200 seeds, each one write with an inline projection",
    floor: "the same statements in a transaction, 200 times",
    target: 1.5,
    open: oneWrite(world)
  },
  {
    name: "write-all",
    work: "one seed, 10,000 events by systemWriteAll",
    floor: "inserts of 1,000 events each",
    target: 3,
    open: manyEvents(world, 10_000)
  },
  {
    name: "memory",
    work: "peak memory, 100,000 events by systemWriteAll",
    floor: "the same with 10,000 events",
    target: 2,
    unit: "MiB",
    open: async () => ({ floor: peak(world, 10_000), ours: peak(world, 100_000), close: async () => undefined })
  },
  {
    name: "single-writes",
    work: "one seed, 1,000 events by single writes",
    floor: "the same round trips by hand",
    target: 1.3,
    open: singleWrites(world)
  }
]
