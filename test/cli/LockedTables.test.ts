/**
 * Commands while another session has locked one of the tables: each wait is logged, bounded, and names who is in the way.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Redacted } from "effect"
import { EsOps, Identity, Seed, SeedRunner, SeedsApplied, WriteDispatcher } from "effect-es-ops"
import { quiet, seed } from "../support/Applying.js"
import { admin, bundled, database, decodeApply, decodeError, tenant, untilTrue } from "../support/Command.js"
import * as Projects from "../support/Project.js"

/** A database on which one seed is applied, and one is to be. */
const prepared = async (second = tenant("two")) => {
  const made = await database()
  const project = await bundled({ "seeds/1.mjs": tenant("one"), "seeds/2.mjs": second })
  const { code, stderr } = await project.run(["seed:apply", "--to", "1"], made.env)
  assert.strictEqual(code, 0, stderr)
  return { ...made, ...project }
}

const actor = {
  id: "00000000-0000-0000-0000-000000000000",
  tenantId: "00000000-0000-4000-8000-000000000000",
  roles: ["system"]
}

const short = ["--lock-timeout", "1s"]
const lock = (table: string, mode: string) => `BEGIN; LOCK TABLE ${table} IN ${mode} MODE`

describe("while the markers are locked", () => {
  // Nothing changes in it.
  let locked: Awaited<ReturnType<typeof prepared>>
  beforeAll(async () => {
    locked = await prepared()
  })

  it.each([
    ["seed:apply", "--json"],
    ["seed:apply", "--dry-run", "--json"],
    ["seed:status", "--json"],
    ["history", "--json"],
    ["seed:mark", "2", "--reason", "x", "--json"],
    ["seed:unmark", "1", "--reason", "x", "--json"],
    ["seed:rename", "1", "3", "--reason", "x", "--json"]
  ])("%s %s ends in time with LockTimeout, which names the holder", async (...words) => {
    const { env, query, run, url } = locked
    await admin(async (holder) => {
      const table = words[0] === "history" ? "es_ops_attempts" : "kumiko_es_operations"
      await holder.query(lock(table, "ACCESS EXCLUSIVE"))
      const [me] = (await holder.query<{ pid: number }>("SELECT pg_backend_pid() AS pid")).rows
      const from = Date.now()
      const { code, stderr, stdout } = await run(
        [...words, ...(words[0] === "seed:status" || words[0] === "history" ? [] : short)],
        { ...env, ES_OPS_LOCK_TIMEOUT: "1s" }
      )
      assert.strictEqual(code, 5, `${stderr}${stdout}`)
      assert.isBelow(Date.now() - from, 15_000)
      const error = words[0] === "seed:apply" ? decodeApply(stdout).failed?.error : decodeError(stdout).error
      assert.strictEqual(error?._tag, "LockTimeout")
      assert.include(error?.message, table)
      assert.include(error?.message, `server process ${me?.pid}`)
      assert.match(stderr, new RegExp(`waits, [012] s so far: the table ${table} is locked by server process`))
    }, url)
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [{ id: "1" }])
  })

  it.each(["kumiko_es_operations", "kumiko_events"])("doctor ends in time, and names who holds %s", async (table) => {
    const { env, run, url } = locked
    await admin(async (holder) => {
      await holder.query(lock(table, "ACCESS EXCLUSIVE"))
      const { code, stdout } = await run(["doctor"], { ...env, ES_OPS_LOCK_TIMEOUT: "1s" })
      assert.strictEqual(code, 6, stdout)
      assert.include(stdout, `the table ${table} is locked by server process`)
    }, url)
  })

  it("schema --diff ends in time, and names the holder", async () => {
    const { env, run, url } = locked
    await admin(async (holder) => {
      await holder.query(lock("kumiko_es_operations", "ACCESS EXCLUSIVE"))
      const { code, stderr } = await run(["schema", "--diff"], { ...env, ES_OPS_LOCK_TIMEOUT: "1s" })
      assert.strictEqual(code, 5, stderr)
      assert.match(stderr, /waited \d+ ms for the table kumiko_es_operations, which is locked by server process/)
    }, url)
  })

  it("an apply goes on when they are free", async () => {
    const { env, start, url } = await prepared()
    await admin(async (holder) => {
      await holder.query(lock("kumiko_es_operations", "ACCESS EXCLUSIVE"))
      const running = start(["seed:apply"], env)
      await running.says("is locked by server process")
      await holder.query("COMMIT")
      const { code, stderr } = await running.result
      assert.strictEqual(code, 0, stderr)
    }, url)
  })
})

