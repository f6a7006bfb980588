import { RunnerAddress } from "@effect/cluster"
import { NodeClusterSocket } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Option } from "effect"
import { EsOps } from "effect-es-ops"
import { layerCluster } from "effect-es-ops/EsOpsCluster"
import { payments } from "./payments.js"

const PgLive = PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })

const OpsLive = EsOps.layer({ seeds: "./seeds", features: [payments] })

/** What a process has that is no part of the cluster. */
export const operations = Layer.provide(OpsLive, PgLive)

// The application's own cluster, with its own tables: each runner has an address at which the others reach it.
const RunnerLive = Layer.unwrapEffect(
  Effect.map(Config.integer("RUNNER_PORT").pipe(Config.withDefault(34431)), (port) =>
    NodeClusterSocket.layer({
      storage: "sql",
      shardingConfig: { runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)) }
    })
  )
)

/** Everything that a runner has. */
export const runner = layerCluster.pipe(Layer.provideMerge(Layer.merge(OpsLive, RunnerLive)), Layer.provide(PgLive))

/** Lanes for a process that sends them to the runners, and is none itself. */
export const lanes = Layer.provide(layerCluster, NodeClusterSocket.layer({ clientOnly: true, storage: "sql" }))

/** Everything that such a process has. */
export const sender = lanes.pipe(Layer.provideMerge(OpsLive), Layer.provide(PgLive))
