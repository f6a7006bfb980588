/**
 * The parts of one seed's step: its body, its record, the wait for the lock, and what its failures mean.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Event } from "../event/Event.js"
import { NewId } from "../event/Event.js"
import type { WriteDispatcher } from "../event/WriteDispatcher.js"
import type { Directory } from "../identity/Directory.js"
import type { AttemptOutcome, NewAttempt } from "../operation/Attempt.js"
import { describe } from "../operation/Attempt.js"
import type { AppliedBy, NewMarker } from "../operation/Operation.js"
import { seedMigration } from "../operation/Operation.js"
import * as LockWait from "../operation/LockWait.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import type {
  CommitLost,
  CommitRefused,
  LockHeld,
  SwallowedSqlError,
  TransactionControl
} from "../operation/OperationError.js"
import type { AlreadyApplied, LockTimeout } from "../operation/OperationError.js"
import { CommitUnknown, DatabaseError } from "../operation/OperationError.js"
import { OperationLock } from "../operation/OperationLock.js"
import { OperationLog } from "../operation/OperationLog.js"
import { Replica } from "../operation/Replica.js"
import type { StepError } from "../operation/Transactor.js"
import { Transactor } from "../operation/Transactor.js"
import type { LoadedSeed } from "./SeedCheck.js"
import { isSkipped } from "./SeedCheck.js"
import * as SeedContext from "./SeedContext.js"
import { SeedFailedElsewhere, SeedOutcome } from "./SeedReport.js"

/** The seed's flag is in force. */
export class SeedSkipped extends Schema.TaggedError<SeedSkipped>()("SeedSkipped", {
  id: Schema.String,
  flag: Schema.String
}) {}

/** The body failed, died, ran out of time or interrupted itself. */
export class BodyFailed extends Schema.TaggedError<BodyFailed>()("BodyFailed", { cause: Schema.Unknown }) {}

/** The step failed because of its seed. */
export class SeedStepFailed extends Schema.TaggedError<SeedStepFailed>()("SeedStepFailed", {
  id: Schema.String,
  cause: Schema.Unknown
}) {}

/** The seed took longer than `seedTimeout`. */
export class SeedTimeout extends Schema.TaggedError<SeedTimeout>()("SeedTimeout", { milliseconds: Schema.Number }) {
  override get message(): string {
    return `it took longer than seedTimeout, ${this.milliseconds} ms`
  }
}

/** What all steps of one run share. */
export interface Run {
  readonly appliedBy: AppliedBy
  /** The newest attempt that was there when this run first had to wait; a failure after it is another replica's of this moment. */
  readonly waitingSince: Ref.Ref<Option.Option<number>>
}

/** A run begins. */
export const startRun = (appliedBy: AppliedBy): Effect.Effect<Run> =>
  Effect.map(Ref.make(Option.none<number>()), (waitingSince) => ({ appliedBy, waitingSince }))

/** A body that is through, with what is to be written of it. */
export interface Done {
  readonly outcome: SeedOutcome
  readonly marker: NewMarker
  readonly attempt: NewAttempt
}

/** Every way in which a step can end without its work done. */
export type StepFailure =
  LockTimeout | SeedFailedElsewhere | BodyFailed | CommitUnknown | Exclude<StepError, CommitLost>

/** Every way in which the transaction of a step can end without its work done. */
type Unfinished = SeedFailedElsewhere | BodyFailed | AlreadyApplied | LockHeld | StepError

/** The parts of a seed's step. */
export type SeedStep = Effect.Effect.Success<ReturnType<typeof make>>