describe("while a table is locked only for who writes", () => {
  it.each([
    ["kumiko_es_operations", "SHARE"],
    ["kumiko_es_operations", "EXCLUSIVE"],
    ["es_ops_attempts", "SHARE ROW EXCLUSIVE"]
  ])("%s in %s mode: the record of a seed is bounded, and nothing of it is kept", async (table, mode) => {
    const { env, query, run, url } = await prepared()
    await admin(async (holder) => {
      await holder.query(lock(table, mode))
      const { code, stderr, stdout } = await run(["seed:apply", "--json", ...short], env)
      assert.strictEqual(code, 5, `${stderr}${stdout}`)
      const { failed } = decodeApply(stdout)
      assert.deepStrictEqual([failed?.id, failed?.error._tag], ["2", "LockTimeout"])
      assert.include(failed?.error.message, table)
      assert.include(failed?.error.message, "server process")
      assert.match(stderr, new RegExp(`waits, [012] s so far: the table ${table} is locked by server process`))
    }, url)
    assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [{ id: "1" }])
    assert.deepStrictEqual(await query("SELECT key FROM read_tenants"), [{ key: "one" }])
    assert.strictEqual((await run(["seed:apply"], env)).code, 0)
  })

  it.each(["kumiko_events", "kumiko_archived_streams", "read_tenants"])(
    "%s: a write of a seed is bounded",
    async (table) => {
      const { env, query, run, url } = await prepared()
      await admin(async (holder) => {
        await holder.query(lock(table, "ACCESS EXCLUSIVE"))
        const { code, stderr, stdout } = await run(["seed:apply", "--json", ...short], env)
        assert.strictEqual(code, 5, `${stderr}${stdout}`)
        const { failed } = decodeApply(stdout)
        assert.deepStrictEqual([failed?.id, failed?.error._tag], ["2", "LockTimeout"])
        assert.include(failed?.error.message, table)
      }, url)
      assert.deepStrictEqual(await query("SELECT id FROM kumiko_es_operations"), [{ id: "1" }])
      assert.strictEqual((await run(["seed:apply"], env)).code, 0)
    }
  )
})

describe("while a table of another command is locked", () => {
  const stream = ["--id", actor.id, "--tenant", actor.tenantId]
  let locked: Awaited<ReturnType<typeof prepared>>
  let written: ReadonlyArray<string>
  beforeAll(async () => {
    locked = await prepared()
    const [row] = await locked.query("SELECT tenant_id::text AS tenant, aggregate_id::text AS id FROM kumiko_events")
    const { code, stderr } = await locked.run(["projection:rebuild", "read_tenants"], locked.env)
    assert.strictEqual(code, 0, stderr)
    written = ["--id", String(row?.["id"]), "--tenant", String(row?.["tenant"])]
  })

  it.each([
    ["kumiko_events", ["projection:status"]],
    ["kumiko_events", ["projection:diff", "read_tenants"]],
    ["read_tenants", ["projection:diff", "read_tenants"]],
    ["read_tenants", ["projection:rebuild", "read_tenants"]],
    ["kumiko_events", ["stream:archive", ...stream]],
    ["kumiko_archived_streams", ["stream:restore", ...stream]],
    ["read_tenants", ["stream:archive", "--dry-run"]],
    ["read_tenants", ["stream:archive"]],
    ["es_ops_runs", ["runs"]],
    ["es_ops_runs", ["runs:cancel", actor.tenantId]],
    ["es_ops_runs", ["projection:rebuild", "read_tenants"]]
  ])("%s: %j ends in time with LockTimeout, which names the holder", async (table, words) => {
    const { env, run, url } = locked
    const more = words[0] === "stream:archive" && !words.includes("--id") ? written : []
    await admin(async (holder) => {
      await holder.query(lock(table, "ACCESS EXCLUSIVE"))
      const { code, stderr, stdout } = await run([...words, ...more, "--json"], { ...env, ES_OPS_LOCK_TIMEOUT: "1s" })
      assert.strictEqual(code, 5, `${stderr}${stdout}`)
      assert.match(stderr, new RegExp(`${table}.* locked by server process`))
      assert.notInclude(stderr, "PartFailed")
      assert.notInclude(stderr, '{"')
    }, url)
  })

  it("doctor ends in time, and names who holds es_ops_runs", async () => {
    const { env, run, url } = locked
    await admin(async (holder) => {
      await holder.query(lock("es_ops_runs", "ACCESS EXCLUSIVE"))
      const { code, stdout } = await run(["doctor"], { ...env, ES_OPS_LOCK_TIMEOUT: "1s" })
      assert.strictEqual(code, 6, stdout)
      assert.include(stdout, "the table es_ops_runs is locked by server process")
    }, url)
  })
})

