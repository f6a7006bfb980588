import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { EsOps, SeedsApplied } from "effect-es-ops"
import { createServer } from "node:http"
import { catalog } from "./catalog.js"
import { orders } from "./orders.js"

const routes = HttpRouter.empty.pipe(HttpRouter.get("/", HttpServerResponse.text("ready")))

// It requires SeedsApplied, so no request is served before the seeds are applied.
const HttpLive = Layer.unwrapEffect(Effect.as(SeedsApplied.SeedsApplied, HttpServer.serve(routes)))

const Main = HttpLive.pipe(
  HttpServer.withLogAddress,
  Layer.provide(SeedsApplied.layer),
  Layer.provide(EsOps.layer({ seeds: "./seeds", features: [catalog, orders] })),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })),
  Layer.provide(
    NodeHttpServer.layerConfig(createServer, { port: Config.integer("PORT").pipe(Config.withDefault(3000)) })
  )
)

NodeRuntime.runMain(Layer.launch(Main))
