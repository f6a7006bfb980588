/**
 * The interruption of a command: its work gets a moment to end in order, and a failure says why it was interrupted and what is left.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as BoundedWait from "../../operation/BoundedWait.js"
import { describe } from "../../operation/ErrorDescription.js"
import * as UnhandledRejections from "../../seed/UnhandledRejections.js"
import type { CommandFailure } from "../output/CommandFailure.js"
import * as Culprit from "../output/Culprit.js"

/** How long work that is interrupted may take to end in order. */
const patience = "1500 millis"

/** Runs work that keeps nobody waiting when it is interrupted: `stopped` gets whether it ended in time; what did not is left to itself. */
export const stoppable = <A, E, R, R2>(
  work: Effect.Effect<A, E, R>,
  stopped: (inTime: boolean) => Effect.Effect<unknown, never, R2>
): Effect.Effect<A, E, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(work)), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
        Effect.flatMap(Effect.option(BoundedWait.within(Fiber.interrupt(fiber), patience)), (ended) =>
          stopped(Option.isSome(ended))
        )
      )
    )
  )

/**
 * The failure of a command that was interrupted. An error that nobody handled is the reason, if there is one, and then `next`, the
 * step after an interruption, is not said, as the code has to change first.
 */
export const failure = (interrupted: CommandFailure, next = ""): CommandFailure =>
  Option.match(UnhandledRejections.blamedFor(), {
    onNone: () => ({ ...interrupted, message: `${interrupted.message}${next}` }),
    onSome: (cause) => ({
      _tag: Culprit.unhandledTag,
      id: interrupted.id,
      cause,
      message: `unhandled in ${Culprit.name}: ${describe(cause).message}; ${interrupted.message}`
    })
  })
