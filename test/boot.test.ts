/**
 * Composition: an application whose server requires `SeedsApplied`, as the README has it.
 */
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Either, Exit, Layer, Scope } from "effect"
import {
  EsOps,
  Feature,
  Identity,
  Operation,
  Seed,
  SeedContext,
  SeedLedger,
  SeedReport,
  SeedRunner,
  SeedsApplied,
  SeedStatus
} from "effect-es-ops"
import { createServer } from "node:http"
import { TestDatabase } from "./support/TestDatabase.js"
import * as Database from "./support/TestDatabase.js"

const good = Seed.make({
  description: "good",
  run: SeedContext.systemWriteAs("tenant:write:create", { key: "a", name: "A" })
})
const bad = Seed.make({ description: "bad", run: Effect.fail(new Error("no boot")) })

const Orders = { feature: Feature.make({ name: "orders", handlers: [] }) }

/** A server that answers with how many tenants there are; it cannot be built before the seeds are applied. */
const HttpLive: Layer.Layer<
  HttpServer.HttpServer,
  never,
  SeedsApplied.SeedsApplied | SqlClient.SqlClient | HttpServer.HttpServer
> = Layer.unwrapEffect(
  Effect.gen(function* () {
    yield* SeedsApplied.SeedsApplied
    const sql = yield* SqlClient.SqlClient
    const router = HttpRouter.empty.pipe(
      HttpRouter.get(
        "/tenants",
        sql`SELECT count(*)::int AS n FROM read_tenants`.pipe(
          Effect.orDie,
          Effect.flatMap((rows) => Effect.orDie(HttpServerResponse.json(rows)))
        )
      )
    )
    return Layer.provideMerge(HttpServer.serve(router), Layer.effect(HttpServer.HttpServer, HttpServer.HttpServer))
  })
)

const ServerLive = NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" }).pipe(Layer.orDie)

const application = <S extends Seed.Seed>(
  seeds: Readonly<Record<string, S>>,
  pg: ReturnType<typeof Database.client>
) => {
  const PgLive = pg
  return HttpLive.pipe(
    Layer.provide(SeedsApplied.layer),
    Layer.provide(EsOps.layer({ seeds, features: [Identity.feature, Orders.feature] })),
    Layer.provide(PgLive),
    Layer.provide(ServerLive)
  )
}

layer(Layer.provideMerge(Database.client(), Database.layer), { excludeTestServices: true })("boot", (it) => {
  it.effect("a server that requires SeedsApplied is built after the seeds, and serves what they wrote", () =>
    Effect.gen(function* () {
      const pg = Database.client().pipe(Layer.provide(Layer.succeed(TestDatabase, yield* TestDatabase)))
      const body = yield* Effect.scoped(
        Effect.gen(function* () {
          const services = yield* Layer.build(application({ "1": good }, pg))
          const { address } = Context.get(services, HttpServer.HttpServer)
          const port = address._tag === "TcpAddress" ? address.port : 0
          return yield* Effect.promise(async () => (await fetch(`http://127.0.0.1:${port}/tenants`)).json())
        })
      )
      assert.deepStrictEqual(body, [{ n: 1 }])
    })
  )

  it.effect("a failing seed keeps the server from being built, with the seed's failure as a typed error", () =>
    Effect.gen(function* () {
      const pg = Database.client().pipe(Layer.provide(Layer.succeed(TestDatabase, yield* TestDatabase)))
      const scope = yield* Scope.make()
      const result = yield* Effect.either(Layer.buildWithScope(application({ "1": good, "2": bad }, pg), scope))
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Either.isLeft(result))
      if (Either.isRight(result)) return
      // The union is typed: each tag is a decision that a caller can take.
      const failed = yield* Effect.flip(
        Effect.catchTags(Effect.fail(result.left), {
          DatabaseError: () => Effect.void,
          LockTimeout: () => Effect.void,
          SeedsInconsistent: () => Effect.void,
          SeedFailedElsewhere: () => Effect.void,
          CommitUnknown: () => Effect.void,
          SettingError: () => Effect.void,
          UnknownSeed: () => Effect.void
        })
      )
      assert.instanceOf(failed, SeedReport.SeedFailed)
      assert.strictEqual(failed.message, 'seed "2" failed: no boot')
    })
  )

  it.effect("apply, plan, status and mark run inside a program with a client of its own", () =>
    Effect.gen(function* () {
      const { query } = yield* TestDatabase
      yield* Effect.gen(function* () {
        const { seeds } = yield* SeedRunner.plan
        assert.deepStrictEqual(
          seeds.map(({ id, state }) => `${id} ${state}`),
          ["1 applied", "2 pending", "3 pending"]
        )
        const mark = SeedLedger.mark({ id: "2", reason: "done by hand", appliedBy: "cli" })
        assert.deepStrictEqual(yield* mark, { id: "2", changed: true })
        assert.deepStrictEqual(yield* mark, { id: "2", changed: false })
        const unknown = yield* Effect.flip(SeedLedger.mark({ id: "9", reason: "", appliedBy: "cli" }))
        assert.strictEqual(unknown._tag, "UnknownSeed")
        const report = yield* SeedRunner.apply({ appliedBy: "ci-pipeline" })
        assert.deepStrictEqual(
          report.outcomes.map(({ _tag, id }) => [_tag, id]),
          [["Applied", "3"]]
        )
        const { counts } = yield* SeedStatus.status
        assert.deepStrictEqual(counts, { applied: 3, pending: 0, late: 0, interrupted: 0, orphan: 0, changed: 0 })
        const [marked] = yield* SeedLedger.history(Operation.OperationId.make("2"))
        assert.deepInclude(marked, { outcome: "marked", appliedBy: "cli" })
      }).pipe(
        Effect.provide(
          EsOps.layer({ seeds: { "1": good, "2": bad, "3": Seed.make({ description: "third", run: Effect.void }) } })
        )
      )
      const rows = yield* Effect.promise(() =>
        query("SELECT id, duration_ms, applied_by, notes FROM kumiko_es_operations WHERE id = '2'")
      )
      assert.deepStrictEqual(rows, [{ id: "2", duration_ms: 0, applied_by: "cli", notes: "bad" }])
    })
  )
})
