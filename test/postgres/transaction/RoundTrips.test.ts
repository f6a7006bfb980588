/**
 * What travels between an application and its server: how often, and that what travels together is still one statement after another.
 */
import { SqlClient } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Ref } from "effect"
import { EsOps, Seed, SeedContext, SeedRunner, SeedsApplied } from "effect-es-ops"
import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { fresh, quiet, replaced, seed, tenant } from "../../support/Applying.js"
import * as CountingProxy from "../../support/CountingProxy.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

type Seeds = Readonly<Record<string, Seed.Seed<unknown, SqlClient.SqlClient>>>

/** An application behind a wire that counts; its pool is open. */
const counting = Effect.gen(function* () {
  const { url } = yield* TestDatabase
  const { hostname, port } = new URL(url)
  const proxy = yield* Effect.acquireRelease(
    Effect.promise(() => CountingProxy.start({ host: hostname, port: Number(port) })),
    ({ close }) => Effect.promise(close)
  )
  const through = new URL(url)
  through.port = `${proxy.port}`
  const client = yield* Layer.build(Database.clientOf(through.href))
  const counted = <A, E>(
    settings: { readonly seeds: Seeds | string; readonly lockTimeout?: number },
    run: Effect.Effect<A, E, SeedRunner.Requirements>
  ) =>
    Effect.gen(function* () {
      proxy.take()
      const answer = yield* run
      return { ...proxy.take(), answer }
    }).pipe(Effect.provide(Layer.provide(EsOps.layer(settings), Layer.succeedContext(client))))
  const applied = (seeds: Seeds | string) =>
    Effect.map(counted({ seeds }, SeedRunner.apply({ appliedBy: "boot" })), ({ answer, ...found }) => ({
      ...found,
      applied: answer.outcomes.length
    }))
  return Object.assign(applied, { counted })
})

