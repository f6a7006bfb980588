/**
 * What writes cost: one through a handler, many one by one, many at once.
 */
import { SqlClient } from "@effect/sql"
import { Effect, Layer, ManagedRuntime } from "effect"
import { Seed, SeedContext } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import type { Side, Work } from "./Rounds.js"
import { measured } from "./Rounds.js"
import { applied, arena, check, lock, marker } from "./SeedWorks.js"
import type { World } from "./World.js"
import * as Worlds from "./World.js"

const attempt = `INSERT INTO es_ops_attempts (operation_id, operation_type, attempt, outcome, started_at, ended_at, duration_ms, waited_ms, applied_by, host, pid)
  VALUES ($1, 'seed-migration', 1, 'applied', now(), now(), 1, 0, 'boot', 'host', 1)`
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

export const oneWrite = (world: World) => async () => {
  const made = await arena(world)
  const times = 1_000
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

export const singleWrites = (world: World) => async () => {
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

/** The same statements as an Effect program over the application's client: what is left without us, and with Effect. */
const singleWritesAsEffect = (world: World) => async () => {
  const { close, floor } = await singleWrites(world)()
  const made = await arena(world)
  const payloads = writes(1_000)
  const app = ManagedRuntime.make(Layer.merge(Worlds.client(made.url), Worlds.quiet))
  const all = Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql.withTransaction(
      Effect.forEach(
        payloads,
        ({ id, key, name }) =>
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql.unsafe(readVersion, [system, id])
              yield* sql.unsafe(insertEvent, eventOf(system, id, key))
              yield* sql.unsafe(insertTenant, [id, name, key])
            })
          ),
        { discard: true }
      )
    )
  )
  return {
    floor,
    ours: { prepare: made.prepare, run: () => app.runPromise(all) },
    close: () => Promise.all([close(), app.dispose(), made.bare.end()])
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
    name: "write",
    work: "1,000 seeds, each one write with an inline projection",
    floor: "the same statements in a transaction, 1,000 times",
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
  },
  {
    name: "single-writes-effect",
    work: "the same statements as an Effect program, without us",
    floor: "the same round trips by hand",
    open: singleWritesAsEffect(world)
  }
]
