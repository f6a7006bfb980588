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
import { describe } from "./ErrorDescription.js"
import type { OperationConfig } from "./OperationConfig.js"
import type { LockTimeout } from "./OperationError.js"
import type { Run, RunLane } from "./Run.js"
import * as Runs from "./Run.js"
import type { RunDefinition } from "./RunDefinition.js"
import * as RunHandles from "./RunHandle.js"
import * as RunLease from "./RunLease.js"
import type { RunEnding, RunRefused } from "./RunLog.js"
import { RunLog } from "./RunLog.js"
import type { RunObserver } from "./RunObserver.js"
import * as RunObservers from "./RunObserver.js"
import * as RunPause from "./RunPause.js"
import * as RunStart from "./RunStart.js"

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
  Effect.gen(function* () {
    const log = yield* RunLog
    const observer = definition.observer ?? RunObservers.logging
    const started = yield* RunStart.start(definition, observer)
    if (started._tag === "DoneElsewhere") return { run: started.run, value: Option.none<A>() }
    const { isResumed, lanes, run } = started
    yield* observer.began(run, isResumed)
    const value = yield* toItsEnd(log, definition, observer, run, lanes, isResumed)
    const ended = Option.getOrElse(yield* log.find(run.id), () => run)
    return { run: ended, value: Option.some(value) }
  }).pipe(
    Effect.annotateLogs("run", RunObservers.title(definition)),
    Effect.withSpan("OperationRun.run", {
      attributes: { operationType: definition.operationType, operation: definition.name },
      captureStackTrace: false
    })
  )

/** How long a run that is interrupted may take to be recorded as paused; otherwise its lease runs out. */
const pausePatience = "3 seconds"

/** How long a batch that is interrupted may take to be undone: its statement is cancelled, then rolled back. */
const undoPatience = "3 seconds"

/**
 * Waits until nothing of the work is under way, which a race that is interrupted does not: a batch that is not rolled back yet holds the row in which
 * the end is recorded, and its statement is cancelled by the connection that would wait for that row.
 */
const undone = (worker: Fiber.RuntimeFiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.ignore(BoundedWait.within(Fiber.interrupt(worker), undoPatience))

/** From the first batch to the record of its end, which an interruption does not cut short. */
const toItsEnd = <A, E, R>(
  log: RunLog["Type"],
  definition: RunDefinition<A, E, R>,
  observer: RunObserver,
  run: Run,
  lanes: ReadonlyArray<RunLane>,
  isResumed: boolean
): Effect.Effect<A, RunError<E>, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { current, handle } = yield* RunHandles.make(log, observer, run, lanes, isResumed)
      const worker = yield* Effect.fork(restore(definition.work(handle)))
      const working = Effect.raceFirst(Fiber.join(worker), RunLease.keep(log, run))
      const ticking = definition.observer === undefined ? RunObservers.mentioning(current) : Effect.never
      const finished = Effect.flatMap(Effect.raceFirst(working, ticking), (value) =>
        Effect.as(log.end(run, appliedOf(definition, value), definition.last?.(value) ?? Effect.void), value)
      )
      const exit = yield* Effect.exit(restore(finished))
      yield* undone(worker)
      const outcome = Exit.isSuccess(exit) ? "applied" : yield* conclude(log, definition, run, exit.cause)
      yield* RunHandles.counted(outcome)
      yield* observer.ended({ ...(yield* current), outcome, isLive: false })
      return yield* Exit.isSuccess(exit) ? exit : Effect.failCause(Cause.map(exit.cause, RunPause.asTimeout))
    })
  )

const appliedOf = <A, E, R>({ appliedBy, marker }: RunDefinition<A, E, R>, value: A): RunEnding => ({
  outcome: "applied",
  error: Option.none(),
  appliedBy,
  marker: Option.fromNullable(typeof marker === "function" ? marker(value) : marker)
})

const endingOf = <A, E, R>(
  { appliedBy }: RunDefinition<A, E, R>,
  outcome: Exclude<RunEnding["outcome"], "applied">,
  error: RunEnding["error"] = Option.none()
): RunEnding => ({ outcome, error, appliedBy, marker: Option.none() })

/** Records how a run ended that did not succeed; answers with that. What cannot be recorded ends with the lease. */
const conclude = <A, E, R>(
  log: RunLog["Type"],
  definition: RunDefinition<A, E, R>,
  run: Run,
  cause: Cause.Cause<E | RunRefused>
): Effect.Effect<Run["outcome"], never, R> => {
  const failure = Cause.failureOption(cause)
  if (Option.exists(failure, (error) => error instanceof Runs.RunLost)) return Effect.succeed("running")
  if (Option.exists(failure, (error) => error instanceof Runs.RunCancelled))
    return Effect.as(
      noted(log.clear(run, definition.drop(run)), "What it left behind is still there", undefined),
      "cancelled"
    )
  const isOwn = (error: E | RunRefused): error is E =>
    !(error instanceof Runs.RunLost || error instanceof Runs.RunCancelled)
  const isPause =
    Cause.isInterruptedOnly(cause) ||
    Option.exists(failure, (error) => RunPause.isPause(error) || (isOwn(error) && isPausedBy(definition, error)))
  if (isPause)
    return noted(
      Effect.as(
        BoundedWait.within(log.end(run, endingOf(definition, "paused"), Effect.void), pausePatience),
        "paused" as const
      ),
      "That it is paused was not recorded: it can be gone on with once its lease is over",
      "running"
    )
  const failed = endingOf(definition, "failed", Option.some(describe(Cause.squash(cause))))
  return Effect.as(
    noted(
      Effect.catchAll(log.end(run, failed, definition.drop(run)), () => log.end(run, failed, Effect.void)),
      "Its failure was not recorded",
      undefined
    ),
    "failed"
  )
}

/** A failure of the database's has its own rules. */
const isPausedBy = <A, E, R>({ pauses }: RunDefinition<A, E, R>, error: E): boolean => pauses?.(error) ?? false

/** The value of the effect, or another one with a warning. */
const noted = <A, B, E, R>(
  effect: Effect.Effect<A, E, R>,
  warning: string,
  otherwise: B
): Effect.Effect<A | B, never, R> =>
  Effect.catchAllCause(effect, (cause) =>
    Effect.as(Effect.logWarning(`${warning}: ${describe(Cause.squash(cause)).message}`), otherwise)
  )
