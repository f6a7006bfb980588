import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql"
import { Config, Effect, Layer, Schema } from "effect"
import type { WriteDispatcher } from "effect-es-ops"
import { EsOps, SeedsApplied } from "effect-es-ops"
import { createServer } from "node:http"
import { orders } from "./orders.js"
import { write } from "./write.js"

/** Who asks. Take it from a verified token in an application of your own, and not from a header. */
const currentActor = Effect.map(
  HttpServerRequest.schemaHeaders(Schema.Struct({ "x-user": Schema.UUID, "x-tenant": Schema.UUID })),
  (headers) => ({ id: headers["x-user"], tenantId: headers["x-tenant"], roles: ["Customer"] })
)

/** What a refusal is for the client; every other failure of a write is none of its business. */
const statusOf = ({ code }: WriteDispatcher.WriteRejected) =>
  code === "access_denied"
    ? 403
    : code === "not_found"
      ? 404
      : code === "conflict" || code === "version_conflict"
        ? 409
        : 400

const handle = (handler: string) =>
  Effect.gen(function* () {
    const actor = yield* currentActor
    const request = yield* HttpServerRequest.HttpServerRequest
    return yield* HttpServerResponse.json(yield* write(actor, handler, yield* request.json))
  }).pipe(
    Effect.catchTag("WriteRejected", (error) =>
      HttpServerResponse.json({ code: error.code, reason: error.reason }, { status: statusOf(error) })
    )
  )

const list = Effect.gen(function* () {
  const { tenantId } = yield* currentActor
  const sql = yield* SqlClient.SqlClient
  return yield* HttpServerResponse.json(
    yield* sql`SELECT id, total FROM read_open_orders WHERE tenant_id = ${tenantId} ORDER BY id`
  )
})

const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/orders", list),
  HttpRouter.post("/orders", handle("orders:write:place")),
  HttpRouter.post("/orders/cancel", handle("orders:write:cancel"))
)

const ServerLive = NodeHttpServer.layerConfig(createServer, {
  port: Config.integer("PORT").pipe(Config.withDefault(3000))
})

// The port is opened by a layer that is made from SeedsApplied, hence when the seeds are applied.
const HttpLive = Layer.unwrapEffect(
  Effect.as(
    SeedsApplied.SeedsApplied,
    HttpServer.serve(routes).pipe(HttpServer.withLogAddress, Layer.provide(ServerLive))
  )
)

const Main = HttpLive.pipe(
  Layer.provide(SeedsApplied.layer),
  Layer.provide(EsOps.layer({ seeds: "./seeds", features: [orders] })),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)

NodeRuntime.runMain(Layer.launch(Main))