export const make = (loaded: LoadedSeed, run: Run) =>
  Effect.gen(function* () {
    const config = yield* OperationConfig
    const log = yield* OperationLog
    const lock = yield* OperationLock
    const transactor = yield* Transactor
    const replica = yield* Replica
    const { entry, flag, seed, sourceHash } = loaded
    const { id } = entry
    const startedAt = yield* Clock.currentTimeMillis
    let appendedEvents = 0
    const claimedAt = yield* Ref.make(Option.none<number>())

    const attempt = (outcome: AttemptOutcome, error: Option.Option<unknown>, durationMs?: number) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const claimed = Option.getOrElse(yield* Ref.get(claimedAt), () => now)
        return {
          operationId: id,
          operationType: seedMigration,
          outcome,
          startedAt: DateTime.unsafeMake(claimed),
          endedAt: Option.some(DateTime.unsafeMake(now)),
          durationMs: Option.some(durationMs ?? Math.round(now - claimed)),
          waitedMs: Option.some(Math.round(claimed - startedAt)),
          appliedBy: run.appliedBy,
          host: replica.host,
          pid: replica.pid,
          version: config.version,
          sourceHash,
          reason: Option.none(),
          error: Option.map(error, describe)
        } satisfies NewAttempt
      })

    const unlessSkipped = isSkipped(loaded)
      ? Effect.zipRight(
          Effect.flatMap(attempt("skipped", Option.none(), 0), log.recordOnce).pipe(
            Effect.catchAll((error) => Effect.logWarning(`The skip was not recorded: ${error.message}`))
          ),
          Effect.fail(new SeedSkipped({ id, flag: flag.name }))
        )
      : Effect.void

    /** A replica that waited, and finds that this seed failed meanwhile with this source, does not run it again. */
    const refuseFailedElsewhere = Effect.gen(function* () {
      yield* Effect.flatMap(Clock.currentTimeMillis, (now) => Ref.set(claimedAt, Option.some(now)))
      const since = yield* Ref.get(run.waitingSince)
      if (Option.isNone(since)) return
      const attempts = yield* log.attempts({ id, after: since.value })
      const failed = attempts.find(
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

    const body: Effect.Effect<Done, BodyFailed, Transactor | WriteDispatcher | Directory> = Effect.gen(function* () {
      const correlationId = yield* yield* NewId
      const appended = (events: ReadonlyArray<Event>) => {
        appendedEvents += events.length
      }
      const context = yield* SeedContext.make({ operationId: id, correlationId, appended })
      const bounded = Option.match(config.seedTimeout, {
        onNone: () => seed.run(context),
        onSome: (duration) =>
          Effect.timeoutFail(seed.run(context), {
            duration,
            onTimeout: () => new SeedTimeout({ milliseconds: Duration.toMillis(duration) })
          })
      })
      const [took] = yield* Effect.timed(bounded)
      const durationMs = Math.round(Duration.toMillis(took))
      return {
        outcome: SeedOutcome.Applied({ id, durationMs, events: appendedEvents, preview: Option.none() }),
        marker: {
          id,
          operationType: seedMigration,
          durationMs,
          appliedBy: run.appliedBy,
          notes: Option.some(seed.description)
        },
        attempt: yield* attempt("applied", Option.none(), durationMs)
      }
    }).pipe(
      Effect.withSpan("Seed.run", { attributes: { seed: id } }),
      Effect.catchAllCause((cause) => Effect.fail(new BodyFailed({ cause: reasonOf(cause) })))
    )

    const trace = (cause: Cause.Cause<Unfinished>): Option.Option<Effect.Effect<void, DatabaseError>> => {
      const failure = Cause.failureOption(cause)
      if (Option.exists(failure, leavesNoTrace)) return Option.none()
      const outcome = Cause.isInterruptedOnly(cause) ? "interrupted" : "failed"
      const reason = Option.match(failure, {
        onNone: () => (outcome === "interrupted" ? Option.none() : Option.some(Cause.squash(cause))),
        onSome: (error) => Option.some(error._tag === "BodyFailed" ? error.cause : error)
      })
      return Option.some(
        Effect.flatMap(Ref.get(claimedAt), (claimed) =>
          // Without the lock nothing was tried.
          Option.isNone(claimed) ? Effect.void : Effect.flatMap(attempt(outcome, reason), log.record)
        )
      )
    }

    const whileLockHeld = <A, E, R>(effect: Effect.Effect<A, E | LockHeld, R>) =>
      LockWait.whileHeld(id, effect, ({ latestAttempt }) =>
        Ref.update(
          run.waitingSince,
          Option.orElseSome(() => latestAttempt)
        )
      )

    /** After a connection lost at COMMIT: the marker, read under the lock on another connection, tells what became of it. */
    const settle = (lost: CommitLost) =>
      transactor.run(lock.claim(id), { name: id, trace: () => Option.none() }).pipe(
        whileLockHeld,
        Effect.retry({
          schedule: Schedule.upTo(Schedule.spaced("250 millis"), config.lockTimeout),
          while: (error) => error._tag === "DatabaseError" && error.connectionLost
        }),
        Effect.zipRight(Effect.fail(notCommitted(lost))),
        Effect.catchAll((error): Effect.Effect<SeedOutcome, CommitUnknown | DatabaseError> => {
          if (error._tag === "AlreadyApplied") return appliedHere
          return Effect.fail(
            error._tag === "DatabaseError" && error.cause === lost
              ? error
              : new CommitUnknown({ id, reason: `${lost.reason}; ${error.message}` })
          )
        })
      )

    /** Applied, by this very step or, since it was not committed, by another replica. */
    const appliedHere = Effect.map(log.attempts({ id }), (attempts): SeedOutcome => {
      const applied = attempts.find(({ outcome }) => outcome === "applied")
      const ours = applied === undefined || (applied.host === replica.host && applied.pid === replica.pid)
      const durationMs = Option.getOrElse(
        Option.flatMap(Option.fromNullable(applied), (a) => a.durationMs),
        () => 0
      )
      return ours
        ? SeedOutcome.Applied({ id, durationMs, events: appendedEvents, preview: Option.none() })
        : SeedOutcome.Raced({ id })
    })

    /** What a step's end means for the run: the seed's own failure, or one of the world around it. */
    const failure = (error: StepFailure): SeedStepFailed | Exclude<StepFailure, SeedsOwn> => {
      switch (error._tag) {
        case "BodyFailed":
          return new SeedStepFailed({ id, cause: error.cause })
        case "TransactionControl":
        case "SwallowedSqlError":
        case "CommitRefused":
          return new SeedStepFailed({ id, cause: error })
        case "DatabaseError":
          return error.during(id)
        default:
          return error
      }
    }

    return { id, unlessSkipped, refuseFailedElsewhere, body, trace, whileLockHeld, settle, failure }
  })

/** Failures that the seed itself brought about. */
type SeedsOwn = BodyFailed | TransactionControl | SwallowedSqlError | CommitRefused

const leavesNoTrace = (error: Unfinished): boolean =>
  error._tag === "LockHeld" || error._tag === "AlreadyApplied" || error._tag === "SeedFailedElsewhere"

const notCommitted = (lost: CommitLost): DatabaseError =>
  new DatabaseError({
    action: "committing",
    id: Option.none(),
    code: Option.none(),
    reason: `${lost.message}; the server did not commit, nothing was kept`,
    connectionLost: true,
    cause: lost
  })

/** The failure or defect that a body ended with. */
const reasonOf = (cause: Cause.Cause<unknown>): unknown =>
  Cause.isInterruptedOnly(cause) ? new Error("it interrupted itself") : Cause.squash(cause)
