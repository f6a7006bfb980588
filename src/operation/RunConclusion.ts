/**
 * The conclusion of a run that did not succeed: an interruption is a pause, and so is what passes by itself; anything else is its failure.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BoundedWait from "./BoundedWait.js"
import { describe } from "./ErrorDescription.js"
import type { Run } from "./Run.js"
import * as Runs from "./Run.js"
import type { RunDefinition } from "./RunDefinition.js"
import type { RunEnding, RunLog, RunRefused } from "./RunLog.js"
import * as RunPause from "./RunPause.js"

/** How long a run that is interrupted may take to be recorded as paused; otherwise its lease runs out. */
const pausePatience = "3 seconds"

/** Records how a run ended that did not succeed; answers with that. What cannot be recorded ends with the lease. */
export const record = <A, E, R>(
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

const endingOf = <A, E, R>(
  { appliedBy }: RunDefinition<A, E, R>,
  outcome: Exclude<RunEnding["outcome"], "applied">,
  error: RunEnding["error"] = Option.none()
): RunEnding => ({ outcome, error, appliedBy, marker: Option.none() })

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
