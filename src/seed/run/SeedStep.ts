/**
 * What goes around the body of one seed: its record, the wait for the lock, and what its failures mean for the run.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type { Attempt, AttemptOutcome } from "../../operation/Attempt.js"
import { isHalfDone, outsideTransaction } from "../../operation/Attempt.js"
import * as LockWait from "../../operation/LockWait.js"
import type { AppliedBy } from "../../operation/Operation.js"
import { seedMigration } from "../../operation/Operation.js"
import { OperationConfig } from "../../operation/OperationConfig.js"
import type { CommitLost, LockHeld } from "../../operation/OperationError.js"
import { AlreadyApplied, DatabaseError } from "../../operation/OperationError.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import { Replica } from "../../operation/Replica.js"
import { Transactor } from "../../operation/Transactor.js"
import * as ReplicaProgress from "./ReplicaProgress.js"
import * as LostCommit from "./LostCommit.js"
import * as OutsideTransaction from "./OutsideTransaction.js"
import * as UnhandledRejections from "../UnhandledRejections.js"
import * as SeedAttempt from "./SeedAttempt.js"
import type { Ran } from "./SeedBody.js"
import * as SeedBody from "./SeedBody.js"
import type { LoadedSeed } from "../plan/SeedCheck.js"
import { isSkipped } from "../plan/SeedCheck.js"
import { SeedFailedElsewhere, SeedInterrupted, SeedOutcome } from "../SeedReport.js"
import * as StepFailure from "./StepFailure.js"
import { notAtomic } from "../plan/WriterCheck.js"
import type { Observer } from "./SeedSequence.js"

/** The seed's flag is in force. */
export class SeedSkipped extends Schema.TaggedError<SeedSkipped>()("SeedSkipped", {
  id: Schema.String,
  flag: Schema.String
}) {}

/** What all steps of one run share. */
export interface Run {
  readonly appliedBy: AppliedBy
  readonly observer: Observer
  /** Whether writes are in the seed's transaction. */
  readonly atomic: boolean
  /** Seeds whose last attempt did not end, when the run was planned. */
  readonly halfDone: ReadonlySet<string>
  /** The one that is to be run again all the same. */
  readonly retry: string | undefined
  /** The newest attempt at each seed when the run was planned: of one that had to wait, a failure after it is another replica's. */
  readonly lastAttempts: ReadonlyMap<string, Attempt>
  /** Whether this run had to wait so far. */
  readonly waited: Ref.Ref<boolean>
  /** The seeds of the run, in order. */
  readonly ids: ReadonlyArray<string>
  /** What was seen when this run last lost a race: it does not ask for the lock for each of what the winner did meanwhile, nor too soon. */
  readonly elsewhere: Ref.Ref<ReplicaProgress.ReplicaProgress>
  /** Whether the seed before was another replica's, which may hold the lock again. */
  readonly lost: Ref.Ref<boolean>
  readonly author: SeedAttempt.Author
  readonly services: Context.Context<Services>
}

type Services = OperationLock | OperationLog | Transactor | OperationConfig | Replica

/** A run begins. */
export const startRun = (
  options: Omit<Run, "waited" | "elsewhere" | "lost" | "author" | "services">
): Effect.Effect<Run, never, Services> =>
  Effect.gen(function* () {
    const waited = yield* Ref.make(false)
    const elsewhere = yield* Ref.make(ReplicaProgress.unseen(yield* Clock.currentTimeMillis))
    const lost = yield* Ref.make(false)
    const author = yield* SeedAttempt.author
    return { ...options, waited, elsewhere, lost, author, services: yield* Effect.context<Services>() }
  })

/** The parts of a seed's step. */
export type SeedStep = ReturnType<typeof make>

