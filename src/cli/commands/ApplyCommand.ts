/**
 * `seed:apply`: words to calls, the run to lines and one document.
 */
import * as Options from "@effect/cli/Options"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { LockHeld } from "../../operation/OperationError.js"
import * as ModuleLoader from "../../seed/source/ModuleLoader.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import type { SeedReport } from "../../seed/SeedReport.js"
import { SeedOutcome } from "../../seed/SeedReport.js"
import * as SeedRunner from "../../seed/run/SeedRunner.js"
import type { Observer } from "../../seed/Observer.js"
import * as ApplyLines from "../output/ApplyLines.js"
import type { RunFailure } from "../output/Documents.js"
import * as Documents from "../output/Documents.js"
import { exitCode } from "../output/Failure.js"
import * as ExitMessage from "../output/ExitMessage.js"
import * as Layout from "../output/Layout.js"
import type { LiveLine } from "../output/LiveLine.js"
import * as Live from "../output/LiveLine.js"
import * as Report from "../output/Report.js"
import { withDatabase } from "./CommandSession.js"
import * as Settings from "../input/Settings.js"
import { Terminal } from "../output/Terminal.js"

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
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Run the pending seeds for real in one transaction, show their events, and roll it back")
  ),
  ...Settings.databaseOptions
}

interface Given extends Settings.DatabaseGiven {
  readonly to: Option.Option<string>
  readonly retry: Option.Option<string>
  readonly dryRun: boolean
}

/** What was seen of a run while it went on. */
interface Seen {
  readonly planned: ReadonlyArray<string>
  readonly outcomes: ReadonlyArray<SeedOutcome>
  /** The seed whose body is under way. */
  readonly running: Option.Option<string>
  /** Whether all of it is rolled back if it does not end. */
  readonly undone: boolean
}

const unseen: Seen = { planned: [], outcomes: [], running: Option.none(), undone: true }

/** Applies the seeds; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    const live = yield* Live.make
    const seen = yield* Ref.make(unseen)
    ExitMessage.set((reason) => {
      const before = Effect.runSync(Ref.get(seen))
      return Option.some(given.json ? lastDocument(given, before, reason) : lastLines(terminal, given, before, reason))
    })
    const applying = Effect.gen(function* () {
      const settings = yield* Settings.resolveAll(given)
      const options = {
        appliedBy: settings.appliedBy,
        to: Option.getOrUndefined(given.to),
        retry: Option.getOrUndefined(given.retry),
        observer: watching(terminal, live, seen, given.json)
      }
      return yield* withDatabase(settings, given.dryRun ? SeedRunner.dryRun(options) : SeedRunner.apply(options))
    })
    const ended = (exit: Exit.Exit<SeedReport, RunFailure>, kept: typeof keptOf) =>
      Effect.zipRight(
        live.end,
        Effect.flatMap(Ref.get(seen), (before) => end(terminal, given, before, exit, kept))
      )
    return yield* Report.stoppable(applying, (inTime) =>
      Effect.flatMap(Ref.get(seen), (before) =>
        // It says itself what is not undone.
        ended(
          Exit.fail(Report.endedBy(interrupted(before, given.dryRun, inTime), given.dryRun ? "" : goesOn(before))),
          () => []
        )
      )
    ).pipe(
      Effect.sandbox,
      Effect.mapError(Report.failureOf),
      Effect.exit,
      Effect.flatMap((exit) => ended(exit, keptOf))
    )
  }).pipe(Effect.scoped)

/** The document of a run whose process ends now. */
const lastDocument = ({ dryRun }: Given, seen: Seen, reason: string): string => {
  const { running } = seen
  const failure: RunFailure = Option.match(running, {
    onNone: () => ({ _tag: "ProcessEnded", message: reason }),
    onSome: (id) => ({ _tag: "SeedFailed", id, cause: new Error(reason), message: `seed "${id}" failed: ${reason}` })
  })
  return documentOf(reportOf(seen, dryRun), Option.some(failure))
}

/** The same for people: how the seed ended that was under way is not known. */
const lastLines = (terminal: Terminal["Type"], { dryRun }: Given, seen: Seen, reason: string): string => {
  const failure: RunFailure = { _tag: "ProcessEnded", id: seen.running, message: reason }
  return ApplyLines.closingLines(terminal, reportOf(seen, dryRun), Option.some(failure)).join("\n")
}

/** What was seen until the process ended. */
const reportOf = (seen: Seen, dryRun: boolean): SeedReport => ({
  outcomes: seen.outcomes,
  notAttempted: leftOf(seen, seen.running),
  skippedAll: Option.none(),
  dryRun
})

const documentOf = (report: SeedReport, failure: Option.Option<RunFailure>): string =>
  Documents.encode(SeedDocument.ApplyDocument, Documents.ofRun(report.outcomes, report, failure))

/** What was planned, without what was done and the seed that ended the run. */
const leftOf = ({ outcomes, planned }: Seen, failed: Option.Option<string>): ReadonlyArray<string> => {
  const done = new Set(outcomes.map(({ id }) => id))
  return planned.filter((id) => !done.has(id) && !Option.contains(failed, id))
}

