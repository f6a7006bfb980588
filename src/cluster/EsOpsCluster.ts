/**
 * More than one machine: the lanes of long operations on the cluster that an application has, `@effect/cluster`.
 */
import type { Sharding } from "@effect/cluster/Sharding"
import * as Layer from "effect/Layer"
import * as EventBackfill from "../backfill/EventBackfill.js"
import type { RunLanes } from "../operation/RunLanes.js"
import type { RunLog } from "../operation/RunLog.js"
import * as ProjectionRebuild from "../projection/ProjectionRebuild.js"
import * as EventReplay from "../replay/EventReplay.js"
import * as SnapshotRebuild from "../snapshot/SnapshotRebuild.js"
import * as ClusterLanes from "./ClusterLanes.js"

/** The services that lanes require: `EsOps.layer` has them. */
export type Requirements =
  | RunLog
  | ProjectionRebuild.Requirements
  | SnapshotRebuild.Requirements
  | EventReplay.Requirements
  | EventBackfill.Requirements

/**
 * Has the lanes of rebuilds (of read tables and of snapshots) of replays and of backfills worked on by the runners of the application's cluster, each of which provides this layer, as does the program that begins
 * the rebuild. Messages are delivered at least once: the run's row, its epoch and the lanes' cursors decide what is done. Where no runner answers, the
 * program works on the lanes itself. The cluster is the application's own, with its own tables: none is started here.
 *
 * @example
 * ```ts
 * import { NodeClusterSocket } from "@effect/platform-node"
 * import { PgClient } from "@effect/sql-pg"
 * import { Config, Layer } from "effect"
 * import { EsOps } from "effect-es-ops"
 * import { layerCluster } from "effect-es-ops/EsOpsCluster"
 *
 * export const Runner = layerCluster.pipe(
 *   Layer.provideMerge(Layer.merge(EsOps.layer({ seeds: "./seeds" }), NodeClusterSocket.layer({ storage: "sql" }))),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 */
export const layerCluster: Layer.Layer<RunLanes, never, Sharding | Requirements> = Layer.merge(
  ClusterLanes.layerPlaces,
  ClusterLanes.layerWorker<unknown, Requirements>([
    ProjectionRebuild.laneWorker,
    SnapshotRebuild.laneWorker,
    EventReplay.laneWorker,
    EventBackfill.laneWorker
  ])
)
