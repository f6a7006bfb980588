/**
 * The finders while another session has locked a table that they read: each wait is told of, bounded, and names who is in the way.
 */
import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger } from "effect"
import {
  Directory,
  EsOps,
  EventStore,
  Identity,
  OperationError,
  ReadTables,
  Seed,
  SeedContext,
  SeedRunner
} from "effect-es-ops"
import type { Seeds } from "../../support/Applying.js"
import { fresh, quiet, seed, tenant } from "../../support/Applying.js"
import * as Database from "../../support/TestDatabase.js"
import { TestDatabase } from "../../support/TestDatabase.js"

const user = "00000000-0000-4000-8000-00000000abcd"

type Found<R> = Effect.Effect<unknown, OperationError.DatabaseError, R>

/** Each with the table that is locked, as a seed asks and as an application does. */
const finders: ReadonlyArray<
  readonly [name: string, table: string, Found<SeedContext.SeedContext>, Found<Directory.Directory>]
> = [
  ["findTenants", "read_tenants", SeedContext.findTenants, Effect.flatMap(Directory.Directory, (d) => d.findTenants)],
  [
    "findUserByEmail",
    "read_users",
    SeedContext.findUserByEmail("a@example.com"),
    Effect.flatMap(Directory.Directory, (d) => d.findUserByEmail("a@example.com"))
  ],
  [
    "findMembershipsOfUser",
    "read_tenant_memberships",
    SeedContext.findMembershipsOfUser(user),
    Effect.flatMap(Directory.Directory, (d) => d.findMembershipsOfUser(user))
  ],
  [
    "findMembershipsOfUser, for the first events,",
    "kumiko_events",
    SeedContext.findMembershipsOfUser(user),
    Effect.flatMap(Directory.Directory, (d) => d.findMembership({ userId: user, tenantId: user }))
  ]
]

const outside = <E, R>(run: Effect.Effect<unknown, E, R>) =>
  Seed.make({ description: "", transaction: "none", idempotent: true, run })

const inOwnTransaction = <A, E, R>(run: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(run))

const layerOf = (url: string, seeds: Seeds) =>
  EsOps.layer({ seeds, lockTimeout: "700 millis" }).pipe(Layer.provideMerge(Database.clientOf(url)))

/** Runs a body while a session holds this table, with what it logged; `free` lets the table go. */
const whileLocked = <A, E, R>(table: string, body: (free: Effect.Effect<unknown>) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { connect, url } = yield* TestDatabase
    yield* Effect.provide(
      SeedRunner.apply({ appliedBy: "boot", observer: quiet }),
      layerOf(url, { "0": seed(tenant("one")) })
    )
    const logged: Array<string> = []
    const logger = Logger.replace(
      Logger.defaultLogger,
      Logger.make(({ message }) => void logged.push(String(message)))
    )
    const holder = yield* Effect.promise(() => connect())
    const { rows } = yield* Effect.promise(() => holder.query<{ pid: number }>("SELECT pg_backend_pid() AS pid"))
    yield* Effect.promise(() => holder.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`))
    const result = yield* body(Effect.promise(() => holder.query("COMMIT"))).pipe(
      Effect.timeout("15 seconds"),
      Effect.provide(logger)
    )
    const expected = `the table ${table}, which is locked by server process ${rows[0]?.pid}`
    return {
      expected,
      logged: logged.join("\n"),
      result,
      told: `the table ${table} is locked by server process ${rows[0]?.pid}`
    }
  })

describe.concurrent("a finder of a seed whose read table is locked", () => {
  for (const [name, table, find] of finders)
    for (const [kind, make] of [
      ["in a transaction", () => seed(find)],
      ["outside any transaction", () => outside(find)],
      ["outside any transaction, in one of its own,", () => outside(inOwnTransaction(find))]
    ] as const)
      it.live(`ends in time with LockTimeout: ${name} ${kind}`, () =>
        Effect.gen(function* () {
          const { url } = yield* TestDatabase
          const { expected, logged, result, told } = yield* whileLocked(table, () =>
            Effect.flip(
              Effect.provide(SeedRunner.apply({ appliedBy: "boot", observer: quiet }), layerOf(url, { "1": make() }))
            )
          )
          assert.strictEqual(result._tag, "LockTimeout", String(result))
          assert.deepInclude(result, { id: "1", table })
          assert.include(result.message, expected)
          assert.include(logged, told)
        }).pipe(fresh)
      )
})

describe.concurrent("a write of a seed outside any transaction whose read table is locked", () => {
  for (const [kind, run] of [
    ["alone", tenant("two")],
    ["in a transaction of the seed's own", inOwnTransaction(tenant("two"))]
  ] as const)
    it.live(`ends in time with LockTimeout: ${kind}`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestDatabase
        const { expected, result } = yield* whileLocked("read_tenants", () =>
          Effect.flip(
            Effect.provide(
              SeedRunner.apply({ appliedBy: "boot", observer: quiet }),
              layerOf(url, { "1": outside(run) })
            )
          )
        )
        assert.strictEqual(result._tag, "LockTimeout", String(result))
        assert.include(result.message, expected)
      }).pipe(fresh)
    )
})

describe.concurrent("a finder of an application whose read table is locked", () => {
  const stream = { tenantId: user, aggregateId: user }
  const readTenants = Effect.flatMap(ReadTables.ReadTables, (all) =>
    Effect.forEach(Identity.feature.tables.slice(0, 1), (table) => all.page(table, undefined, 1))
  )
  const neighbours: ReadonlyArray<
    readonly [name: string, table: string, Found<EventStore.EventStore | ReadTables.ReadTables>]
  > = [
    ["EventStore.load", "kumiko_events", Effect.flatMap(EventStore.EventStore, (store) => store.load(stream))],
    ["ReadTables.page", "read_tenants", readTenants]
  ]
  const asked: ReadonlyArray<
    readonly [name: string, table: string, Found<Directory.Directory | EventStore.EventStore | ReadTables.ReadTables>]
  > = [...finders.map(([name, table, , find]) => [name, table, find] as const), ...neighbours]
  for (const [name, table, find] of asked)
    it.live(`ends in time, and names who holds it: ${name}`, () =>
      Effect.gen(function* () {
        const { url } = yield* TestDatabase
        const { expected, logged, result, told } = yield* whileLocked(table, () =>
          Effect.provide(Effect.flip(find), layerOf(url, {}))
        )
        assert.strictEqual(result._tag, "DatabaseError")
        assert.include(String(result), expected)
        assert.include(logged, told)
      }).pipe(fresh)
    )

  it.live("tells of it in the application's own transaction, which is not ended for it", () =>
    Effect.gen(function* () {
      const { url } = yield* TestDatabase
      const { logged, result, told } = yield* whileLocked("read_tenants", (free) =>
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const found = yield* Effect.fork(
            sql.withTransaction(Effect.flatMap(Directory.Directory, (d) => d.findTenants))
          )
          // Longer than lockTimeout, by the server's own clock.
          yield* Effect.repeat(
            sql`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
              AND query LIKE '%read_tenants%' AND clock_timestamp() - query_start > interval '1200 milliseconds'`,
            { until: (rows) => rows.length > 0 }
          )
          yield* free
          return yield* Fiber.join(found)
        }).pipe(Effect.provide(layerOf(url, {})))
      )
      assert.deepStrictEqual(
        result.map(({ tenantKey }) => tenantKey),
        ["one"]
      )
      assert.include(logged, told)
    }).pipe(fresh)
  )
})
