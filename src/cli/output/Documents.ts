/**
 * The JSON documents that `--json` prints, made of what the library reports.
 */
import * as Option from "effect/Option"
import type { Event } from "../../event/Event.js"
import type { Attempt } from "../../operation/Attempt.js"
import { describe } from "../../operation/ErrorDescription.js"
import type { Finding } from "../../operation/DatabaseHealth.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import { secondsLeft } from "../../operation/Run.js"
import type { SeedOutcome, SeedReport } from "../../seed/SeedReport.js"
import { SeedOutcome as Outcome } from "../../seed/SeedReport.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import type { SeedStatusEntry, Status } from "../../seed/record/SeedStatus.js"
import type { CommandFailure } from "./CommandFailure.js"
import { seedOf } from "./CommandFailure.js"
import { encode } from "./DocumentText.js"

export { encode }

/** The document of a status, as text. */
export const statusDocument = (status: Status, database: string | null): string =>
  encode(SeedDocument.StatusDocument, {
    schemaVersion: 1,
    database,
    seeds: status.seeds.map(seedRow),
    counts: status.counts
  })

const seedRow = (seed: SeedStatusEntry): typeof SeedDocument.SeedRow.Type => ({
  id: seed.id,
  state: seed.state,
  changed: seed.changed,
  ...Option.match(seed.running, {
    onNone: () => ({}),
    onSome: ({ host, serverPid, since }) => ({ running: { host, pid: serverPid, since: Option.getOrNull(since) } })
  }),
  ...Option.match(seed.progress, {
    onNone: () => ({}),
    onSome: (run) => ({
      progress: {
        done: run.done,
        total: Option.getOrNull(run.total),
        rate: Option.getOrNull(run.rate),
        secondsLeft: Option.getOrNull(secondsLeft(run))
      }
    })
  }),
  ...Option.match(seed.renamedFrom, { onNone: () => ({}), onSome: (renamedFrom) => ({ renamedFrom }) }),
  description: Option.getOrNull(seed.description),
  skippable: Option.getOrNull(seed.skippable),
  flag: Option.getOrNull(seed.flag),
  flagSet: seed.flagSet,
  appliedAt: Option.getOrNull(Option.map(seed.marker, ({ appliedAt }) => RecordedTime.format(appliedAt))),
  appliedBy: Option.getOrNull(Option.map(seed.marker, ({ appliedBy }) => appliedBy)),
  durationMs: Option.getOrNull(Option.map(seed.marker, ({ durationMs }) => durationMs)),
  lastAttempt: Option.getOrNull(
    Option.map(seed.lastAttempt, ({ endedAt, error, outcome, startedAt }) => ({
      outcome,
      at: RecordedTime.format(Option.getOrElse(endedAt, () => startedAt)),
      error: Option.getOrNull(error)
    }))
  ),
  problem: Option.getOrNull(Option.map(seed.problem, ({ _tag, message }) => ({ _tag, message })))
})

/** The document of a history. */
export const ofHistory = (attempts: ReadonlyArray<Attempt>): SeedDocument.HistoryDocument =>
  attempts.map((attempt) => ({
    id: attempt.operationId,
    operationType: attempt.operationType,
    attempt: attempt.attempt,
    outcome: attempt.outcome,
    startedAt: RecordedTime.format(attempt.startedAt),
    endedAt: Option.getOrNull(Option.map(attempt.endedAt, RecordedTime.format)),
    durationMs: Option.getOrNull(attempt.durationMs),
    waitedMs: Option.getOrNull(attempt.waitedMs),
    appliedBy: attempt.appliedBy,
    host: attempt.host,
    pid: attempt.pid,
    version: Option.getOrNull(attempt.version),
    reason: Option.getOrNull(attempt.reason),
    error: Option.getOrNull(attempt.error)
  }))

/** The document of a doctor's findings. */
export const ofFindings = (found: ReadonlyArray<Finding>): SeedDocument.DoctorDocument => ({
  checks: found.map(({ detail, fault, fix, name }) => ({
    name,
    ok: fault === "none",
    detail,
    fix: Option.getOrNull(fix)
  }))
})

/** The document of a run: what was done, and what ended it. */
export const ofRun = (
  outcomes: ReadonlyArray<SeedOutcome>,
  rest: Pick<SeedReport, "notAttempted" | "skippedAll" | "dryRun">,
  failure: Option.Option<CommandFailure>
): SeedDocument.ApplyDocument => ({
  schemaVersion: 1,
  applied: outcomes.filter(Outcome.$is("Applied")).map(({ durationMs, events, id, preview }) => ({
    id,
    durationMs,
    events,
    ...Option.match(preview, { onNone: () => ({}), onSome: (shown) => ({ preview: shown.map(previewOf) }) })
  })),
  skipped: outcomes.filter(Outcome.$is("Skipped")).map(({ flag, id }) => ({ id, flag })),
  raced: outcomes.filter(Outcome.$is("Raced")).map(({ id }) => id),
  failed: Option.getOrNull(Option.map(failure, failed)),
  notAttempted: rest.notAttempted,
  dryRun: rest.dryRun,
  skippedAll: Option.getOrNull(rest.skippedAll)
})

const previewOf = ({ aggregateId, aggregateType, payload, tenantId, type, version }: Event) => ({
  type,
  aggregateType,
  aggregateId,
  tenantId,
  version,
  payload
})

const failed = (failure: CommandFailure): typeof SeedDocument.Failure.Type => ({
  id: Option.getOrNull(seedOf(failure)),
  error: {
    _tag: failure._tag,
    message: failure.message,
    cause: failure._tag === "SeedFailed" ? describe(failure.cause) : null,
    ...(failure.problems === undefined ? {} : { problems: failure.problems })
  }
})
