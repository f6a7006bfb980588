/**
 * The least that a replica does, as an Effect program without us: lists, asks, imports everything, and runs each module in the transaction
 * of its marker, once it has the lock. Where another has it, it waits for half a second and asks what is left.
 */
import { SqlClient } from "@effect/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, ManagedRuntime, Redacted } from "effect"
import { once } from "node:events"
import { readdir } from "node:fs/promises"
import { basename, join } from "node:path"
import { argv, stdin } from "node:process"
import { pathToFileURL } from "node:url"

const [, , url = "", folder = ""] = argv
const app = ManagedRuntime.make(PgClient.layer({ url: Redacted.make(url), maxConnections: 2 }))

const one = (sql, id, body) =>
  sql.withTransaction(
    Effect.gen(function* () {
      const [lock] = yield* sql`SELECT pg_try_advisory_xact_lock(1702063984) AS taken`
      if (!lock.taken) return false
      const applied = yield* sql`SELECT 1 FROM kumiko_es_operations WHERE id = ${id}`
      if (applied.length > 0) return true
      yield* body
      yield* sql`INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by, notes)
        VALUES (${id}, 'seed-migration', 1, 'boot', 'by hand')`
      return true
    })
  )

const all = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const read = Effect.map(sql`SELECT id FROM kumiko_es_operations`, (rows) => new Set(rows.map(({ id }) => id)))
  const [names, applied] = yield* Effect.all([Effect.promise(() => readdir(folder)), read], { concurrency: 2 })
  const pending = names.sort().filter((name) => !applied.has(basename(name, ".mjs")))
  const seeds = yield* Effect.forEach(pending, (name) =>
    Effect.map(
      Effect.promise(() => import(pathToFileURL(join(folder, name)).href)),
      ({ default: seed }) => [basename(name, ".mjs"), Effect.promise(() => seed.run())]
    )
  )
  let left = seeds
  while (left.length > 0) {
    const [[id, body], ...others] = left
    if (yield* one(sql, id, body)) left = others
    else {
      yield* Effect.sleep(500)
      const done = yield* read
      left = left.filter(([id]) => !done.has(id))
    }
  }
})

await app.runPromise(Effect.void)
console.log("ready")
await once(stdin, "data")
await app.runPromise(all)
console.log("done")
stdin.destroy()
await app.dispose()
