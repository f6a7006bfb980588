/**
 * How a command ends: its exit code, what is said of a failure on stderr, and the document of one on stdout.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { describe } from "../../operation/Attempt.js"
import * as UnhandledRejections from "../../seed/UnhandledRejections.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import type { RunFailure } from "./Documents.js"
import * as Documents from "./Documents.js"
import { exitCode, nextStep, UsageError } from "./Failure.js"
import * as ExitMessage from "./ExitMessage.js"
import { Terminal } from "./Terminal.js"

/** What was and was not done when a command is interrupted that changes nothing. */
export const untouched = "interrupted: nothing was changed"

/** Does a command's work; a failure is told, and its exit code given. `left` says what an interruption leaves. */
export const command = <R>(
  json: boolean,
  work: Effect.Effect<number, RunFailure, R>,
  left: string = untouched
): Effect.Effect<number, never, R | Terminal> =>
  Effect.sync(() => {
    ExitMessage.set((reason) =>
      json ? Option.some(document({ _tag: "ProcessEnded", message: reason })) : Option.none()
    )
  }).pipe(
    Effect.zipRight(stoppable(work, () => failed(json, endedBy({ _tag: "Interrupted", message: left })))),
    Effect.sandbox,
    Effect.catchAll((cause) => failed(json, failureOf(cause))),
    Effect.tap(() => Effect.sync(ExitMessage.unset))
  )

const document = ({ _tag, message }: RunFailure): string =>
  Documents.encode(SeedDocument.ErrorDocument, { error: { _tag, message } })

/**
 * What was thrown where nobody could catch it is the reason why a command was interrupted, if that happened; else `next` says what to do, as
 * no seed is to be mended.
 */
export const endedBy = (interrupted: RunFailure, next = ""): RunFailure =>
  Option.match(UnhandledRejections.blamedFor(), {
    onNone: () => ({ ...interrupted, message: `${interrupted.message}${next}` }),
    onSome: (cause) => ({
      _tag: "SeedFailed",
      id: interrupted.id,
      cause,
      message: `unhandled in a seed: ${describe(cause).message}; ${interrupted.message}`
    })
  })

/** How long work that is interrupted may take to end in order. */
const patience = "1500 millis"

/** Work that does not keep anybody waiting when it is interrupted: `stopped` is told whether it ended in time, and what did not is left. */
export const stoppable = <A, E, R, R2>(
  work: Effect.Effect<A, E, R>,
  stopped: (inTime: boolean) => Effect.Effect<unknown, never, R2>
): Effect.Effect<A, E, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(work)), (fiber) =>
      Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
        Fiber.interrupt(fiber).pipe(
          Effect.interruptible,
          Effect.timeoutOption(patience),
          Effect.flatMap((ended) => stopped(Option.isSome(ended)))
        )
      )
    )
  )

/** Tells a failure that came before a command could say more; gives the exit code. */
export const failed = (json: boolean, failure: RunFailure): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    ExitMessage.unset()
    if (json) yield* terminal.out(document(failure))
    yield* explain(terminal, failure)
    return exitCode(failure._tag)
  })

/** What happened, what else there is to know, and the next step, for people. */
export const explain = (
  { err, paint }: Terminal["Type"],
  { _tag, message }: RunFailure,
  more: ReadonlyArray<string> = [],
  next = nextStep(_tag)
): Effect.Effect<void> => {
  const lines = [`${paint("red", "error:", "err")} ${message}`, ...more, ...Option.toArray(next)]
  return err(lines.join("\n"))
}

/** Failures that say that the words of the command are off. */
const usage = new Set(["UnknownSeed", "NotApplied", "SeedNotCreated"])

/** What a cause comes down to. A defect of our own is told as one. */
export const failureOf = <E extends RunFailure>(cause: Cause.Cause<E>): RunFailure =>
  Option.match(Cause.failureOption(cause), {
    onSome: (failure): RunFailure => (usage.has(failure._tag) ? new UsageError({ reason: failure.message }) : failure),
    onNone: () => {
      const { _tag, message } = describe(Cause.squash(cause))
      return { _tag, message: `unexpected: ${message}` }
    }
  })
