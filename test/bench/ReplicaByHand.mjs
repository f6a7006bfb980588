/**
 * The least that a replica does, as an Effect program without us: lists, asks, imports everything, creates the tables by the statements of a
 * file, and runs each module in the transaction of its marker, once it has the lock. Where another has it, it waits for half a second and asks
 * what is left.
 */
import { SqlClient } from "@effect/sql"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, ManagedRuntime, Redacted } from "effect"
import { once } from "node:events"
import { readdir, readFile } from "node:fs/promises"
import { basename, join } from "node:path"
import { argv, stdin } from "node:process"
import { pathToFileURL } from "node:url"

const [, , url = "", folder = "", ddl = ""] = argv
const app = ManagedRuntime.make(PgClient.layer({ url: Redacted.make(url), maxConnections: 2 }))

const locked = (sql, work) =>
  sql.withTransaction(
    Effect.flatMap(sql`SELECT pg_try_advisory_xact_lock(1702063984) AS taken`, ([{ taken }]) =>
      taken ? work : Effect.succeed(false)
    )
  )

const tables = (sql) =>
  locked(
    sql,
    Effect.gen(function* () {
      const [{ missing }] = yield* sql`SELECT to_regclass('kumiko_es_operations') IS NULL AS missing`
      if (missing) yield* sql.unsafe(yield* Effect.promise(() => readFile(ddl, "utf8")))
      return true
    })
  )

const one = (sql, id, body) =>
  locked(
    sql,
    Effect.gen(function* () {
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
  const read = sql`SELECT id FROM kumiko_es_operations`.pipe(
    Effect.map((rows) => new Set(rows.map(({ id }) => id))),
    Effect.catchAll(({ cause }) => (cause.code === "42P01" ? Effect.succeed(new Set()) : Effect.fail(cause)))
  )
  const [names, applied] = yield* Effect.all([Effect.promise(() => readdir(folder)), read], { concurrency: 2 })
  const pending = names.sort().filter((name) => !applied.has(basename(name, ".mjs")))
  const seeds = yield* Effect.forEach(pending, (name) =>
    Effect.map(
      Effect.promise(() => import(pathToFileURL(join(folder, name)).href)),
      ({ default: seed }) => [basename(name, ".mjs"), Effect.promise(() => seed.run())]
    )
  )
  let left = seeds
  let isThere = applied.size > 0
  while (left.length > 0) {
    const [[id, body], ...others] = left
    if (!isThere && (yield* tables(sql))) isThere = true
    else if (isThere && (yield* one(sql, id, body))) left = others
    else {
      yield* Effect.sleep(500)
      const done = yield* read
      isThere ||= done.size > 0
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
