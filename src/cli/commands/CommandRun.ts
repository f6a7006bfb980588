/**
 * The run of a command: its work is done to an exit code, and a failure, an interruption or the end of the process is reported.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CommandFailure } from "../output/CommandFailure.js"
import { fromCause } from "../output/CommandFailure.js"
import * as ExitMessage from "../output/ExitMessage.js"
import * as FailureReport from "../output/FailureReport.js"
import type { Terminal } from "../output/Terminal.js"
import * as Interruption from "./Interruption.js"

/** Runs `work`, which reports its own success and gives the exit code. `interrupted` says what an interruption leaves. */
export const run = <R>(
  json: boolean,
  work: Effect.Effect<number, CommandFailure, R>,
  interrupted = "interrupted: nothing was changed"
): Effect.Effect<number, never, R | Terminal> =>
  Effect.sync(() => {
    ExitMessage.set((reason) =>
      json ? Option.some(FailureReport.document({ _tag: "ProcessEnded", message: reason })) : Option.none()
    )
  }).pipe(
    Effect.zipRight(
      Interruption.stoppable(work, () =>
        FailureReport.write(json, Interruption.failure({ _tag: "Interrupted", message: interrupted }))
      )
    ),
    Effect.sandbox,
    Effect.catchAll((cause) => FailureReport.write(json, fromCause(cause))),
    Effect.tap(() => Effect.sync(ExitMessage.unset))
  )
