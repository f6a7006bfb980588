/**
 * Lanes of runs on the application's cluster: one entity a lane, on whichever runner has its shard. A message may be delivered twice, or late: the
 * run's row, its epoch and the lane's cursor decide what is done.
 */
import * as Entity from "@effect/cluster/Entity"
import type { Sharding } from "@effect/cluster/Sharding"
import * as Rpc from "@effect/rpc/Rpc"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { describe } from "../operation/ErrorDescription.js"
import { DatabaseError } from "../operation/OperationError.js"
import { RunLost } from "../operation/Run.js"
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

/** How long the owner of a run waits for a sign of a lane's runner before it works on the lane itself. */
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
  return new Lanes.LaneFailed({ lane, error: { _tag: isCut(error) ? left.cut : _tag, message } })
}

/** Why a lane that was sent away comes back, beside the failures of its work. */
const left = { cut: "ConnectionLost", moved: "LaneMoved" }

/** Has lanes worked on by the runners of the cluster; by this process where none answers. */
export const layerPlaces: Layer.Layer<Lanes.RunLanes, never, Sharding> = Layer.effect(
  Lanes.RunLanes,
  Effect.map(LaneEntity.client, (client) => ({
    isShared: true,
    run: (lanes, here) =>
      Effect.forEach(lanes, (key) => toItsEnd(client(entityId(key)), key, here), {
        concurrency: "unbounded",
        discard: true
      })
  }))
)

type LaneClient = ReturnType<Effect.Effect.Success<typeof LaneEntity.client>>

/** Sends a lane away until some process is through with it, and works on it here where no other process can. */
const toItsEnd = <E, R>(
  client: LaneClient,
  key: Lanes.RunLaneKey,
  here: (lane: Lanes.RunLaneKey) => Effect.Effect<void, E, R>
): Effect.Effect<void, E | Lanes.LaneFailed, R> =>
  Effect.raceFirst(there(client, key), untilNobodyAnswers(client)).pipe(
    Effect.flatMap((why) =>
      why === undefined
        ? Effect.void
        : Effect.zipRight(Effect.logWarning(`${why}: this process works on lane ${key.lane} itself`), here(key))
    ),
    Effect.retry({ while: isElsewhere, schedule: Schedule.spaced("1 second") })
  )

/** Answers with why no other process can do it, once that is so. */
const there = (client: LaneClient, key: Lanes.RunLaneKey): Effect.Effect<string | undefined, Lanes.LaneFailed> =>
  Effect.catchAllCause(
    Effect.as(client.work(key), undefined),
    (cause): Effect.Effect<string | undefined, Lanes.LaneFailed> => {
      const error = Cause.isInterruptedOnly(cause) ? moved(key) : Cause.squash(cause)
      if (error instanceof Lanes.LaneUnknown) return Effect.succeed(error.message)
      const failure = error instanceof Lanes.LaneFailed ? error : failed(key, error)
      return failure.error._tag === left.cut ? Effect.succeed(failure.message) : Effect.fail(failure)
    }
  )

/** The runner stopped, or its shard is another's by now: the interruption is that of the work there, and none of this process. */
const moved = ({ lane }: Lanes.RunLaneKey): Lanes.LaneFailed =>
  new Lanes.LaneFailed({ lane, error: { _tag: left.moved, message: "its runner has given it up" } })

/** Looks now and then for the runner that has the lane: one that is killed, or cut off, says nothing. */
const untilNobodyAnswers = (client: LaneClient): Effect.Effect<string> =>
  Effect.exit(client.ping()).pipe(
    Effect.timeoutTo({ duration: answerWithin, onSuccess: () => true, onTimeout: () => false }),
    Effect.repeat({ while: (isThere) => isThere, schedule: looks }),
    Effect.as(`No runner of the cluster answered within ${Duration.format(answerWithin)}`)
  )

const looks = Schedule.union(Schedule.exponential("5 seconds", 1.5), Schedule.spaced("1 minute"))

/**
 * The lane is on its way from one process to another: it was given up, or another process has it still. Where the run is another's by now, the
 * keeper of its lease notices.
 */
const isElsewhere = (error: unknown): boolean =>
  error instanceof RunLost ||
  (error instanceof Lanes.LaneFailed && [left.moved, "RunLost", "RunCancelled"].includes(error.error._tag))
