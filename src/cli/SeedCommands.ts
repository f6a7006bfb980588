/**
 * `seed:apply` and `seed:status`: words to calls, reports to lines.
 */
import * as Options from "@effect/cli/Options"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { describe } from "../operation/Attempt.js"
import { SeedsInconsistent } from "../seed/SeedProblem.js"
import type { SeedReport } from "../seed/SeedReport.js"
import { SeedOutcome } from "../seed/SeedReport.js"
import * as SeedRunner from "../seed/SeedRunner.js"
import type { Observer } from "../seed/SeedSequence.js"
import type { SeedStatusEntry, Status } from "../seed/SeedStatus.js"
import * as SeedStatus from "../seed/SeedStatus.js"
import * as SeedDocument from "../seed/SeedDocument.js"
import type { RunFailure } from "./DocumentOf.js"
import * as DocumentOf from "./DocumentOf.js"
import { exitCode, nextStep, UsageError } from "./Failure.js"
import { withDatabase } from "./Session.js"
import type { Given } from "./Settings.js"
import * as Settings from "./Settings.js"
import { Terminal } from "./Terminal.js"

/** The options of `seed:apply`. */
export const applyOptions = {
  ...Settings.options,
  to: Options.text("to").pipe(
    Options.withPseudoName("id"),
    Options.withDescription("Apply up to and including this seed"),
    Options.optional
  ),
  dryRun: Options.boolean("dry-run").pipe(
    Options.withDescription("Run the pending seeds for real in one transaction, show their events, and roll it back")
  )
}

/** The options of `seed:status`. */
export const statusOptions = {
  ...Settings.options,
  check: Options.boolean("check").pipe(
    Options.withDescription("Exit 3 if anything is pending, late or interrupted; 4 if the seeds are inconsistent")
  )
}

/** What was seen of a run while it went on. */
interface Seen {
  readonly planned: ReadonlyArray<string>
  readonly outcomes: ReadonlyArray<SeedOutcome>
}

/** Applies the seeds; gives the exit code. */
export const apply = (
  given: Given & { readonly to: Option.Option<string>; readonly dryRun: boolean }
): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    const seen = yield* Ref.make<Seen>({ planned: [], outcomes: [] })
    const observer: Observer = {
      planned: (planned, rest) => Ref.update(seen, (before) => ({ ...before, planned: [...planned, ...rest] })),
      outcome: (outcome) =>
        Effect.zipRight(
          Ref.update(seen, (before) => ({ ...before, outcomes: [...before.outcomes, outcome] })),
          given.json ? Effect.void : Effect.forEach(outcomeLines(terminal, outcome), terminal.out, { discard: true })
        )
    }
    const run = Effect.flatMap(Settings.resolveAll(given), (settings) =>
      withDatabase(
        settings,
        (given.dryRun ? SeedRunner.dryRun : SeedRunner.apply)({
          appliedBy: settings.appliedBy,
          to: Option.getOrUndefined(given.to),
          observer
        })
      )
    )
    const ended = (exit: Exit.Exit<SeedReport, RunFailure>) =>
      Effect.flatMap(Ref.get(seen), (before) => endOfRun(terminal, given, before, exit))
    return yield* run.pipe(
      Effect.onInterrupt(() => ended(Exit.fail(interrupted))),
      Effect.sandbox,
      Effect.mapError(failureOf),
      Effect.exit,
      Effect.flatMap(ended)
    )
  })

/** Shows the status; gives the exit code. */
export const status = (given: Given & { readonly check: boolean }): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const settings = yield* Settings.resolveAll(given)
    const found = yield* withDatabase(settings, SeedStatus.status)
    const terminal = yield* Terminal
    const unreadable = found.problems.filter(({ _tag }) => _tag === "SeedSourceError")
    if (unreadable[0] !== undefined) return yield* new SeedsInconsistent({ problems: [unreadable[0]] })
    yield* given.json
      ? terminal.out(
          DocumentOf.encode(SeedDocument.StatusDocument, DocumentOf.ofStatus(found, settings.database.shown))
        )
      : Effect.forEach(statusLines(terminal, found), terminal.out, { discard: true })
    return given.check ? checkCode(found) : 0
  }).pipe(
    Effect.sandbox,
    Effect.catchAll((cause) => reportError(given.json, failureOf(cause)))
  )

