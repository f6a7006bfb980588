import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { EsOps, SeedsApplied } from "effect-es-ops"
import { createServer } from "node:http"
import { catalog } from "./catalog.js"
import { orders } from "./orders.js"

const routes = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("ready")))

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
  Layer.provide(EsOps.layer({ seeds: "./seeds", features: [catalog, orders] })),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)

NodeRuntime.runMain(Layer.launch(Main))
