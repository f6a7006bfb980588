/**
 * Async seeds, in memory and on PostgreSQL: what their context gives, and what becomes of promises that nobody awaits.
 */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, LogLevel, Runtime } from "effect"
import {
  Directory,
  EsOps,
  EventStore,
  Operation,
  OperationLog,
  Seed,
  SeedReport,
  SeedRunner,
  SeedSource
} from "effect-es-ops"
import type { PromiseSeed } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import * as Database from "../support/TestDatabase.js"

type Context = PromiseSeed.PromiseContext

/** Runs an async function as a seed. */
const apply = (run: (context: Context) => unknown, id = `seed-${randomUUID()}`) =>
  SeedRunner.apply({ appliedBy: "cli" }).pipe(
    Effect.provide(SeedSource.layerRecord({ [id]: Seed.fromPromise({ description: "", run }) }))
  )

/** What an async function that fails as a seed is reported as. */
const failure = (run: (context: Context) => unknown) =>
  Effect.map(Effect.flip(apply(run)), (error) => {
    assert.instanceOf(error, SeedReport.SeedFailed)
    return error instanceof SeedReport.SeedFailed ? error : assert.fail()
  })

const tenantKeys = Effect.map(
  Effect.flatMap(Directory.Directory, (directory) => directory.findTenants),
  (tenants) => tenants.map(({ tenantKey }) => tenantKey)
)

const newKey = () => `k-${randomUUID()}`

const memory = EsOps.layerMemory({ seeds: {} })
const postgres = EsOps.layer({ seeds: {} }).pipe(
  Layer.provideMerge(Database.client()),
  Layer.provideMerge(Database.layer)
)

