/**
 * The cluster that the command joins where its file names none: runners that listen at sockets, and are in the usual tables of the same database.
 */
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { describe } from "../operation/ErrorDescription.js"
import { SettingError } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { RunLanes } from "../operation/RunLanes.js"
import * as ClusterRunners from "../postgres/health/ClusterRunners.js"
import type { Requirements } from "./EsOpsCluster.js"
import { layerCluster } from "./EsOpsCluster.js"

/** Joins it as a client, if it has runners; else lanes are worked on by this process, and no table is created. */
export const layer: Layer.Layer<
  RunLanes,
  ConfigError | SettingError | DatabaseError,
  ClusterRunners.Requirements | Requirements
> = Layer.unwrapEffect(
  Effect.gen(function* () {
    if (yield* ClusterRunners.areThere) return joined
    yield* Effect.logInfo("There is no runner of a cluster in this database: this process works on the lanes itself")
    return Layer.sync(RunLanes, RunLanes.defaultValue)
  })
)

/** Not every project has the package of the sockets. */
const joined = Layer.unwrapEffect(
  Effect.map(
    Effect.tryPromise({
      try: () => import("@effect/platform-node/NodeClusterSocket"),
      catch: (error) =>
        new SettingError({
          key: "cluster",
          reason: `install @effect/platform-node, or name a layer in the config file: ${describe(error).message}`
        })
    }),
    (NodeClusterSocket) => Layer.provide(layerCluster, NodeClusterSocket.layer({ clientOnly: true, storage: "sql" }))
  )
)