/** The parts of the step of one seed in this run, which began `beganAt`, in milliseconds since the epoch. */
export const make = (loaded: LoadedSeed, run: Run, beganAt: number) => {
  const log = Context.get(run.services, OperationLog)
  const lock = Context.get(run.services, OperationLock)
  const { entry, flag, seed, sourceHash } = loaded
  const { id } = entry
  const isTransactional = seed.transaction === "one"
  const reason = isTransactional ? (run.atomic ? undefined : notAtomic) : outsideTransaction
  let claimedAt: number | undefined
  let ran: Ran = { durationMs: 0, events: 0 }
  let kept = Option.none<SeedOutcome>()

  const attempt = (outcome: AttemptOutcome, more: Partial<SeedAttempt.Ended> = {}) =>
    Effect.map(Clock.currentTimeMillis, (now) =>
      SeedAttempt.at(
        { id, outcome, sourceHash, beganAt, appliedBy: run.appliedBy, claimedAt, reason, ...more },
        run.author,
        now
      )
    )

  const unlessSkipped = isSkipped(loaded)
    ? Effect.zipRight(
        // What is half done must not be hidden behind a skip.
        Effect.unless(Effect.flatMap(attempt("skipped", { durationMs: 0 }), log.recordOnce), () =>
          run.halfDone.has(id)
        ).pipe(Effect.catchAll((error) => Effect.logWarning(`The skip was not recorded: ${error.message}`))),
        Effect.fail(new SeedSkipped({ id, flag: flag.name }))
      )
    : Effect.void

  const unlessRaced = Effect.flatMap(Ref.get(run.elsewhere), ({ applied }) =>
    applied.has(id) ? new AlreadyApplied({ id }) : Effect.void
  )

  const raced = Effect.gen(function* () {
    const before = yield* Ref.get(run.elsewhere)
    if (!before.applied.has(id))
      // It spares attempts at the lock, and is no reason to fail.
      yield* Effect.zip(log.applied, Clock.currentTimeMillis).pipe(
        Effect.flatMap(([applied, at]) => Ref.set(run.elsewhere, ReplicaProgress.seen(before, applied, at, run.ids))),
        Effect.ignoreLogged
      )
    yield* Ref.set(run.lost, true)
    return SeedOutcome.Raced({ id })
  })

  const claim = Effect.zipRight(
    lock.claim(id),
    Effect.map(Clock.currentTimeMillis, (now) => (claimedAt = now))
  )

  /** A replica that waited, and finds that this seed failed meanwhile with this source, does not run it again. */
  const refuseFailedElsewhere = Effect.gen(function* () {
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
      at: DateTime.formatIso(Option.getOrElse(failed.endedAt, () => failed.startedAt)),
      error: Option.getOrNull(failed.error)
    })
  })

  /** Under the lock nobody runs it: an attempt that has not ended is one whose process is gone. */
  const refuseHalfDone = Effect.gen(function* () {
    const last = (yield* log.attempts({ id })).find(({ outcome }) => outcome !== "skipped")
    if (last === undefined || !isHalfDone(last)) return
    return yield* new SeedInterrupted({ id, host: last.host, pid: last.pid, at: DateTime.formatIso(last.startedAt) })
  })

  const mayBeHalfDone = !seed.idempotent && run.retry !== id && (!isTransactional || run.halfDone.has(id))

  const refuse = Effect.flatMap(Ref.get(run.waited), (waited) =>
    Effect.zipRight(waited ? refuseFailedElsewhere : Effect.void, mayBeHalfDone ? refuseHalfDone : Effect.void)
  )

  const started = run.observer.started(id, isTransactional && run.atomic)

  const body = Effect.flatMap(Effect.zipRight(started, SeedBody.run(loaded)), (done) => {
    const { durationMs, events } = done
    ran = done
    return Effect.map(attempt("applied", { durationMs }), (applied): SeedAttempt.Done => ({
      outcome: SeedOutcome.Applied({ id, durationMs, events, preview: Option.none(), atomic: run.atomic }),
      marker: {
        id,
        operationType: seedMigration,
        durationMs,
        appliedBy: run.appliedBy,
        notes: Option.some(seed.description)
      },
      attempt: applied
    }))
  })

  const outside = OutsideTransaction.run(body, log, attempt)

  const trace = (cause: Cause.Cause<StepFailure.Unfinished>): Option.Option<Effect.Effect<void, DatabaseError>> => {
    const failure = Cause.failureOption(cause)
    if (Option.exists(failure, StepFailure.leavesNoTrace)) return Option.none()
    const outcome = Cause.isInterrupted(cause) ? "interrupted" : "failed"
    const error = Option.match(failure, {
      onNone: () => (outcome === "interrupted" ? UnhandledRejections.blamedFor() : Option.some(Cause.squash(cause))),
      onSome: (failed) => Option.some(failed._tag === "BodyFailed" ? failed.cause : failed)
    })
    return Option.some(
      Effect.suspend(() =>
        // Without the lock nothing was tried.
        claimedAt === undefined ? Effect.void : Effect.flatMap(attempt(outcome, { error }), log.record)
      )
    )
  }

  /** Whoever waits, or has just lost a race, tries for the lock when it is free: of 20 replicas, each attempt kept the one at work from it. */
  const whileLockHeld = <A, E, R, E2, R2>(
    tables: Effect.Effect<unknown, E | LockHeld, R>,
    once: Effect.Effect<A, E2 | AlreadyApplied | DatabaseError | LockHeld, R2>
  ) =>
    Effect.flatMap(Ref.getAndSet(run.lost, false), (lost) =>
      Effect.flatMap(Ref.get(run.elsewhere), ({ next }) => {
        const later = Effect.zipRight(tables, Effect.zipRight(lock.probe(id), once))
        const waiting = (held: LockHeld) => Effect.zipRight(Ref.set(run.waited, true), run.observer.waiting(id, held))
        // An attempt that took long did so as others were at work on this machine: one that comes too soon only adds to that.
        const expected = Effect.map(Clock.currentTimeMillis, (now) => ReplicaProgress.delayed(next, now - beganAt))
        return LockWait.whileHeld(id, lost ? later : Effect.zipRight(tables, once), waiting, { expected, later })
      })
    )

  const settle = (lost: CommitLost) =>
    LostCommit.settle({
      id,
      appliedBy: run.appliedBy,
      atomic: run.atomic,
      claimedAt: claimedAt ?? beganAt,
      done: ran,
      failed: attempt("failed", { error: Option.some(lost) }),
      lost
    }).pipe(Effect.provide(run.services))

  return {
    id,
    /** Notes that it is committed. */
    committed: ({ outcome }: SeedAttempt.Done) => {
      kept = Option.some(outcome)
    },
    /** Tells of a seed that was committed when its run was interrupted. */
    tellKept: Effect.suspend(() => Option.match(kept, { onNone: () => Effect.void, onSome: run.observer.outcome })),
    unlessSkipped,
    unlessRaced,
    raced,
    claim,
    isTransactional,
    refuse,
    body,
    outside,
    trace,
    whileLockHeld,
    settle,
    failure: (error: StepFailure.StepFailure) => StepFailure.failureOf(id, error)
  }
}