const statement = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`)

/** Seeds of these names that are the same. */
const named = <S>(names: string, made: (name: string) => S): Readonly<Record<string, S>> =>
  Object.fromEntries([...names].map((name) => [name, made(name)]))

describe("the wire", () => {
  it.effect("carries one question of an idle boot, which imports no seed and reads no file", () =>
    Effect.gen(function* () {
      const applied = yield* counting
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "es-ops-idle-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const file = join(folder, "1.mjs")
      yield* Effect.promise(() => writeFile(file, `export default { description: "1", run: async () => {} }`))
      assert.strictEqual((yield* applied(folder)).applied, 1)
      // Whoever opens a pipe that nobody writes to waits for ever.
      yield* Effect.promise(() => rm(file))
      yield* Effect.promise(() => promisify(execFile)("mkfifo", [file]))
      assert.deepStrictEqual(yield* applied(folder), { roundTrips: 1, statements: 1, connections: 0, applied: 0 })
      for (const proof of [SeedsApplied.layerVerify, SeedsApplied.layerWait]) {
        const { answer, ...sent } = yield* applied.counted({ seeds: folder }, Effect.scoped(Layer.build(proof)))
        assert.strictEqual(Context.get(answer, SeedsApplied.SeedsApplied).by, "verified")
        assert.deepStrictEqual(sent, { roundTrips: 1, statements: 1, connections: 0 })
      }
    }).pipe(fresh)
  )

  it.effect("carries one question of an idle boot with many seeds too, and with a marker that no seed has", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      const applied = yield* counting
      yield* applied({ "0000": seed(statement) })
      yield* Effect.promise(() =>
        query(`INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by)
          SELECT lpad(n::text, 4, '0'), 'seed-migration', 1, 'boot' FROM generate_series(1, 1000) AS n`)
      )
      // Numbers come first in an object, whatever stands where.
      const ids = Array.from({ length: 1001 }, (_, n) => `${n}`.padStart(4, "0"))
      const seeds = (names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [name, seed(statement)]))
      const nothing = { statements: 1, connections: 0, applied: 0 }
      assert.deepStrictEqual(yield* applied(seeds(ids)), { ...nothing, roundTrips: 1 })
      // An orphan is nothing to do either.
      assert.deepStrictEqual(yield* applied(seeds(ids.slice(1))), { ...nothing, roundTrips: 1 })
      assert.strictEqual((yield* applied(seeds([...ids, "1001"]))).applied, 1)
      assert.strictEqual((yield* applied(seeds([...ids, "1001"]))).roundTrips, 1)
    }).pipe(fresh)
  )

  it.effect("carries one message for all the tables of a first start", () =>
    Effect.gen(function* () {
      const applied = yield* counting
      const first = yield* applied(named("a", () => seed(statement)))
      const second = yield* applied(named("ab", () => seed(statement)))
      // Both ask what is applied, and run a seed. The second asks for history and columns; the first whether there is any table, then whether
      // they are there by now, and has a transaction for them: BEGIN and a look, tables, claim, COMMIT.
      assert.strictEqual(first.roundTrips - second.roundTrips, 4)
    }).pipe(fresh)
  )

  it.effect("carries two messages for a seed besides those of its body", () =>
    Effect.gen(function* () {
      const applied = yield* counting
      yield* applied(named("a", () => seed(statement)))
      const one = yield* applied(named("ab", () => seed(statement)))
      const eleven = yield* applied(named("abcdefghijkl", () => seed(statement)))
      assert.deepStrictEqual([one.applied, eleven.applied], [1, 10])
      assert.strictEqual(eleven.roundTrips - one.roundTrips, 9 * 3)
      // BEGIN, seven settings, lock, marker, guard, savepoint; the body's one; search path, session user, role, constraints, guard, cursors,
      // temporary tables, marker, attempt, COMMIT. An older server has fewer settings.
      assert.isAtMost(eleven.statements - one.statements, 9 * 23)
      assert.strictEqual(eleven.connections, 0)
    }).pipe(fresh)
  )

  it.effect("carries three messages for a write through a handler with one projection: savepoint, event, row", () =>
    Effect.gen(function* () {
      const applied = yield* counting
      yield* applied({ a: seed(tenant("a")) })
      const one = yield* applied({ a: seed(tenant("a")), b: seed(tenant("b")) })
      const more = seed(Effect.forEach([..."cdefgh"], (key) => tenant(key)))
      const six = yield* applied({ a: seed(tenant("a")), b: seed(tenant("b")), c: more })
      assert.strictEqual(six.roundTrips - one.roundTrips, 5 * 3)
      assert.strictEqual(six.statements - one.statements, 5 * 4)
    }).pipe(fresh)
  )

  it.effect("carries one message for a thousand events, and one for their projection", () =>
    Effect.gen(function* () {
      const applied = yield* counting
      const all = (count: number, name: string) =>
        seed(
          SeedContext.systemWriteAll(
            "tenant:write:create",
            Array.from({ length: count }, (_, n) => ({ key: `${name}-${n}`, name: "n" }))
          )
        )
      yield* applied({ a: all(1, "a") })
      const one = yield* applied({ a: all(1, "a"), b: all(1000, "b") })
      const three = yield* applied({ a: all(1, "a"), b: all(1000, "b"), c: all(3000, "c") })
      assert.strictEqual(three.roundTrips - one.roundTrips, 2 * 2)
    }).pipe(fresh)
  )
})

describe("a claim that travels with its BEGIN", () => {
  it.live("carries one message each time that somebody who waits asks again", () =>
    Effect.gen(function* () {
      const { counted } = yield* counting
      const seeds = { a: seed(statement) }
      yield* counted({ seeds }, SeedRunner.apply({ appliedBy: "boot" }))
      const { connect } = yield* TestDatabase
      yield* Effect.promise(async () => (await connect()).query("SELECT pg_advisory_lock(1702063984)"))
      const waiting = (lockTimeout: number) =>
        Effect.gen(function* () {
          const attempts = yield* Ref.make(0)
          const observer = { ...quiet, waiting: () => Ref.update(attempts, (n) => n + 1) }
          const { answer, roundTrips } = yield* counted(
            { seeds: { ...seeds, b: seed(statement) }, lockTimeout },
            Effect.flip(SeedRunner.apply({ appliedBy: "boot", observer }))
          )
          assert.strictEqual(answer._tag, "LockTimeout")
          return { attempts: yield* Ref.get(attempts), roundTrips }
        })
      const [one, more] = [yield* waiting(0), yield* waiting(600)]
      assert.strictEqual(one.attempts, 1)
      assert.isAbove(more.attempts, 2)
      assert.strictEqual(more.roundTrips - one.roundTrips, more.attempts - one.attempts)
    }).pipe(fresh)
  )

  it.live("carries one message each time for whoever waits on an empty database, which is still one", () =>
    Effect.gen(function* () {
      const { counted } = yield* counting
      const { connect, query } = yield* TestDatabase
      yield* Effect.promise(async () => (await connect()).query("SELECT pg_advisory_lock(1702063984)"))
      const waiting = (lockTimeout: number) =>
        Effect.gen(function* () {
          const attempts = yield* Ref.make(0)
          const observer = { ...quiet, waiting: () => Ref.update(attempts, (n) => n + 1) }
          const apply = Effect.flip(SeedRunner.apply({ appliedBy: "boot", observer }))
          const { answer, roundTrips } = yield* counted({ seeds: { a: seed(statement) }, lockTimeout }, apply)
          assert.strictEqual(answer._tag, "LockTimeout")
          return { attempts: yield* Ref.get(attempts), roundTrips }
        })
      const [one, more] = [yield* waiting(0), yield* waiting(600)]
      // What is applied; whether there is any table; and the lock.
      assert.deepStrictEqual(one, { attempts: 1, roundTrips: 3 })
      assert.isAbove(more.attempts, 2)
      assert.strictEqual(more.roundTrips - one.roundTrips, more.attempts - one.attempts)
      const made = yield* Effect.promise(() => query("SELECT relname FROM pg_class WHERE relname ~ '^(es_ops|kumiko)'"))
      assert.deepStrictEqual(made, [])
    }).pipe(fresh)
  )

  it.live("carries two messages for a seed that was another's, and one for the next where the lock is held still", () =>
    Effect.gen(function* () {
      const { counted } = yield* counting
      const { connect, query } = yield* TestDatabase
      const seeds = named("abc", () => seed(statement))
      yield* counted({ seeds: { a: seeds["a"] ?? seed(statement) } }, SeedRunner.apply({ appliedBy: "boot" }))
      yield* Effect.promise(async () => (await connect()).query("SELECT pg_advisory_lock(1702063984)"))
      const markB = Effect.promise(() =>
        query(
          "INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) VALUES ('b', 'seed-migration', 1, 'boot')"
        )
      )
      const waiting = (lockTimeout: number, onFirst: Effect.Effect<unknown>) =>
        Effect.gen(function* () {
          const attempts: Array<string> = []
          const observer = {
            ...quiet,
            waiting: (id: string) => (attempts.push(id) === 1 ? Effect.asVoid(onFirst) : Effect.void)
          }
          const { answer, roundTrips } = yield* counted(
            { seeds, lockTimeout },
            Effect.flip(SeedRunner.apply({ appliedBy: "boot", observer }))
          )
          assert.strictEqual(answer._tag, "LockTimeout")
          return { attempts, roundTrips }
        })
      const one = yield* waiting(0, Effect.void)
      const both = yield* waiting(400, markB)
      assert.deepStrictEqual([one.attempts, both.attempts.slice(0, 2)], [["b"], ["b", "c"]])
      // Of b: an attempt as alone; a message that finds the marker, and one for what else there is.
      assert.strictEqual(both.roundTrips - one.roundTrips, 2 + both.attempts.length - 1)
    }).pipe(fresh)
  )

  /** Somebody who waits for the lock, with a pool of one, when another locks the table of the markers as well. */
  const waitingForTable = Effect.gen(function* () {
    const { connect } = yield* TestDatabase
    const apply = (names: string, observer = quiet) =>
      Effect.provide(
        SeedRunner.apply({ appliedBy: "boot", observer }),
        EsOps.layer({ seeds: named(names, () => seed(statement)) })
      )
    yield* apply("a")
    const holder = yield* Effect.promise(connect)
    yield* Effect.promise(() => holder.query("BEGIN; SELECT pg_advisory_xact_lock(1702063984)"))
    const [held, locked] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const waiting = () => Effect.zipRight(Deferred.succeed(held, void 0), Deferred.await(locked))
    const fiber = yield* Effect.fork(apply("ab", { ...quiet, waiting }))
    yield* Deferred.await(held)
    yield* Effect.promise(() => holder.query("LOCK TABLE kumiko_es_operations IN ACCESS EXCLUSIVE MODE"))
    yield* Deferred.succeed(locked, void 0)
    return { fiber, again: apply("ab"), release: Effect.promise(() => holder.query("COMMIT")) }
  })
  const standsIn = (text: string) =>
    Effect.flatMap(TestDatabase, ({ query }) =>
      Effect.repeat(
        Effect.promise(() =>
          query(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1",
            [`${text}%`]
          )
        ),
        { until: (rows) => rows.length > 0 }
      )
    )

  it.live("is left at once by whoever waits and is interrupted, with its connection", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      yield* Effect.gen(function* () {
        const { again, fiber, release } = yield* waitingForTable
        yield* standsIn("SELECT EXISTS")
        yield* Fiber.interrupt(fiber)
        // The one that stands in the statement is not the pool's any more.
        yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`)
        yield* release
        assert.strictEqual((yield* again).outcomes.length, 1)
      }).pipe(Effect.provide(Database.clientOf(url, { maxConnections: 1 })))
    }).pipe(fresh)
  )

  it.live("does not end a wait by the timeouts of the role, which are none of an attempt", () =>
    Effect.gen(function* () {
      const { query, url } = yield* TestDatabase
      yield* Effect.promise(() =>
        query("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout = 20', current_database()); END $$")
      )
      yield* Effect.gen(function* () {
        const { fiber, release } = yield* waitingForTable
        yield* standsIn("BEGIN")
        yield* release
        assert.strictEqual((yield* Fiber.join(fiber)).outcomes.length, 1)
      }).pipe(Effect.provide(Database.clientOf(url, { maxConnections: 1 })))
    }).pipe(fresh)
  )

  it.effect("sees the marker of whoever held the lock when its message was on the way", () =>
    Effect.gen(function* () {
      const { connect, query, url } = yield* TestDatabase
      let ran = 0
      const one = { one: seed(Effect.sync(() => ran++)) }
      const layerOver = (client: Layer.Layer<SqlClient.SqlClient>) => Layer.provide(EsOps.layer({ seeds: one }), client)
      const apply = SeedRunner.apply({ appliedBy: "boot" })
      const [holder, gate] = yield* Effect.promise(() => Promise.all([connect(), connect()]))
      // The tables are there, the marker is not.
      yield* Effect.provide(
        apply,
        Layer.provide(EsOps.layer({ seeds: { zero: seed(Effect.void) } }), Database.clientOf(url))
      )
      yield* Effect.promise(async () => {
        await gate.query("SELECT pg_advisory_lock(77)")
        await holder.query("BEGIN")
        await holder.query("SELECT pg_advisory_xact_lock(1702063984)")
        await holder.query(
          "INSERT INTO kumiko_es_operations (id, operation_type, duration_ms, applied_by) VALUES ('one', 'seed-migration', 1, 'boot')"
        )
      })
      // The server has the whole message, and stands in the very statement that tries the lock.
      const waiting = yield* Effect.fork(Effect.provide(apply, layerOver(stoppedInClaim(url))))
      yield* Effect.promise(async () => {
        while (
          (await query("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"))
            .length === 0
        );
        await holder.query("COMMIT")
        await gate.query("SELECT pg_advisory_unlock(77)")
      })
      const { outcomes } = yield* Fiber.join(waiting)
      assert.deepStrictEqual(outcomes, [{ _tag: "Raced", id: "one" }])
      assert.strictEqual(ran, 0)
    }).pipe(fresh)
  )
})

/** A client whose claims wait, when their snapshot is taken and before they try the lock, for the advisory lock 77. */
const stoppedInClaim = (url: string): Layer.Layer<SqlClient.SqlClient> =>
  Layer.map(Database.clientOf(url), (services) => {
    const client = Context.get(services, SqlClient.SqlClient)
    const stopped = (connection: Connection): Connection =>
      replaced(connection, "executeRaw", (text, params) =>
        connection.executeRaw(text.replace("SELECT pg_try_", "SELECT pg_advisory_xact_lock(77), pg_try_"), params)
      )
    return Context.make(SqlClient.SqlClient, replaced(client, "reserve", Effect.map(client.reserve, stopped)))
  })
