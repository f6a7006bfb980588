/**
 * The handle of a run: what its work is given to commit batches with, and to go on from.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { BatchSize } from "./BatchSize.js"
import type { DatabaseError } from "./OperationError.js"
import type { Batch, BatchProgress, Run, RunKey, RunLane } from "./Run.js"
import { rateOf } from "./Run.js"
import type { RunLog, RunRefused } from "./RunLog.js"
import * as RunMetrics from "./RunMetrics.js"
import type { RunObserver } from "./RunObserver.js"
import * as RunObservers from "./RunObserver.js"

/** A run, as its work sees it. */
export interface RunHandle extends Pick<Run, "operationType" | "name" | "params"> {
  readonly id: string
  readonly epoch: number
  /** Whether it goes on where it stood. */
  readonly isResumed: boolean
  /** What stood in its row when this process got it. */
  readonly phase: string
  readonly cursor: Option.Option<unknown>
  readonly done: number
  readonly counters: Run["counters"]
  /** The cursors of its lanes, by their names. */
  readonly lanes: ReadonlyMap<string, RunLane>
  /**
   * Runs `work` in one transaction of the run, and commits with it how far it came; answers with its value once that is committed. `size` is told
   * how long a batch of `done` items took.
   */
  readonly batch: <A, E, R>(
    work: Effect.Effect<Batch<A>, E, R>,
    options?: { readonly size?: BatchSize | undefined }
  ) => Effect.Effect<A, E | RunRefused, R>
  /** The run as this process knows it. */
  readonly current: Effect.Effect<Run>
  /** Looks at what other processes did for the run, and tells the observer. */
  readonly refresh: Effect.Effect<void, DatabaseError>
  /** The same run with its lanes as they are now, for work on a lane that another process may have begun. */
  readonly rejoined: Effect.Effect<RunHandle, RunRefused>
}

/** The handle of a run that this process has. */
export const make = (
  log: RunLog["Type"],
  observer: RunObserver,
  run: Run,
  lanes: ReadonlyArray<RunLane>,
  isResumed: boolean
): Effect.Effect<{ readonly handle: RunHandle; readonly current: Effect.Effect<Run> }> =>
  Effect.gen(function* () {
    const state = yield* Ref.make(run)
    const batches = new Map(lanes.map(({ batches, lane }) => [lane, batches]))
    const startedAt = yield* Clock.currentTimeMillis
    const batch: RunHandle["batch"] = (work, { size } = {}) =>
      Effect.gen(function* () {
        const from = yield* Clock.currentTimeMillis
        const made = yield* log.batch(
          run,
          Effect.map(work, (answered) => ({
            ...answered,
            after: batches.get(answered.lane ?? "") ?? 0,
            value: answered
          }))
        )
        if (made.lane !== undefined) batches.set(made.lane, (batches.get(made.lane) ?? 0) + 1)
        const now = yield* Clock.currentTimeMillis
        const { done = 0 } = made
        if (size !== undefined) yield* size.took(done, now - from)
        yield* Metric.increment(RunMetrics.batches)
        yield* Metric.incrementBy(RunMetrics.items, done)
        yield* Metric.update(RunMetrics.batchDuration, now - from)
        yield* observer.progress(
          yield* Ref.updateAndGet(state, (before) => {
            const after = advanced(before, made)
            return { ...after, rate: rateOf(after.done - run.done, now - startedAt) }
          })
        )
        return made.value
      }).pipe(
        Effect.withSpan("OperationRun.batch", {
          attributes: { run: run.id, epoch: run.epoch },
          captureStackTrace: false
        })
      )
    const handle: RunHandle = {
      operationType: run.operationType,
      name: run.name,
      params: run.params,
      id: run.id,
      epoch: run.epoch,
      isResumed,
      phase: run.phase,
      cursor: run.cursor,
      done: run.done,
      counters: run.counters,
      lanes: new Map(lanes.map((lane) => [lane.lane, lane])),
      batch,
      current: Ref.get(state),
      refresh: Effect.flatMap(
        log.find(run.id),
        Option.match({
          onNone: () => Effect.void,
          onSome: (found) => Effect.zipRight(Ref.set(state, found), observer.progress(found))
        })
      ),
      rejoined: join(log, run)
    }
    return { handle, current: handle.current }
  })

/** The handle of a process that helps with a run: what it does is seen by the run's owner. */
export const join = (log: RunLog["Type"], { epoch, id }: RunKey): Effect.Effect<RunHandle, RunRefused> =>
  Effect.flatMap(log.join({ id, epoch }), ({ lanes, run }) =>
    Effect.map(make(log, RunObservers.silent, run, lanes, true), ({ handle }) => handle)
  )

const advanced = (
  run: Run,
  { counters = {}, cursor, done = 0, lane, phase = run.phase, total }: BatchProgress
): Run => ({
  ...run,
  phase,
  done: run.done + done,
  total: Option.orElse(Option.fromNullable(total), () => run.total),
  cursor: lane !== undefined || cursor === undefined ? run.cursor : Option.some(cursor),
  counters: {
    ...run.counters,
    ...Object.fromEntries(Object.entries(counters).map(([key, count]) => [key, (run.counters[key] ?? 0) + count]))
  }
})

/** Counts a run that ended, or stopped for now. */
export const counted = (outcome: Run["outcome"]): Effect.Effect<void> =>
  Metric.increment(Metric.tagged(RunMetrics.ended, "outcome", outcome))