/** The document of a `seed:apply` that ended before it began. */
export const reportUnrun = (failure: RunFailure): Effect.Effect<number, never, Terminal> =>
  Effect.flatMap(Terminal, (terminal) =>
    end(terminal, { json: true, dryRun: false }, unseen, Exit.fail(failure), keptOf)
  )

/** Notes what happens, and shows it as it happens. */
const watching = (terminal: Terminal["Type"], live: LiveLine, seen: Ref.Ref<Seen>, json: boolean): Observer => ({
  planned: (planned, rest) => Ref.update(seen, (before) => ({ ...before, planned: [...planned, ...rest] })),
  // ReplicaProgress than on a terminal the wait is logged where it is made.
  waiting: (id, held) => (terminal.interactive ? live.begin({ id, what: waits(held) }) : Effect.void),
  started: (id, undone) =>
    Effect.zipRight(
      Ref.update(seen, (before) => ({ ...before, running: Option.some(id), undone })),
      live.begin({ id, what: "runs" })
    ),
  outcome: (outcome) =>
    Effect.gen(function* () {
      yield* live.end
      yield* Ref.update(seen, (before) => ({
        ...before,
        outcomes: [...before.outcomes, outcome],
        running: Option.none<string>()
      }))
      if (json) return
      const { planned } = yield* Ref.get(seen)
      yield* Effect.forEach(ApplyLines.outcomeLines(terminal, outcome, widest(planned)), terminal.out, {
        discard: true
      })
    })
})

const waits = ({ holder }: LockHeld): string =>
  `waits for the operations lock${Option.match(holder, { onNone: () => "", onSome: ({ pid }) => ` of server process ${pid}` })}`

const widest = (ids: ReadonlyArray<string>): number => Math.max(0, ...ids.map((id) => id.length))

/** What was and was not done. */
const interrupted = ({ outcomes, planned, running, undone }: Seen, dryRun: boolean, inTime: boolean): RunFailure => {
  const left = planned.length - outcomes.length - (Option.isSome(running) ? 1 : 0)
  const applied = outcomes.filter(SeedOutcome.$is("Applied")).length
  const parts = [
    ...Option.toArray(running).map(
      (id) =>
        `"${id}" was under way and ${undone ? (inTime ? "was rolled back" : "did not stop: the server rolls it back") : "what it did is not undone"}`
    ),
    applied === 0 || dryRun
      ? "nothing was applied"
      : `${Layout.counted(applied, "seed")} applied before it stay applied`,
    ...(left > 0 ? [`${Layout.counted(left, "seed")} not attempted`] : [])
  ]
  return {
    _tag: "Interrupted",
    id: running,
    message: `interrupted: ${parts.join("; ")}`
  }
}

/** What there is to do after an interruption. */
const goesOn = ({ running, undone }: Seen): string =>
  `. es-ops seed:apply ${undone || Option.isNone(running) ? "goes on where it stopped" : "says how to go on"}`

const end = (
  terminal: Terminal["Type"],
  { dryRun, json }: { readonly dryRun: boolean; readonly json: boolean },
  seen: Seen,
  exit: Exit.Exit<SeedReport, RunFailure>,
  kept: typeof keptOf
): Effect.Effect<number> =>
  Effect.gen(function* () {
    const failure = Exit.isSuccess(exit) ? Option.none() : Cause.failureOption(exit.cause)
    const failed = Option.flatMapNullable(failure, Documents.seedOf)
    const report: SeedReport = Exit.isSuccess(exit)
      ? exit.value
      : { outcomes: seen.outcomes, notAttempted: leftOf(seen, failed), skippedAll: Option.none(), dryRun }
    ExitMessage.unset()
    yield* json
      ? terminal.out(documentOf(report, failure))
      : Effect.forEach(ApplyLines.closingLines(terminal, report, failure), terminal.out, { discard: true })
    yield* Option.match(failure, {
      onNone: () => Effect.void,
      onSome: (error) =>
        Report.explain(
          terminal,
          error,
          [...placeOf(error), ...kept(seen, error)],
          dryRun && error._tag === "SeedFailed" ? Option.some("Mend the seed; nothing was changed.") : undefined
        )
    })
    return Option.match(failure, { onNone: () => 0, onSome: ({ _tag }) => exitCode(_tag) })
  })

/** Where in a seed's file its error comes from. */
const placeOf = ({ _tag, cause }: RunFailure): ReadonlyArray<string> =>
  _tag === "SeedFailed" && cause instanceof Error
    ? Option.toArray(Option.map(ModuleLoader.placeOf(cause), (place) => `at ${place}`))
    : []

/** A failed seed of which not all was undone, which the next step is not to pass over. */
const keptOf = ({ running, undone }: Seen, failure: RunFailure): ReadonlyArray<string> => {
  const id = Documents.seedOf(failure)
  if (undone || id === null || !Option.contains(running, id)) return []
  return [`What "${id}" did outside its transaction, or without one, before it failed is not undone.`]
}