describe("a table that is locked once the seed is under way", () => {
  it("of the seed's own is waited for as long as it takes: lockTimeout is not about it", async () => {
    const { env, query, start, url } = await prepared(Projects.seedSource("yield* sql`INSERT INTO own VALUES (1)`"))
    await query("CREATE TABLE own (n integer)")
    await admin(async (holder) => {
      await holder.query(lock("own", "ACCESS EXCLUSIVE"))
      const running = start(["seed:apply", "--lock-timeout", "300ms"], env)
      // Three times as long as lockTimeout, by the server's own clock.
      await untilTrue(() =>
        query(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO own%'
          AND clock_timestamp() - query_start > interval '900 milliseconds'`)
      )
      await holder.query("COMMIT")
      const { code, stderr } = await running.result
      assert.strictEqual(code, 0, stderr)
    }, url)
    assert.deepStrictEqual(await query("SELECT n FROM own"), [{ n: 1 }])
  })
})

describe("the markers that are locked when a seed is claimed", () => {
  const layerOf = (url: string, maxConnections: number) =>
    EsOps.layer({ seeds: { "1": seed(Effect.void), "2": seed(Effect.void) }, lockTimeout: "750 millis" }).pipe(
      Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections }).pipe(Layer.orDie))
    )

  it.live.each([1, 3])("end the run with LockTimeout of the seed that waited, with a pool of %i", (connections) =>
    Effect.gen(function* () {
      const { query, url } = yield* Effect.promise(() => prepared())
      yield* Effect.promise(() =>
        admin(async (holder) => {
          const planned = () =>
            Effect.asVoid(Effect.promise(() => holder.query(lock("kumiko_es_operations", "ACCESS EXCLUSIVE"))))
          const exit = await Effect.runPromise(
            Effect.exit(
              Effect.provide(
                SeedRunner.apply({ appliedBy: "boot", observer: { ...quiet, planned } }),
                layerOf(url, connections)
              )
            )
          )
          const error = Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined
          assert.strictEqual(error?._tag, "LockTimeout", Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
          assert.strictEqual(error?._tag === "LockTimeout" ? error.id : "", "2")
          assert.include(error?.message, "the table kumiko_es_operations, which is locked by server process")
        }, url)
      )
      assert.deepStrictEqual(yield* Effect.promise(() => query("SELECT id FROM kumiko_es_operations")), [{ id: "1" }])
    })
  )

  it.live.each([
    ["when its marker is read again", "kumiko_es_operations", "ACCESS EXCLUSIVE", "planned"],
    ["when its attempt begins", "es_ops_attempts", "SHARE", "planned"],
    ["when it is recorded", "kumiko_es_operations", "SHARE", "body"]
  ] as const)("end a seed outside any transaction %s", ([, table, mode, at]) =>
    Effect.gen(function* () {
      const { url } = yield* Effect.promise(() => prepared())
      yield* Effect.promise(() =>
        admin(async (holder) => {
          const locking = Effect.asVoid(Effect.promise(() => holder.query(lock(table, mode))))
          const run = at === "body" ? locking : Effect.void
          const observer = at === "body" ? quiet : { ...quiet, planned: () => locking }
          const layer = EsOps.layer({
            seeds: {
              "1": seed(Effect.void),
              "2": Seed.make({ description: "", transaction: "none", idempotent: true, run })
            },
            lockTimeout: "750 millis"
          }).pipe(Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections: 3 }).pipe(Layer.orDie)))
          const error = await Effect.runPromise(
            Effect.flip(Effect.provide(SeedRunner.apply({ appliedBy: "boot", observer }), layer))
          )
          assert.deepInclude(error, { _tag: "LockTimeout", id: "2", table })
          assert.include(error.message, "server process")
        }, url)
      )
    })
  )

  it.live("end a write of a request", () =>
    Effect.gen(function* () {
      const { url } = yield* Effect.promise(() => prepared())
      yield* Effect.promise(() =>
        admin(async (holder) => {
          await holder.query(lock("kumiko_events", "ACCESS EXCLUSIVE"))
          const error = await Effect.runPromise(
            Effect.flip(
              Effect.provide(
                WriteDispatcher.submit(Identity.createTenant, { key: "sent", name: "n" }, { actor }),
                layerOf(url, 3)
              )
            )
          )
          assert.strictEqual(error._tag, "DatabaseError")
          assert.include(error.message, "the table kumiko_events, which is locked by server process")
          assert.notInclude(error.message, "{")
        }, url)
      )
    })
  )

  it.live("are bounded for layerVerify, layerWait and layer", () =>
    Effect.gen(function* () {
      const { url } = yield* Effect.promise(() => prepared())
      yield* Effect.promise(() =>
        admin(async (holder) => {
          await holder.query(lock("kumiko_es_operations", "ACCESS EXCLUSIVE"))
          const proofs: ReadonlyArray<
            Layer.Layer<
              SeedsApplied.SeedsApplied,
              SeedRunner.ApplyError | SeedsApplied.VerifyError,
              SeedRunner.Requirements
            >
          > = [SeedsApplied.layerVerify, SeedsApplied.layerWait, SeedsApplied.layer]
          for (const proof of proofs) {
            const failed = await Effect.runPromise(
              Effect.flip(Effect.scoped(Layer.build(Layer.provide(proof, layerOf(url, 2)))))
            )
            assert.deepInclude(failed, { _tag: "LockTimeout", id: null })
          }
        }, url)
      )
    })
  )
})
