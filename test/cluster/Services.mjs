/**
 * What a process of the cluster has. Its times are short, so that a runner that is gone is missed soon.
 */
import * as RunnerAddress from "@effect/cluster/RunnerAddress"
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Layer, Option, Redacted } from "effect"
import { EsOps } from "effect-es-ops"
import { layerCluster } from "effect-es-ops/EsOpsCluster"
import { feature } from "../rebuild/Definitions.mjs"

const times = {
  shardsPerGroup: 60,
  shardLockExpiration: "3 seconds",
  shardLockRefreshInterval: "1 second",
  refreshAssignmentsInterval: "500 millis",
  entityMessagePollInterval: "1 second",
  entityTerminationTimeout: "2 seconds",
  runnerHealthCheckInterval: "1 second"
}

/** What a process has without a cluster. */
export const operations = (url) => Layer.provide(operationsLive, client(url))

const operationsLive = EsOps.layer({ seeds: {}, features: [feature], lockTimeout: "60 seconds" })

const client = (url) => PgClient.layer({ url: Redacted.make(url), maxConnections: 8, connectTimeout: "5 seconds" })

/** Everything of a runner that listens at `port`; without one, of a process that only sends. */
export const services = (url, port) =>
  layerCluster.pipe(
    Layer.provideMerge(
      Layer.merge(
        operationsLive,
        NodeClusterSocket.layer({
          clientOnly: port === undefined,
          storage: "sql",
          shardingConfig: {
            ...times,
            runnerAddress: Option.map(Option.fromNullable(port), (at) => RunnerAddress.make("127.0.0.1", at))
          }
        })
      )
    ),
    Layer.provide(client(url))
  )
