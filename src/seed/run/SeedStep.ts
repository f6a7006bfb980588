/**
 * The step of one seed: under the lock, with its body, and with what is recorded of how it ended.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { WriteDispatcher } from "../../event/WriteDispatcher.js"
import type { Directory } from "../../identity/Directory.js"
import type { Attempt, NewAttempt } from "../../operation/Attempt.js"
import { isHalfDone, outsideTransaction } from "../../operation/AttemptRecord.js"
import type { AppliedBy } from "../../operation/Operation.js"
import { seedMigration } from "../../operation/Operation.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type { AlreadyApplied, DatabaseError, LockHeld } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import type { Replica } from "../../operation/Replica.js"
import type { StepEnding, StepRecord } from "../../operation/Transactor.js"
import * as Transactor from "../../operation/Transactor.js"
import type { Observer } from "../Observer.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import { notAtomic } from "../plan/WriterCheck.js"
import { SeedFailedElsewhere, SeedInterrupted, SeedOutcome } from "../SeedReport.js"
import * as UnhandledRejections from "../UnhandledRejections.js"
import * as OutsideTransaction from "./OutsideTransaction.js"
import * as SeedAttempt from "./SeedAttempt.js"
import type { BodyFailed } from "./SeedBody.js"
import * as SeedBody from "./SeedBody.js"
import type * as ReplicaProgress from "./ReplicaProgress.js"
import type { Unrecorded } from "./SkipRecord.js"

/** What all seeds of one run share: how it was asked for, what was there when it was planned, and what was seen of other replicas since. */
export interface SeedRun {
  readonly appliedBy: AppliedBy
  readonly observer: Observer
  /** The seeds of the run, in order. */
  readonly ids: ReadonlyArray<string>
  /** When it began, in milliseconds since the epoch. */
  readonly startedAt: number
  /** Whether writes are in the seed's transaction. */
  readonly atomic: boolean
  /** Seeds whose last attempt did not end, when the run was planned. */
  readonly halfDone: ReadonlySet<string>
  /** The one of them that is to be run again all the same. */
  readonly retry: string | undefined
  /** The batched seed that is to be begun anew. */
  readonly restart: string | undefined
  /** How long to let others work between two batches. */
  readonly pauseBetween: Duration.DurationInput | undefined
  /** The newest attempt at each seed when the run was planned: of one that had to wait, a failure after it is another replica's. */
  readonly lastAttempts: ReadonlyMap<string, Attempt>
  /** Whether this run had to wait so far. */
  readonly waited: Ref.Ref<boolean>
  /** What was seen of the other replicas when a race was last lost to them. */
  readonly others: Ref.Ref<Option.Option<ReplicaProgress.ReplicaProgress>>
  /** Whether the seed before was another replica's, which may hold the lock again. */
  readonly lostRace: Ref.Ref<boolean>
  /** The skips that are not recorded yet, as there was no table for them. */
  readonly unrecorded: Unrecorded
}

/** One seed in its run. */
export interface SeedStep {
  readonly loaded: LoadedSeed
  readonly run: SeedRun
  /** The hash of its source, where it has one. */
  readonly sourceHash: Option.Option<string>
  /** When the run came to it, in milliseconds since the epoch. */
  readonly beganAt: number
}

/** A seed that is through, and what is recorded of it. */
export interface Done extends StepRecord {
  readonly outcome: SeedOutcome
}

/** Why the work of a step ended early. */
export type WorkError = LockHeld | AlreadyApplied | SeedFailedElsewhere | SeedInterrupted | BodyFailed | DatabaseError

/** What the work of a step requires. */
export type Services =
  OperationLock | OperationLog | OperationConfig | Replica | Transactor.Transactor | WriteDispatcher | Directory

/** Whether all that a seed does is in transactions. */
export const isTransactional = ({ loaded }: SeedStep): boolean => loaded.seed.transaction !== "none"

/** The work of `Transactor.step`: the claim, the body, and what is written with the COMMIT, or after the body is undone. */
export const inTransaction = (
  step: SeedStep,
  restore: Transactor.Restore
): Effect.Effect<StepEnding<Done, WorkError>, never, Services> =>
  Effect.gen(function* () {
    const claimed = yield* Effect.exit(restore(claim(step)))
    // Without the lock nothing was tried.
    if (Exit.isFailure(claimed)) return Transactor.undo(claimed.cause)
    const claimedAt = claimed.value
    const ran = yield* Effect.exit(restore(Effect.zipRight(refuse(step), body(step))))
    if (Exit.isFailure(ran)) return Transactor.undo(ran.cause, yield* failedAttempt(step, claimedAt, ran.cause))
    const done = yield* doneOf(step, claimedAt, ran.value)
    const { committing } = step.run.observer
    if (committing !== undefined) yield* committing(step.loaded.entry.id)
    const kept: StepEnding<Done, WorkError> = { _tag: "Keep", value: done, record: Option.some(done) }
    return kept
  })

