import { NodeSdk } from "@effect/opentelemetry"
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { ConsoleSpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Config, Effect, Layer } from "effect"
import { EsOps, SeedRunner } from "effect-es-ops"

// Spans go to the console. In production: a BatchSpanProcessor over the exporter of @opentelemetry/exporter-trace-otlp-http.
const TracingLive = NodeSdk.layer(() => ({
  resource: { serviceName: "shop" },
  spanProcessor: new SimpleSpanProcessor(new ConsoleSpanExporter())
}))

const Main = EsOps.layer({ seeds: "./seeds" }).pipe(
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })),
  Layer.provideMerge(TracingLive)
)

NodeRuntime.runMain(SeedRunner.apply({ appliedBy: "boot" }).pipe(Effect.withSpan("start"), Effect.provide(Main)))