const suite = <E>(name: string, services: Layer.Layer<EsOps.Services, E>) =>
  layer(services, { excludeTestServices: true })(`an async seed: ${name}`, (it) => {
    it.effect("writes and looks up as the reference's files do", () =>
      Effect.gen(function* () {
        const [key, email] = [newKey(), `${randomUUID()}@example.com`]
        const seen: Array<unknown> = []
        yield* apply(async (ctx) => {
          const written = await ctx.systemWriteAs("tenant:write:create", { key, name: "Acme" })
          const user = await ctx.systemWriteAs("user:write:create", { email, tenantId: written.data.id }, null, null)
          const membership = { userId: user.data.id, tenantId: written.data.id, roles: ["Member"] }
          await ctx.systemWriteAs("tenant:write:add-member", membership, written.data.id, ["SystemAdmin"])
          seen.push(written.isSuccess, await ctx.findUserByEmail("nobody@example.com"))
          seen.push(await ctx.findUserByEmail(email), await ctx.findMembershipsOfUser(user.data.id))
          seen.push((await ctx.findTenants()).filter(({ tenantKey }) => tenantKey === key))
          seen.push({ ...membership, id: user.data.id, tenant: written.data.id })
        })
        const [isSuccess, nobody, user, memberships, tenants, expected] = seen
        assert.deepStrictEqual([isSuccess, nobody], [true, null])
        const { id, tenant: tenantId, userId } = Object(expected)
        assert.deepStrictEqual(user, { id, email, tenantId })
        assert.deepStrictEqual(memberships, [{ userId, tenantId, streamTenantId: tenantId, roles: ["Member"] }])
        assert.deepStrictEqual(tenants, [{ id: tenantId, name: "Acme", tenantKey: key }])
      })
    )

    it.effect("is rejected a write with an Error that has a code and names the handler; after a catch it goes on", () =>
      Effect.gen(function* () {
        const key = newKey()
        let caught: unknown
        yield* apply(async (ctx) => {
          await ctx.systemWriteAs("tenant:write:create", { key: "", name: "" }).catch((error: unknown) => {
            caught = error
          })
          await ctx.systemWriteAs("tenant:write:create", { key, name: "n" })
        })
        assert.instanceOf(caught, Error)
        assert.propertyVal(caught, "code", "validation_error")
        assert.match(String(caught), /tenant:write:create rejected the write/)
        assert.include(yield* tenantKeys, key)
      })
    )

    it.effect("fails with what it threw, or with the rejection that it let through, as any seed does", () =>
      Effect.gen(function* () {
        const key = newKey()
        const thrown = yield* failure(async (ctx) => {
          await ctx.systemWriteAs("tenant:write:create", { key, name: "n" })
          throw new RangeError("too far")
        })
        assert.instanceOf(thrown.cause, RangeError)
        const rejected = yield* failure((ctx) => ctx.systemWriteAs("no:write:handler", {}))
        assert.deepInclude(rejected.cause, { _tag: "WriteRejected", code: "unknown_handler" })
        // oxlint-disable-next-line no-throw-literal
        const text = yield* failure(() => Promise.reject("a text"))
        assert.include(text.message, "a text")
        assert.notInclude(yield* tenantKeys, key)
      })
    )

    it.effect("may be synchronous, without anything to say of itself", () =>
      Effect.gen(function* () {
        let ran = false
        const report = yield* apply(() => {
          ran = true
        })
        assert.isTrue(ran)
        assert.strictEqual(report.outcomes[0]?._tag, "Applied")
        const thrown = yield* failure(() => {
          throw new Error("at once")
        })
        assert.include(thrown.message, "at once")
      })
    )

    it.effect("settles a write that it does not await before the marker, and says so", () =>
      Effect.gen(function* () {
        const key = newKey()
        const report = yield* apply((ctx) => {
          void ctx.systemWriteAs("tenant:write:create", { key, name: "n" })
        })
        assert.include(yield* tenantKeys, key)
        assert.deepInclude(report.outcomes[0], { _tag: "Applied", events: 1 })
      })
    )

    it.effect("fails by name when a write that it does not await fails, and keeps nothing", () =>
      Effect.gen(function* () {
        const key = newKey()
        const error = yield* failure(async (ctx) => {
          void ctx.systemWriteAs("tenant:write:create", { key: "", name: "" })
          await ctx.systemWriteAs("tenant:write:create", { key, name: "n" })
        })
        assert.include(error.message, "not awaited: tenant:write:create")
        assert.notInclude(yield* tenantKeys, key)
      })
    )

    it.effect("says of no write that it was written where a later one fails", () =>
      Effect.gen(function* () {
        const key = newKey()
        const warnings: Array<string> = []
        const listening = Logger.make(({ logLevel, message }) => {
          if (LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)) warnings.push(String(message))
        })
        yield* failure((ctx) => {
          void ctx.systemWriteAs("tenant:write:create", { key, name: "n" })
          void ctx.systemWriteAs("tenant:write:create", { key: "", name: "" })
        }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, listening)))
        assert.notInclude(warnings.join("\n"), "not awaited")
        assert.notInclude(yield* tenantKeys, key)
      })
    )

    it.effect("takes a write for awaited when Promise.all or a later await waits for it", () =>
      Effect.gen(function* () {
        const keys = [newKey(), newKey(), newKey()]
        yield* apply(async (ctx) => {
          const first = ctx.systemWriteAs("tenant:write:create", { key: keys[0], name: "n" })
          await Promise.all(keys.slice(1).map((key) => ctx.systemWriteAs("tenant:write:create", { key, name: "n" })))
          await first
          await Promise.allSettled([ctx.systemWriteAs("tenant:write:create", { key: "", name: "" })])
        })
        const found = yield* tenantKeys
        for (const key of keys) assert.include(found, key)
      })
    )

    it.effect("is refused a write that it starts after it has returned; nothing of that is there", () =>
      Effect.gen(function* () {
        const [key, late] = [newKey(), newKey()]
        let kept: Context | undefined
        yield* apply(async (ctx) => {
          kept = ctx
          await ctx.systemWriteAs("tenant:write:create", { key, name: "n" })
        })
        const refused = yield* Effect.promise(
          () =>
            kept?.systemWriteAs("tenant:write:create", { key: late, name: "n" }).then(
              () => "written",
              (error: unknown) => String(error)
            ) ?? Promise.resolve("")
        )
        assert.include(refused, "it was started after run had returned")
        assert.notInclude(yield* tenantKeys, late)
        const store = yield* EventStore.EventStore
        assert.isDefined(store)
      })
    )

    it.effect("stops its writes when it is interrupted, and keeps nothing", () =>
      Effect.gen(function* () {
        const [id, key] = [`seed-${randomUUID()}`, newKey()]
        const inside = yield* Deferred.make<void>()
        const run = apply(async (ctx) => {
          await ctx.systemWriteAs("tenant:write:create", { key, name: "n" })
          Effect.runSync(Deferred.succeed(inside, undefined))
          await new Promise(() => undefined)
        }, id)
        const fiber = yield* Effect.fork(run)
        yield* Deferred.await(inside)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        assert.notInclude(yield* tenantKeys, key)
        const log = yield* OperationLog.OperationLog
        const attempts = yield* log.attempts({ id: Operation.OperationId.make(id) })
        assert.deepStrictEqual(
          attempts.map(({ outcome }) => outcome),
          ["interrupted"]
        )
      })
    )

    it.effect("may return promises that it was given; they are settled, and a query that fails is missed too", () =>
      Effect.gen(function* () {
        const key = newKey()
        yield* apply(async (ctx) => [
          ctx.systemWriteAs("tenant:write:create", { key, name: "Acme" }),
          ctx.findTenants()
        ])
        assert.include(yield* tenantKeys, key)
        const { message } = yield* failure(async (ctx) => {
          void ctx.db.query("DELETE FROM read_tenants")
        })
        assert.include(message, "not awaited: query: ")
      })
    )

    it.effect("that writes when it counts as applied is told so in the log", () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.make(({ message }) => void lines.push(String(message)))
        const late = yield* Deferred.make<void>()
        const runtime = yield* Effect.runtime<never>()
        let write: (() => Promise<unknown>) | undefined
        yield* apply(async (ctx) => {
          write = () => ctx.systemWriteAs("tenant:write:create", { key: "late", name: "late" })
        }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
        write?.().catch(() => Runtime.runSync(runtime)(Deferred.succeed(late, undefined)))
        yield* Deferred.await(late)
        assert.match(
          lines.at(-1) ?? "",
          /tenant:write:create: it was started after run had returned: nothing of it was done/
        )
      })
    )

    it.effect("that returns an Effect or a generator is told to be made otherwise: nobody would run it", () =>
      Effect.gen(function* () {
        const error = yield* failure(() => Effect.void)
        assert.include(error.message, "Seed.make")
        const generator = yield* failure(() => (function* () {})())
        assert.include(generator.message, "run returned a generator")
      })
    )

    it.effect("has no query builder, and is told what there is instead", () =>
      Effect.gen(function* () {
        const error = yield* failure((ctx) => Reflect.get(ctx.db, "select"))
        assert.include(error.message, "ctx.db.select is not available: read with ctx.db.query(text, params)")
      })
    )
  })