/** The work of `Transactor.session`: the attempt is there before the body, and nothing of the body is undone. `applied` gets the outcome. */
export const outside = (
  step: SeedStep,
  applied: (outcome: SeedOutcome) => Effect.Effect<SeedOutcome>
): Effect.Effect<SeedOutcome, WorkError, Services> =>
  Effect.gen(function* () {
    const claimedAt = yield* claim(step)
    yield* refuse(step)
    return yield* OutsideTransaction.run(
      Effect.flatMap(body(step), (ran) => doneOf(step, claimedAt, ran)),
      (outcome, more) => attempt(step, claimedAt, outcome, more),
      {
        committing: Effect.suspend(() => step.run.observer.committing?.(step.loaded.entry.id) ?? Effect.void),
        undone: Effect.suspend(() => step.run.observer.undone?.(step.loaded.entry.id) ?? Effect.void),
        committed: ({ outcome }) => applied(outcome)
      }
    )
  })

/** The lock, and when it was got, in milliseconds since the epoch. */
export const claim = ({ loaded }: SeedStep) =>
  Effect.zipRight(
    Effect.flatMap(OperationLock, (lock) => lock.claim(loaded.entry.id)),
    Clock.currentTimeMillis
  )

const body = (step: SeedStep) =>
  Effect.flatMap(step.run.observer.started(step.loaded.entry.id, isTransactional(step) && step.run.atomic), () =>
    SeedBody.run(step.loaded)
  )

/** What stands in the way of the body, found under the lock. */
export const refuse = (step: SeedStep) =>
  Effect.gen(function* () {
    const { loaded, run } = step
    const { id } = loaded.entry
    if (yield* Ref.get(run.waited)) yield* refuseFailedElsewhere(step)
    const mayBeHalfDone = !isTransactional(step) || run.halfDone.has(id)
    if (mayBeHalfDone && !loaded.seed.idempotent && run.retry !== id) yield* refuseHalfDone(step)
  })

/** A replica that waited, and finds that this seed failed meanwhile with this source, does not run it again. */
const refuseFailedElsewhere = ({ loaded: { entry }, run, sourceHash }: SeedStep) =>
  Effect.gen(function* () {
    const { id } = entry
    const log = yield* OperationLog
    const last = run.lastAttempts.get(id)
    // One that has not ended keeps its id when it does.
    const after = last === undefined ? 0 : last.outcome === "running" ? last.id - 1 : last.id
    const failed = (yield* log.attempts({ id, after })).find(
      (other) => other.outcome === "failed" && Option.getOrNull(other.sourceHash) === Option.getOrNull(sourceHash)
    )
    if (failed === undefined) return
    return yield* new SeedFailedElsewhere({
      id,
      host: failed.host,
      pid: failed.pid,
      at: RecordedTime.format(Option.getOrElse(failed.endedAt, () => failed.startedAt)),
      error: Option.getOrNull(failed.error)
    })
  })

/** Under the lock no other process runs it: an attempt that has not ended is one whose process is gone. */
const refuseHalfDone = ({ loaded }: SeedStep) =>
  Effect.gen(function* () {
    const { id } = loaded.entry
    const log = yield* OperationLog
    const last = (yield* log.attempts({ id, all: true })).find(({ outcome }) => outcome !== "skipped")
    if (last === undefined || !isHalfDone(last)) return
    return yield* new SeedInterrupted({ id, host: last.host, pid: last.pid, at: RecordedTime.format(last.startedAt) })
  })

/** The record of an attempt of this step that goes so. */
export const attempt = (
  step: SeedStep,
  claimedAt: number | undefined,
  outcome: NewAttempt["outcome"],
  more: Partial<SeedAttempt.Ended> = {}
): Effect.Effect<NewAttempt, never, OperationConfig | Replica> => {
  const { beganAt, loaded, run, sourceHash } = step
  const reason = isTransactional(step) ? (run.atomic ? undefined : notAtomic) : outsideTransaction
  return SeedAttempt.make({
    id: loaded.entry.id,
    outcome,
    sourceHash,
    appliedBy: run.appliedBy,
    beganAt,
    claimedAt,
    reason,
    ...more
  })
}

/** A seed that is through after this, and what is recorded of it. */
export const doneOf = (step: SeedStep, claimedAt: number, { durationMs, events }: SeedBody.Ran) =>
  Effect.map(attempt(step, claimedAt, "applied", { durationMs }), (applied): Done => {
    const { loaded, run } = step
    const { id } = loaded.entry
    return {
      outcome: SeedOutcome.Applied({ id, durationMs, events, preview: Option.none(), atomic: run.atomic }),
      marker: {
        id,
        operationType: seedMigration,
        durationMs,
        appliedBy: run.appliedBy,
        notes: Option.some(loaded.seed.description)
      },
      attempt: applied
    }
  })

/** The attempt of a body that did not end well; a seed that was refused under the lock was not tried. */
export const failedAttempt = (step: SeedStep, claimedAt: number, cause: Cause.Cause<WorkError>) =>
  Effect.gen(function* () {
    const failure = Cause.failureOption(cause)
    if (Option.exists(failure, ({ _tag }) => _tag === "SeedFailedElsewhere" || _tag === "SeedInterrupted"))
      return Option.none()
    if (Cause.isInterrupted(cause)) {
      const error = Option.isSome(failure) ? Option.map(failure, causeOf) : UnhandledRejections.blamedFor()
      return Option.some(yield* attempt(step, claimedAt, "interrupted", { error }))
    }
    const error = Option.some(Option.match(failure, { onNone: () => Cause.squash(cause), onSome: causeOf }))
    return Option.some(yield* attempt(step, claimedAt, "failed", { error }))
  })

const causeOf = (failure: WorkError): unknown => (failure._tag === "BodyFailed" ? failure.cause : failure)
