/**
 * `seed:apply`: applies the pending seeds, and reports the run however it ends.
 */
import * as Options from "@effect/cli/Options"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { parseDuration } from "../../operation/DurationText.js"
import type { SeedReport } from "../../seed/SeedReport.js"
import type { Observer } from "../../seed/Observer.js"
import * as SeedRunner from "../../seed/run/SeedRunner.js"
import { UsageError } from "../UsageError.js"
import type { DatabaseGiven } from "../input/CommandOptions.js"
import { databaseOptions } from "../input/CommandOptions.js"
import * as Settings from "../input/Settings.js"
import * as ApplyLines from "../output/ApplyLines.js"
import * as ApplyReport from "../output/ApplyReport.js"
import type { CommandFailure } from "../output/CommandFailure.js"
import { fromCause, seedOf } from "../output/CommandFailure.js"
import * as ExitMessage from "../output/ExitMessage.js"
import * as LiveLine from "../output/LiveLine.js"
import { Terminal } from "../output/Terminal.js"
import * as ApplyInterruption from "./ApplyInterruption.js"
import * as ApplyObserver from "./ApplyObserver.js"
import * as ApplyProgress from "./ApplyProgress.js"
import { withDatabase } from "./CommandSession.js"
import * as Interruption from "./Interruption.js"

export const options = {
  to: Options.text("to").pipe(
    Options.withPseudoName("id"),
    Options.withDescription("Apply up to and including this seed"),
    Options.optional
  ),
  retry: Options.text("retry").pipe(
    Options.withPseudoName("id"),
    Options.withDescription("Run this seed again, which was interrupted half-way outside any transaction"),
    Options.optional
  ),
  restart: Options.text("restart").pipe(
    Options.withPseudoName("id"),
    Options.withDescription("Begin this seed anew, which is in batches and half done"),
    Options.optional
  ),
  pauseBetween: Options.text("pause-between").pipe(
    Options.withPseudoName("duration"),
    Options.withDescription(
      "How long to let others work between two batches of a seed: 500ms, 2s. Default: not at all"
    ),
    Options.optional
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Run the pending seeds for real in one transaction, show their events, and roll it back")
  ),
  ...databaseOptions
}

interface Given extends DatabaseGiven {
  readonly to: Option.Option<string>
  readonly retry: Option.Option<string>
  readonly restart: Option.Option<string>
  readonly pauseBetween: Option.Option<string>
  readonly dryRun: boolean
}

/** Applies the seeds; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    const live = yield* LiveLine.make
    const progress = yield* Ref.make(ApplyProgress.initial)
    ExitMessage.set((reason) => Option.some(exitMessage(terminal, given, Effect.runSync(Ref.get(progress)), reason)))

    const report = (endedAt: (progress: ApplyProgress.ApplyProgress) => ApplyReport.EndedRun) =>
      Effect.zipRight(
        live.end,
        Effect.flatMap(Ref.get(progress), (last) => ApplyReport.write(given.json, endedAt(last)))
      )

    return yield* Interruption.stoppable(
      apply(given, ApplyObserver.make(terminal, live, progress, given.json)),
      (inTime) => report((last) => interruptedRun(last, given.dryRun, inTime))
    ).pipe(
      Effect.sandbox,
      Effect.matchEffect({
        onFailure: (cause) => report((last) => failedRun(last, given.dryRun, fromCause(cause))),
        onSuccess: (done) => report(() => ({ report: done, failure: Option.none(), more: [] }))
      })
    )
  }).pipe(Effect.scoped)

const apply = (given: Given, observer: Observer): Effect.Effect<SeedReport, CommandFailure, Terminal> =>
  Effect.gen(function* () {
    const settings = yield* Settings.resolveAll(given)
    const options = {
      appliedBy: settings.appliedBy,
      to: Option.getOrUndefined(given.to),
      retry: Option.getOrUndefined(given.retry),
      restart: Option.getOrUndefined(given.restart),
      pauseBetween: yield* pauseOf(given),
      observer
    }
    return yield* withDatabase(settings, given.dryRun ? SeedRunner.dryRun(options) : SeedRunner.apply(options))
  })

const pauseOf = ({ pauseBetween }: Given): Effect.Effect<Duration.Duration | undefined, UsageError> =>
  Option.match(pauseBetween, {
    onNone: () => Effect.succeed(undefined),
    onSome: (text) =>
      Option.match(parseDuration(text), {
        onNone: () => new UsageError({ reason: `--pause-between: "${text}" is not a duration such as 500ms or 2s` }),
        onSome: (pause) => Effect.succeed(pause)
      })
  })

const failedRun = (
  progress: ApplyProgress.ApplyProgress,
  dryRun: boolean,
  failure: CommandFailure
): ApplyReport.EndedRun => ({
  report: ApplyProgress.report(progress, seedOf(failure), dryRun),
  failure: Option.some(failure),
  more: ApplyProgress.notUndone(progress, failure)
})

const interruptedRun = (
  progress: ApplyProgress.ApplyProgress,
  dryRun: boolean,
  inTime: boolean
): ApplyReport.EndedRun => ({
  ...failedRun(progress, dryRun, ApplyInterruption.interrupted(progress, dryRun, inTime)),
  // The message says itself what is not undone.
  more: []
})

/** The document or the last lines of a run whose process ends now. */
const exitMessage = (
  terminal: Terminal["Type"],
  { dryRun, json }: Given,
  progress: ApplyProgress.ApplyProgress,
  reason: string
): string => {
  const report = ApplyProgress.report(progress, progress.running, dryRun)
  return json
    ? ApplyReport.document(report, Option.some(ApplyInterruption.processEnded(progress, reason)))
    : ApplyLines.closingLines(terminal, report, Option.some(ApplyInterruption.cutOff(progress, reason))).join("\n")
}

/** Writes the document of a `seed:apply` whose command line is wrong; gives the exit code. */
export const reportNotStarted = (failure: CommandFailure): Effect.Effect<number, never, Terminal> =>
  ApplyReport.write(true, failedRun(ApplyProgress.initial, false, failure))
