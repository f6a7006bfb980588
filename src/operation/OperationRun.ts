/**
 * Runs a long operation to its end: begins it, or goes on with it where it stood; keeps its lease; and makes of an interruption a pause, of a
 * failure a failed run that leaves nothing behind.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as BoundedWait from "./BoundedWait.js"
import type { OperationConfig } from "./OperationConfig.js"
import type { LockTimeout } from "./OperationError.js"
import type { Run } from "./Run.js"
import * as RunConclusion from "./RunConclusion.js"
import type { RunDefinition } from "./RunDefinition.js"
import * as RunHandles from "./RunHandle.js"
import * as RunLease from "./RunLease.js"
import type { RunEnding, RunRefused } from "./RunLog.js"
import { RunLog } from "./RunLog.js"
import type { RunObserver } from "./RunObserver.js"
import * as RunObservers from "./RunObserver.js"
import * as RunPause from "./RunPause.js"
import * as RunStart from "./RunStart.js"
import type { Restore } from "./Transactor.js"

export type { RunDefinition } from "./RunDefinition.js"
export type { RunHandle } from "./RunHandle.js"

/** What became of an operation. */
export interface RunResult<A> {
  readonly run: Run
  /** None where another process did the same work while this one waited. */
  readonly value: Option.Option<A>
}

/** Why it did not get to its end. */
export type RunError<E> = E | RunStart.StartError | RunRefused | LockTimeout

/**
 * Runs an operation. While another process is in the same one, it is waited for as long as `lockTimeout`, and if that ends well there is nothing
 * left to do. The work is interrupted when the run is lost or cancelled.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { OperationRun } from "effect-es-ops"
 *
 * export const count = OperationRun.run({
 *   operationType: "count",
 *   name: "to ten",
 *   params: {},
 *   definition: "1",
 *   appliedBy: "cli",
 *   work: (run) =>
 *     Effect.iterate(run.done, {
 *       while: (done) => done < 10,
 *       body: (done) => run.batch(Effect.succeed({ value: done + 1, phase: "counting", cursor: done + 1, done: 1, total: 10 }))
 *     }),
 *   drop: () => Effect.void
 * })
 * ```
 */
export const run = <A, E, R>(
  definition: RunDefinition<A, E, R>
): Effect.Effect<RunResult<A>, RunError<E>, R | RunLog | OperationConfig> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const log = yield* RunLog
      const observer = definition.observer ?? RunObservers.logging
      const started = yield* RunStart.start(definition, observer, restore)
      if (started._tag === "DoneElsewhere") return { run: started.run, value: Option.none<A>() }
      const value = yield* toItsEnd(log, definition, observer, started, restore)
      const ended = Option.getOrElse(yield* restore(log.find(started.run.id)), () => started.run)
      return { run: ended, value: Option.some(value) }
    })
  ).pipe(
    Effect.annotateLogs("run", RunObservers.title(definition)),
    Effect.withSpan("OperationRun.run", {
      attributes: { operationType: definition.operationType, operation: definition.name },
      captureStackTrace: false
    })
  )

/** How long a batch that is interrupted may take to be undone: its statement is cancelled, then rolled back. */
const undoPatience = "3 seconds"

/**
 * Waits until nothing of the work is under way, which a race that is interrupted does not: a batch that is not rolled back yet holds the row in which
 * the end is recorded, and its statement is cancelled by the connection that would wait for that row.
 */
const undone = (worker: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.ignore(BoundedWait.within(Fiber.interrupt(worker), undoPatience))

/** From its beginning to the record of its end, which an interruption does not cut short. */
const toItsEnd = <A, E, R>(
  log: RunLog["Type"],
  definition: RunDefinition<A, E, R>,
  observer: RunObserver,
  { isResumed, lanes, prepare, run }: RunStart.OwnRun<E, R>,
  restore: Restore
): Effect.Effect<A, RunError<E>, R> =>
  Effect.gen(function* () {
    const { current, handle } = yield* RunHandles.make(log, observer, run, lanes, isResumed)
    const begun = Effect.zipRight(prepare, observer.began(run, isResumed))
    const worker = yield* Effect.fork(restore(Effect.zipRight(begun, definition.work(handle))))
    const working = Effect.raceFirst(Fiber.join(worker), RunLease.keep(log, run))
    const ticking = definition.observer === undefined ? RunObservers.mentioning(current) : Effect.never
    const exit = yield* Effect.exit(
      Effect.flatMap(restore(Effect.raceFirst(working, ticking)), (value) =>
        Effect.as(log.end(run, appliedOf(definition, value), definition.last?.(value) ?? Effect.void, restore), value)
      )
    )
    yield* undone(worker)
    const outcome = Exit.isSuccess(exit) ? "applied" : yield* RunConclusion.record(log, definition, run, exit.cause)
    yield* RunHandles.counted(outcome)
    yield* observer.ended({ ...(yield* current), outcome, isLive: false })
    return yield* Exit.isSuccess(exit) ? exit : Effect.failCause(Cause.map(exit.cause, RunPause.asTimeout))
  })

const appliedOf = <A, E, R>({ appliedBy, marker }: RunDefinition<A, E, R>, value: A): RunEnding => ({
  outcome: "applied",
  error: Option.none(),
  appliedBy,
  marker: Option.fromNullable(typeof marker === "function" ? marker(value) : marker)
})