/** Reports a failure that came before a command could say more; gives the exit code. */
export const reportError = (json: boolean, failure: RunFailure): Effect.Effect<number, never, Terminal> =>
  Effect.gen(function* () {
    const terminal = yield* Terminal
    const { _tag, message } = failure
    if (json) yield* terminal.out(DocumentOf.encode(SeedDocument.ErrorDocument, { error: { _tag, message } }))
    yield* explain(terminal, failure)
    return exitCode(_tag)
  })

/** The document of a `seed:apply` that ended before it began. */
export const reportUnrun = (failure: RunFailure): Effect.Effect<number, never, Terminal> =>
  Effect.flatMap(Terminal, (terminal) =>
    endOfRun(terminal, { json: true, dryRun: false }, { planned: [], outcomes: [] }, Exit.fail(failure))
  )

const checkCode = ({ counts, problems }: Status): number => {
  if (problems.length > 0) return exitCode("SeedsInconsistent")
  return counts.pending + counts.late + counts.interrupted > 0 ? exitCode("SeedsPending") : 0
}

const interrupted: RunFailure = { _tag: "Interrupted", message: "interrupted: what was under way was rolled back" }

const failureOf = <E extends RunFailure>(cause: Cause.Cause<E>): RunFailure =>
  Option.match(Cause.failureOption(cause), {
    onSome: (failure): RunFailure =>
      failure._tag === "UnknownSeed" ? new UsageError({ reason: failure.message }) : failure,
    onNone: () => {
      const { _tag, message } = describe(Cause.squash(cause))
      return { _tag, message: `unexpected: ${message}` }
    }
  })

const endOfRun = (
  terminal: Terminal["Type"],
  { dryRun, json }: { readonly dryRun: boolean; readonly json: boolean },
  seen: Seen,
  exit: Exit.Exit<SeedReport, RunFailure>
): Effect.Effect<number> =>
  Effect.gen(function* () {
    const failure = Exit.isSuccess(exit) ? Option.none() : Cause.failureOption(exit.cause)
    const done = new Set(seen.outcomes.map(({ id }) => id))
    const failed = Option.flatMapNullable(failure, DocumentOf.seedOf)
    const left = seen.planned.filter((id) => !done.has(id) && !Option.contains(failed, id))
    const report: SeedReport = Exit.isSuccess(exit)
      ? exit.value
      : { outcomes: seen.outcomes, notAttempted: left, skippedAll: Option.none(), dryRun }
    yield* json
      ? terminal.out(DocumentOf.encode(SeedDocument.ApplyDocument, DocumentOf.ofRun(report.outcomes, report, failure)))
      : Effect.forEach(closingLines(terminal, report, failure), terminal.out, { discard: true })
    yield* Option.match(failure, { onNone: () => Effect.void, onSome: (error) => explain(terminal, error) })
    return Option.match(failure, { onNone: () => 0, onSome: ({ _tag }) => exitCode(_tag) })
  })

const explain = ({ err }: Terminal["Type"], { _tag, message }: RunFailure): Effect.Effect<void> =>
  Effect.zipRight(
    err(`error: ${message}`),
    Effect.suspend(() => {
      const step = nextStep(_tag)
      return step === undefined ? Effect.void : err(step)
    })
  )

const column = (text: string): string => text.padEnd(12)

