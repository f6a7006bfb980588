/**
 * Lanes of runs on the application's cluster: one entity a lane, on whichever runner has its shard. A message may be delivered twice, or late: the
 * run's row, its epoch and the lane's cursor decide what is done.
 */
import * as Entity from "@effect/cluster/Entity"
import type { Sharding } from "@effect/cluster/Sharding"
import * as Rpc from "@effect/rpc/Rpc"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { describe } from "../operation/ErrorDescription.js"
import { DatabaseError } from "../operation/OperationError.js"
import type { LaneWorker } from "../operation/RunLanes.js"
import * as Lanes from "../operation/RunLanes.js"
import type { RunLog } from "../operation/RunLog.js"

/** The entity of one lane: its id is that of the run, its epoch and the lane's name. */
const LaneEntity = Entity.make("effect-es-ops/Lane", [
  Rpc.make("work", { payload: Lanes.RunLaneKey, error: Schema.Union(Lanes.LaneFailed, Lanes.LaneUnknown) }),
  Rpc.make("ping")
])

const entityId = ({ epoch, lane, runId }: Lanes.RunLaneKey): string => `${runId}/${epoch}/${lane}`

/** How long a runner whose connection to the database is cut tries to go on with its lane, before the lane's failure is the run's. */
const patience: Duration.Duration = Duration.seconds(60)

/** How long the owner of a run looks for a runner before it works on the lanes itself. */
const answerWithin: Duration.Duration = Duration.seconds(15)

/** Works on lanes that are sent to this runner. */
export const layerWorker = <E, R>(
  workers: ReadonlyArray<LaneWorker<E, R>>
): Layer.Layer<never, never, Sharding | RunLog | R> =>
  LaneEntity.toLayer(
    Effect.map(Effect.context<RunLog | R>(), (context) =>
      LaneEntity.of({
        ping: () => Effect.void,
        work: ({ payload }) => Effect.provide(worked(workers, payload), context)
      })
    ),
    { concurrency: "unbounded", disableFatalDefects: true }
  )

const worked = <E, R>(
  workers: ReadonlyArray<LaneWorker<E, R>>,
  key: Lanes.RunLaneKey
): Effect.Effect<void, Lanes.LaneFailed | Lanes.LaneUnknown, R | RunLog> => {
  const worker = workers.find(({ operationType }) => operationType === key.operationType)
  if (worker === undefined) return new Lanes.LaneUnknown({ lane: key.lane })
  return Effect.logInfo(`Lane ${key.lane} of ${key.operationType} ${key.runId} is worked on here`).pipe(
    Effect.zipRight(Lanes.help(worker, key)),
    Effect.retry({ while: isCut, schedule: untilPatienceEnds }),
    Effect.mapError((error) => (error instanceof Lanes.LaneUnknown ? error : failed(key, error))),
    Effect.catchAllDefect((defect) => failed(key, defect)),
    Effect.annotateLogs({ run: key.runId, lane: key.lane }),
    Effect.withSpan("ClusterLanes.work", { attributes: { ...key }, captureStackTrace: false })
  )
}

const isCut = (error: unknown): boolean => error instanceof DatabaseError && error.connectionLost

const untilPatienceEnds = Schedule.jittered(Schedule.spaced("1 second")).pipe(Schedule.upTo(patience))

const failed = ({ lane }: Lanes.RunLaneKey, error: unknown): Lanes.LaneFailed => {
  const { _tag, message } = describe(error)
  return new Lanes.LaneFailed({ lane, error: { _tag, message } })
}

/** Has lanes worked on by the runners of the cluster; by this process where none answers. */
export const layerPlaces: Layer.Layer<Lanes.RunLanes, never, Sharding> = Layer.effect(
  Lanes.RunLanes,
  Effect.map(LaneEntity.client, (client) => {
    const answers = (key: Lanes.RunLaneKey): Effect.Effect<boolean> =>
      client(entityId(key)).ping().pipe(Effect.isSuccess, Effect.timeoutTo(orNobody))
    const there = (key: Lanes.RunLaneKey) =>
      Effect.mapError(client(entityId(key)).work(key), (error) =>
        error instanceof Lanes.LaneUnknown || error instanceof Lanes.LaneFailed ? error : failed(key, error)
      ).pipe(Effect.retry({ while: isElsewhere, schedule: Schedule.spaced("1 second") }))
    return {
      isShared: true,
      run: (lanes, here) =>
        Effect.gen(function* () {
          const [first] = lanes
          if (first === undefined) return
          const isAnswered = yield* answers(first)
          if (!isAnswered) yield* Effect.logWarning(nobody)
          yield* Effect.forEach(
            lanes,
            (key) => (isAnswered ? Effect.catchTag(there(key), "LaneUnknown", () => here(key)) : here(key)),
            { concurrency: "unbounded", discard: true }
          )
        })
    }
  })
)

const orNobody = { duration: answerWithin, onSuccess: (isThere: boolean) => isThere, onTimeout: () => false }

const nobody = `No runner of the cluster answered within ${Duration.format(answerWithin)}: this process works on the lanes itself`

/** The lane was another process's by then, which has it still; or the run is, which the keeper of its lease notices. */
const isElsewhere = (error: Lanes.LaneFailed | Lanes.LaneUnknown): boolean =>
  error instanceof Lanes.LaneFailed && (error.error._tag === "RunLost" || error.error._tag === "RunCancelled")
