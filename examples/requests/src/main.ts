import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import type { RequestError } from "@effect/platform/HttpServerError"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql"
import { Config, Effect, Layer, Schema } from "effect"
import type { ParseError } from "effect/ParseResult"
import type { WriteHandler } from "effect-es-ops"
import { EsOps, SeedsApplied, WriteDispatcher } from "effect-es-ops"
import { createServer } from "node:http"
import { cancel, NewOrder, OrderId, orders } from "./orders.js"
import { placeOrder } from "./write.js"

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

/** The answer to a write of the user who asks. */
const answer = <A, R>(
  write: (actor: WriteHandler.Actor) => Effect.Effect<A, WriteDispatcher.WriteError | ParseError | RequestError, R>
) =>
  Effect.flatMap(currentActor, write).pipe(
    Effect.flatMap((data) => HttpServerResponse.json(data)),
    Effect.catchTag("WriteRejected", (error) =>
      HttpServerResponse.json({ code: error.code, reason: error.reason }, { status: statusOf(error) })
    ),
    Effect.catchTag("ParseError", ({ message }) =>
      HttpServerResponse.json({ code: "validation_error", reason: message }, { status: 400 })
    )
  )

const placed = answer((actor) =>
  Effect.flatMap(HttpServerRequest.schemaBodyJson(NewOrder), ({ id, total }) => placeOrder(actor, id, total))
)

const cancelled = answer((actor) =>
  Effect.flatMap(HttpServerRequest.schemaBodyJson(OrderId), (order) => WriteDispatcher.submit(cancel, order, { actor }))
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
  HttpRouter.post("/orders", placed),
  HttpRouter.post("/orders/cancel", cancelled)
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
