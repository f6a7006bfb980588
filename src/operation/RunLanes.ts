/**
 * Where the lanes of a run are worked on: by fibers of its own process, unless the application has a cluster.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { RunHandle } from "./RunHandle.js"
import * as RunHandles from "./RunHandle.js"
import type { DatabaseError } from "./OperationError.js"
import type { Run } from "./Run.js"
import type { RunRefused } from "./RunLog.js"
import { RunLog } from "./RunLog.js"

/** A lane of a run, as any process can find it. The run's row and the lane's cursor say what is done. */
export const RunLaneKey = Schema.Struct({
  operationType: Schema.String,
  runId: Schema.String,
  epoch: Schema.Number,
  lane: Schema.String
})
export type RunLaneKey = typeof RunLaneKey.Type

/** A lane failed in another process. */
export class LaneFailed extends Schema.TaggedError<LaneFailed>()("LaneFailed", {
  lane: Schema.String,
  /** What it failed with there. */
  error: Schema.Struct({ _tag: Schema.String, message: Schema.String })
}) {
  override get message(): string {
    return `lane ${this.lane} failed in another process: ${this.error.message}`
  }
}

/** A process cannot work on a lane: it has no such operation, or other definitions than the run was begun with. */
export class LaneUnknown extends Schema.TaggedError<LaneUnknown>()("LaneUnknown", { lane: Schema.String }) {
  override get message(): string {
    return `lane ${this.lane} belongs to a run whose definitions this process does not have`
  }
}

/** How a kind of operation works on a lane, in whatever process. */
export interface LaneWorker<out E = unknown, out R = never> {
  readonly operationType: string
  /** Whether this process has the definitions that a run was begun with; one of another release may not. */
  readonly knows: (run: Run) => Effect.Effect<boolean, E, R>
  /** Works on the lane from where its cursor stands to its end; there is nothing to do for one that is through. */
  readonly work: (run: RunHandle, lane: string) => Effect.Effect<void, E, R>
}

/** The places where lanes are worked on. */
export class RunLanes extends Context.Reference<RunLanes>()("effect-es-ops/RunLanes", {
  defaultValue: (): Places => ({
    run: (lanes, here) => Effect.forEach(lanes, here, { concurrency: "unbounded", discard: true }),
    isShared: false
  })
}) {}

interface Places {
  /** Works on all lanes, side by side, and answers once all are through. `here` works on one in this process. */
  readonly run: <E, R>(
    lanes: ReadonlyArray<RunLaneKey>,
    here: (lane: RunLaneKey) => Effect.Effect<void, E, R>
  ) => Effect.Effect<void, E | LaneFailed, R>
  /** Whether other processes work on lanes as well. */
  readonly isShared: boolean
}

/** How often the owner of a run looks at what other processes did for it. */
const refreshEvery = "2 seconds"

/** Works on the lanes of a run, here or wherever the application has it done. */
export const work = <E, R>(
  run: RunHandle,
  worker: LaneWorker<E, R>,
  lanes: ReadonlyArray<string>
): Effect.Effect<void, E | LaneFailed | RunRefused, R> =>
  Effect.gen(function* () {
    const { operationType } = worker
    const places = yield* RunLanes
    const keys = lanes.map((lane): RunLaneKey => ({ operationType, runId: run.id, epoch: run.epoch, lane }))
    if (!places.isShared) return yield* places.run(keys, ({ lane }) => worker.work(run, lane))
    // Another process may have begun with a lane that is worked on here after all.
    const working = places.run(keys, ({ lane }) => Effect.flatMap(run.rejoined, (own) => worker.work(own, lane)))
    yield* Effect.raceFirst(working, Effect.forever(Effect.delay(looking(run), refreshEvery)))
    yield* run.refresh
  })

/** What the owner sees is of no consequence for the lanes: it looks again once the server can be reached. */
const looking = (run: RunHandle): Effect.Effect<void, DatabaseError> =>
  Effect.catchIf(
    run.refresh,
    ({ connectionLost }) => connectionLost,
    ({ message }) => Effect.logDebug(`The lanes were not looked at: ${message}`)
  )

/** Works on a lane of a run that another process has. Each batch is refused once the run, or the lane, is another's. */
export const help = <E, R>(
  worker: LaneWorker<E, R>,
  { epoch, lane, runId }: RunLaneKey
): Effect.Effect<void, E | RunRefused | LaneUnknown, R | RunLog> =>
  Effect.gen(function* () {
    const run = yield* RunHandles.join(yield* RunLog, { id: runId, epoch })
    if (!(yield* worker.knows(yield* run.current))) return yield* new LaneUnknown({ lane })
    yield* worker.work(run, lane)
  })