const outcomeLines = ({ paint }: Terminal["Type"], outcome: SeedOutcome): ReadonlyArray<string> =>
  SeedOutcome.$match(outcome, {
    Applied: ({ durationMs, events, id, preview }) => [
      `${paint("green", column(Option.isSome(preview) ? "would apply" : "applied"))}${id}  ${paint("dim", `${durationMs} ms, ${counted(events, "event")}`)}`,
      ...Option.getOrElse(preview, () => []).map(
        ({ aggregateId, payload, type, version }) =>
          `${column("")}${type} v${version} of ${aggregateId} ${paint("dim", JSON.stringify(payload))}`
      )
    ],
    Skipped: ({ flag, id }) => [`${paint("yellow", column("skipped"))}${id}  ${paint("dim", `by ${flag}`)}`],
    Raced: ({ id }) => [`${column("raced")}${id}  ${paint("dim", "applied by another replica meanwhile")}`]
  })

const closingLines = (
  { paint }: Terminal["Type"],
  report: SeedReport,
  failure: Option.Option<RunFailure>
): ReadonlyArray<string> => {
  const { notAttempted, outcomes, skippedAll } = report
  const failed = Option.flatMapNullable(failure, DocumentOf.seedOf)
  if (Option.isSome(skippedAll)) return [`Nothing applied: ${skippedAll.value}=1 skips all seeds.`]
  if (outcomes.length === 0 && notAttempted.length === 0 && Option.isNone(failed)) {
    return [Option.isSome(failure) ? "Nothing applied." : "Nothing to do."]
  }
  const count = (tag: SeedOutcome["_tag"]) => outcomes.filter((outcome) => outcome._tag === tag).length
  const counts = [
    `${count("Applied")} ${report.dryRun ? "would be applied" : "applied"}`,
    ...(count("Skipped") > 0 ? [`${count("Skipped")} skipped`] : []),
    ...(count("Raced") > 0 ? [`${count("Raced")} applied by another replica`] : []),
    ...(Option.isSome(failed) ? ["1 failed"] : []),
    `${notAttempted.length} not attempted`
  ]
  return [
    ...Option.toArray(failed).map((id) => `${paint("red", column("failed"))}${id}`),
    ...notAttempted.map((id) => `${paint("dim", column("not run"))}${id}`),
    `${counts.join(", ")}.${report.dryRun ? " Dry run: everything was rolled back." : ""}`
  ]
}

const statusLines = (terminal: Terminal["Type"], { counts, problems, seeds }: Status): ReadonlyArray<string> => {
  const width = Math.max(0, ...seeds.map(({ id }) => id.length))
  const totals = Object.entries(counts)
    .filter(([, number]) => number > 0)
    .map(([state, number]) => `${number} ${state}`)
  const list = problems.map(({ message }) => `${terminal.paint("red", column("problem"))}${message}`)
  return [
    ...seeds.map((seed) => statusLine(terminal, seed, width)),
    ...list,
    totals.length === 0 ? "No seeds." : `${totals.join(", ")}.`
  ]
}

const colours = { applied: "green", pending: "yellow", late: "yellow", interrupted: "red", orphan: "dim" } as const

const statusLine = ({ paint }: Terminal["Type"], seed: SeedStatusEntry, width: number): string => {
  const details = [
    ...Option.toArray(seed.marker).map(
      ({ appliedAt, appliedBy, durationMs }) => `${DateTime.formatIso(appliedAt)} by ${appliedBy}, ${durationMs} ms`
    ),
    ...(seed.changed ? ["changed since"] : []),
    ...(seed.flagSet ? Option.toArray(seed.flag).map((flag) => `skipped by ${flag}`) : []),
    ...Option.toArray(seed.lastAttempt)
      .filter(({ outcome }) => seed.state !== "applied" && outcome !== "applied")
      .map(
        ({ error, outcome }) =>
          `last attempt ${outcome}${Option.match(error, { onNone: () => "", onSome: (e) => `: ${e.message}` })}`
      ),
    ...Option.toArray(seed.description).filter((text) => text !== "")
  ]
  return `${paint(colours[seed.state], column(seed.state))}${seed.id.padEnd(width)}  ${paint("dim", details.join("; "))}`.trimEnd()
}

const counted = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`
