/**
 * `--cluster`: the command's lanes are worked on by the runners of the application's cluster, which it joins as a client.
 */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as EsOps from "../../EsOps.js"
import { describe } from "../../operation/ErrorDescription.js"
import { SettingError } from "../../operation/OperationConfig.js"
import type { RunLanes } from "../../operation/RunLanes.js"
import type { UsageError } from "../UsageError.js"
import * as Setting from "../input/Setting.js"
import type { Resolved } from "../input/Settings.js"

/** The layer of lanes that are worked on elsewhere. */
export type LanesLayer = NonNullable<EsOps.CommandSettings["cluster"]>

/** The option of the commands whose work is in lanes. */
export const clusterOption = Options.boolean("cluster").pipe(
  Options.withDescription(
    "Have the lanes worked on by the runners of the application's cluster (ES_OPS_CLUSTER). Default: by this process"
  )
)

/** What a client of a cluster has open besides its lanes and its lease. */
export const connections = 2

/** The cluster of the config file, or else the usual one of the database; none where nobody asked for one. */
export const lanes = (
  given: boolean,
  { database, file }: Resolved
): Effect.Effect<LanesLayer | undefined, UsageError | SettingError> =>
  Effect.gen(function* () {
    if (!given && !(yield* isAskedFor)) return undefined
    if (file.cluster !== undefined) return file.cluster
    return database._tag === "Embedded" ? undefined : yield* usual
  })

const isAskedFor: Effect.Effect<boolean, UsageError | SettingError> = Effect.flatMap(
  Setting.variable("ES_OPS_CLUSTER"),
  Option.match({
    onNone: () => Effect.succeed(false),
    onSome: (value) =>
      Effect.map(
        Setting.oneOf({ value, invalid: Setting.invalidKey("ES_OPS_CLUSTER") }, ["1", "true", "0", "false"]),
        (word) => word === "1" || word === "true"
      )
  })
)

/** Loaded on demand, by a path that the bundler does not follow: its packages are those of the project, if it has them. */
const path = "../../cluster/CommandCluster.js"

const usual: Effect.Effect<LanesLayer, SettingError> = Effect.tryPromise({
  try: async () => {
    const { layer }: { readonly layer: Layer.Layer<RunLanes, unknown, EsOps.Services | EsOps.CommandClient> } =
      await import(path)
    return layer
  },
  catch: (error) =>
    new SettingError({
      key: "cluster",
      reason: `the packages of a cluster cannot be loaded, @effect/cluster and @effect/rpc: ${describe(error).message}`
    })
})
