/**
 * What is called while a run goes on, so that somebody can watch.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as LockWait from "./LockWait.js"
import type { Run } from "./Run.js"
import { secondsLeft } from "./Run.js"

/** Effects that are run when something happens; the run waits for each. */
export interface RunObserver {
  /** The run is this process's; `isResumed`: it goes on where another stood, or where this command was stopped. */
  readonly began: (run: Run, isResumed: boolean) => Effect.Effect<void>
  /** Another process is in a run of the same operation, and is waited for; called again with each look at it. */
  readonly waiting: (run: Run) => Effect.Effect<void>
  /** A batch was committed: the run as it is now. */
  readonly progress: (run: Run) => Effect.Effect<void>
  /** It ended, or stopped for now. */
  readonly ended: (run: Run) => Effect.Effect<void>
}

/** An observer that does nothing. */
export const silent: RunObserver = {
  began: () => Effect.void,
  waiting: () => Effect.void,
  progress: () => Effect.void,
  ended: () => Effect.void
}

/** How far a run is, in words: `bulk, 1200 of 5000, 400/s, 10 s left`. */
export const progressText = (run: Pick<Run, "phase" | "done" | "total" | "rate">): string =>
  [
    run.phase,
    `${run.done}${Option.match(run.total, { onNone: () => "", onSome: (total) => ` of ${total}` })}`,
    ...Option.toArray(Option.map(run.rate, (rate) => `${rate >= 10 ? Math.round(rate) : rate.toFixed(1)}/s`)),
    ...Option.toArray(Option.map(secondsLeft(run), (seconds) => `${seconds} s left`))
  ].join(", ")

/** The name of a run in logs. */
export const title = ({ name, operationType }: Pick<Run, "name" | "operationType">): string =>
  `${operationType} "${name}"`

/** An observer that logs how a run begins and ends. */
export const logging: RunObserver = {
  ...silent,
  began: (run, isResumed) =>
    Effect.logInfo(isResumed ? `${title(run)} goes on: ${progressText(run)}` : `${title(run)} begins`),
  ended: (run) => Effect.logInfo(`${title(run)} ${run.outcome}: ${progressText(run)}`)
}

/** Logs how far a run is, every ten seconds. */
export const mentioning = (current: Effect.Effect<Run>): Effect.Effect<never> =>
  Effect.forever(
    Effect.delay(
      Effect.flatMap(current, (run) => Effect.logInfo(`${title(run)}: ${progressText(run)}`)),
      LockWait.mentionEvery
    )
  )
