/**
 * Statements that end by themselves while their cancellation still waits for a connection of the pool: it comes too late then, and must not hit
 * whoever has the connection next.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { EsOps, Operation, OperationLock, Transactor } from "effect-es-ops"
import { setImmediate } from "node:timers/promises"
import { fresh } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

type Services = OperationLock.OperationLock | SqlClient.SqlClient | Transactor.Transactor

const id = Operation.OperationId.make("one")

/** A step that only claims. */
const claiming = Effect.gen(function* () {
  const transactor = yield* Transactor.Transactor
  const lock = yield* OperationLock.OperationLock
  return yield* Transactor.run(transactor, lock.claim(id), id)
})

/** A body in a session of its own that waits for the table. */
const inSession = Effect.gen(function* () {
  const transactor = yield* Transactor.Transactor
  const waiting = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT FROM kumiko_es_operations`)
  return yield* transactor.session(waiting, id)
})

describe("a statement that is interrupted, and ends before its cancellation has a connection", () => {
  const works: ReadonlyArray<readonly [name: string, work: Effect.Effect<unknown, unknown, Services>]> = [
    ["of a step", claiming],
    ["of a session", inSession]
  ]
  for (const [name, work] of works)
    it.live(`${name} takes no statement of the application with it`, () =>
      Effect.gen(function* () {
        const { connect, query, url } = yield* TestDatabase
        const client = Database.clientOf(url, { maxConnections: 2 })
        const services = yield* Layer.build(Layer.provideMerge(EsOps.layer({ seeds: {} }), client))
        yield* Effect.provide(claiming, services)
        const sql = Context.get(services, SqlClient.SqlClient)
        const waitsFor = (locktype: string) =>
          Effect.repeat(
            Effect.promise(() =>
              query(`SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                WHERE l.locktype = '${locktype}' AND NOT l.granted AND a.datname = current_database()`)
            ),
            { until: (found) => found.length > 0 }
          )
        const [locker, holder] = yield* Effect.promise(() => Promise.all([connect(), connect()]))
        yield* Effect.promise(async () => {
          await locker.query("BEGIN; LOCK TABLE kumiko_es_operations IN ACCESS EXCLUSIVE MODE")
          await holder.query("SELECT pg_advisory_lock(42)")
        })
        // The other connection of the pool is taken, and a statement of the application waits for one before any cancellation does.
        const left = yield* Effect.fork(Effect.provide(work, services))
        yield* waitsFor("relation")
        const taken = yield* Scope.make()
        yield* Scope.extend(sql.reserve, taken)
        const innocent = yield* Effect.fork(sql`SELECT pg_advisory_lock(42)`)
        const turns = Effect.repeatN(
          Effect.promise(() => setImmediate()),
          20
        )
        yield* turns
        const leaving = yield* Effect.fork(Fiber.interrupt(left))
        yield* turns
        yield* Effect.promise(() => locker.query("COMMIT"))
        yield* Fiber.join(leaving)
        yield* Effect.promise(() => query("SELECT 1"))
        yield* Scope.close(taken, Exit.void)
        yield* Effect.raceFirst(waitsFor("advisory"), Fiber.join(innocent))
        // Whatever is to be cancelled is cancelled before this is answered.
        yield* Effect.promise(() => Effect.runPromise(sql`SELECT 'behind it'`))
        yield* Effect.promise(() => holder.query("SELECT pg_advisory_unlock(42)"))
        assert.lengthOf(yield* Fiber.join(innocent), 1)
      }).pipe(fresh)
    )
})