suite("memory", memory)
suite("PostgreSQL", postgres)

layer(postgres, { excludeTestServices: true })("the db of an async seed", (it) => {
  it.effect("reads rows, its own writes among them, and is refused everything else", () =>
    Effect.gen(function* () {
      const key = newKey()
      const seen: Array<unknown> = []
      yield* apply(async (ctx) => {
        await ctx.systemWriteAs("tenant:write:create", { key, name: "Acme" })
        seen.push(await ctx.db.query("SELECT name FROM read_tenants WHERE key = $1", [key]))
        seen.push(await ctx.db.unsafe("SELECT count(*)::int AS n FROM read_tenants WHERE key = $1", [key]))
        for (const text of [
          "DELETE FROM read_tenants",
          "WITH d AS (DELETE FROM read_tenants RETURNING 1) SELECT * FROM d"
        ]) {
          seen.push(await ctx.db.unsafe(text).catch((error: unknown) => Object(error).name))
        }
        seen.push(await ctx.db.query("SELECT nothing").catch((error: unknown) => Object(error).code))
      })
      assert.deepStrictEqual(seen, [[{ name: "Acme" }], [{ n: 1 }], "ReadOnlyViolation", "ReadOnlyViolation", "42703"])
      assert.include(yield* tenantKeys, key)
    })
  )
})
