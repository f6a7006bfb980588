import { RunnerAddress } from "@effect/cluster"
import { NodeClusterSocket } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Option } from "effect"
import { EsOps } from "effect-es-ops"
import { layerCluster } from "effect-es-ops/EsOpsCluster"
import { payments } from "./payments.js"

const PgLive = PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") })

const OpsLive = EsOps.layer({ seeds: "./seeds", features: [payments] })

// The application's own cluster, with its own tables: each runner has an address at which the others reach it.
const clusterOf = (clientOnly: boolean) =>
  Layer.unwrapEffect(
    Effect.map(Config.integer("RUNNER_PORT").pipe(Config.withDefault(34431)), (port) =>
      NodeClusterSocket.layer({
        clientOnly,
        storage: "sql",
        shardingConfig: { runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)) }
      })
    )
  )

/** Everything that a runner has; `clientOnly`: what sends lanes to runners, and is none itself. */
export const services = (clientOnly: boolean) =>
  layerCluster.pipe(Layer.provideMerge(Layer.merge(OpsLive, clusterOf(clientOnly))), Layer.provide(PgLive))
