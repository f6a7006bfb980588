/**
 * The record of seeds, kept by hand: mark one as applied without running it, forget that one was applied, rename one, and read the history.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Attempt } from "../../operation/Attempt.js"
import type { AppliedBy } from "../../operation/Operation.js"
import { OperationId, seedMigration } from "../../operation/Operation.js"
import type { DatabaseHealth } from "../../operation/DatabaseHealth.js"
import type { OperationConfig } from "../../operation/OperationConfig.js"
import type {
  AlreadyApplied,
  CommitRefused,
  LockHeld,
  SwallowedSqlError,
  TransactionControl
} from "../../operation/OperationError.js"
import { CommitUnknown, DatabaseError, LockTimeout } from "../../operation/OperationError.js"
import * as TableWait from "../../operation/TableWait.js"
import { OperationLock } from "../../operation/OperationLock.js"
import { OperationLog } from "../../operation/OperationLog.js"
import * as LockWait from "../../operation/LockWait.js"
import type { Replica } from "../../operation/Replica.js"
import type { StepRecord, TransactionError } from "../../operation/Transactor.js"
import * as Transactors from "../../operation/Transactor.js"
import { Transactor } from "../../operation/Transactor.js"
import { StepCursor } from "../../operation/StepCursor.js"
import * as SeedAttempt from "../run/SeedAttempt.js"
import * as SeedStates from "../plan/SeedStates.js"
import * as TableCheck from "../plan/TableCheck.js"
import type { SeedsInconsistent } from "../SeedProblem.js"
import { refuse, refuseUnreadable } from "../SeedRefusal.js"
import { NotApplied, RenameRefused, UnknownSeed } from "../SeedReport.js"
import type { SeedEntry } from "../source/SeedEntry.js"
import * as SourceHash from "../source/SourceHash.js"
import { SeedSource } from "../source/SeedSource.js"

/** Which seed, and who changes its record. */
export interface MarkOptions {
  readonly id: string
  /** Why, for the readers of the history. */
  readonly reason: string
  readonly appliedBy: AppliedBy
}

/**
 * Records a seed as applied without running it, under the lock. Its marker has the seed's description, or the reason if the seed does not
 * load. `changed` is false for a seed that was applied already.
 */
export const mark = (
  options: MarkOptions
): Effect.Effect<
  { readonly id: string; readonly changed: boolean },
  UnknownSeed | SeedsInconsistent | LedgerError,
  SeedSource | OperationLock | OperationLog | DatabaseHealth | OperationConfig | Transactor | Replica | StepCursor
> =>
  Effect.gen(function* () {
    const lock = yield* OperationLock
    const cursors = yield* StepCursor
    const entry = yield* entryOf(options.id)
    const { id } = entry
    const notes = Either.getOrElse(
      Either.map(yield* Effect.either(entry.load), ({ description }) => description),
      () => options.reason
    )
    const sourceHash = yield* hashOf(entry)
    const attempt = yield* SeedAttempt.make({
      id,
      outcome: "marked",
      appliedBy: options.appliedBy,
      reason: options.reason,
      sourceHash
    })
    const marker = {
      id,
      operationType: seedMigration,
      durationMs: 0,
      appliedBy: options.appliedBy,
      notes: Option.some(notes)
    }
    return yield* underLock(
      id,
      Effect.zipRight(lock.claim(id), cursors.forget(seedMigration, id)),
      Option.some({ marker, attempt })
    ).pipe(
      Effect.as({ id, changed: true }),
      Effect.catchTag("AlreadyApplied", () => Effect.succeed({ id, changed: false }))
    )
  }).pipe(Effect.withSpan("SeedLedger.mark", { attributes: { seed: options.id } }))

/**
 * Forgets that a seed was applied, under the lock: the next apply runs it again. What it wrote stays. The seed need not exist any more. Fails
 * with `NotApplied` where it has no marker.
 */
export const unmark = (
  options: MarkOptions
): Effect.Effect<
  { readonly id: string; readonly changed: boolean },
  NotApplied | SeedsInconsistent | LedgerError,
  OperationLock | OperationLog | DatabaseHealth | OperationConfig | Transactor | Replica | StepCursor
> =>
  Effect.gen(function* () {
    const lock = yield* OperationLock
    const log = yield* OperationLog
    const cursors = yield* StepCursor
    const { appliedBy, id, reason } = options
    yield* refuseTables
    const [known] = (yield* TableCheck.explain(log.markers)).filter(
      (marker) => marker.id === id && marker.operationType === seedMigration
    )
    const half = (yield* cursors.halfDone(seedMigration)).get(id)
    if (known === undefined && half === undefined) return yield* new NotApplied({ id })
    const marker = { id: OperationId.make(id), operationType: seedMigration }
    const attempt = yield* SeedAttempt.make({
      id: marker.id,
      outcome: "unmarked",
      appliedBy,
      reason,
      sourceHash: Option.none()
    })
    // An operation of its own, which never has a marker: a claim for the seed itself would find it applied.
    const claim = lock.claim(OperationId.make(`seed-unmark:${id}`))
    const forget = Effect.zipWith(
      log.unmark(marker, attempt),
      cursors.forget(seedMigration, marker.id),
      (a, b) => a || b
    )
    const forgotten = yield* underLock(id, Effect.zipRight(claim, forget)).pipe(
      Effect.catchTag("AlreadyApplied", () => Effect.succeed(false))
    )
    return forgotten ? { id, changed: true } : yield* new NotApplied({ id })
  }).pipe(Effect.withSpan("SeedLedger.unmark", { attributes: { seed: options.id } }))

/** Which marker gets which id, and who changes the record. */
export interface RenameOptions extends Pick<MarkOptions, "reason" | "appliedBy"> {
  /** The id of the marker, whose file is gone. */
  readonly from: string
  /** The id of the file as it is named now. */
  readonly to: string
}

/**
 * Gives the marker of a seed whose file was renamed the file's new id, under the lock; nothing runs. Fails with `NotApplied` where the old id has no
 * marker, with `UnknownSeed` where the new one has no file, and with `RenameRefused` where the old one still has a file or both are applied.
 */
export const rename = (
  options: RenameOptions
): Effect.Effect<
  { readonly id: string; readonly changed: boolean },
  NotApplied | UnknownSeed | RenameRefused | SeedsInconsistent | LedgerError,
  SeedSource | OperationLock | OperationLog | DatabaseHealth | OperationConfig | Transactor | Replica | StepCursor
> =>
  Effect.gen(function* () {
    const lock = yield* OperationLock
    const log = yield* OperationLog
    const cursors = yield* StepCursor
    const { appliedBy, from, reason, to } = options
    const refused = (why: string) => new RenameRefused({ from, to, reason: why })
    if (from === to) return yield* refused("that is its name")
    const entry = yield* entryOf(to)
    const markers = (yield* TableCheck.explain(log.markers)).filter(
      ({ operationType }) => operationType === seedMigration
    )
    const known = markers.find(({ id }) => id === from)
    const half = (yield* cursors.halfDone(seedMigration)).get(from)
    if (known === undefined && half === undefined) return yield* new NotApplied({ id: from })
    const former = OperationId.make(from)
    const { entries } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
    const old = entries.find(({ id }) => id === from)
    if (old !== undefined) return yield* refused(`${old.path} is there, and would be run again`)
    const both = refused(`both are applied; es-ops seed:unmark ${from} --reason <text> forgets the old one`)
    const recorded = (yield* TableCheck.explain(log.attempts({ id: former }))).find(
      ({ outcome }) => outcome === "applied" || outcome === "marked"
    )
    // What was applied is what it is compared with from now on.
    const sourceHash = recorded === undefined ? yield* hashOf(entry) : recorded.sourceHash
    const attempts = [
      yield* SeedAttempt.make({
        id: former,
        outcome: "unmarked",
        appliedBy,
        reason: `renamed to "${to}": ${reason}`,
        sourceHash: Option.none()
      }),
      yield* SeedAttempt.make({
        id: entry.id,
        outcome: "marked",
        appliedBy,
        reason: `renamed from "${from}": ${reason}`,
        sourceHash
      })
    ]
    const marker = { from: former, to: entry.id, operationType: seedMigration }
    const renaming = Effect.zipWith(
      known === undefined ? Effect.succeed(false) : log.rename(marker, attempts),
      cursors.rename(seedMigration, former, entry.id),
      (a, b) => a || b
    )
    const step = Effect.zipRight(lock.claim(entry.id), renaming)
    const renamed = yield* Effect.catchTag(underLock(to, step), "AlreadyApplied", () => both)
    return renamed ? { id: to, changed: true } : yield* new NotApplied({ id: from })
  }).pipe(Effect.withSpan("SeedLedger.rename", { attributes: { from: options.from, to: options.to } }))

/** Attempts, newest first: of one seed, or of all operations. An id that no seed, marker or attempt bears is `UnknownSeed`. */
export const history = (
  id?: string
): Effect.Effect<
  ReadonlyArray<Attempt>,
  UnknownSeed | SeedsInconsistent | LockTimeout | DatabaseError,
  SeedSource | OperationLog | DatabaseHealth
> =>
  Effect.gen(function* () {
    const log = yield* OperationLog
    if (id === undefined) return yield* log.attempts({})
    const attempts = id === "" ? [] : yield* log.attempts({ id: OperationId.make(id) })
    if (attempts.length > 0 || (yield* log.applied).has(id)) return attempts
    const { entries, problems } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
    yield* refuseUnreadable(problems)
    const known = entries.map((entry): string => entry.id)
    return known.includes(id) ? [] : yield* new UnknownSeed({ id, known })
  }).pipe(TableCheck.explain, Effect.withSpan("SeedLedger.history"))

/** How a change of the record can fail for reasons of the world around it. */
export type LedgerError = LockTimeout | CommitUnknown | DatabaseError

/** A change of the record in a transaction of its own, tried again while another holds the lock. */
const underLock = <A>(
  id: string,
  step: Effect.Effect<A, AlreadyApplied | LockHeld | TransactionError>,
  record: Option.Option<StepRecord> = Option.none()
): Effect.Effect<A, AlreadyApplied | LedgerError, OperationConfig | Transactor> =>
  Effect.flatMap(Transactor, (transactor) =>
    LockWait.whileHeld(id, Transactors.run(transactor, step, `record of ${id}`, record), () => Effect.void)
  ).pipe(
    Effect.catchTags({
      CommitLost: ({ reason }) => new CommitUnknown({ id, reason }),
      DatabaseError: (error) =>
        Option.match(TableWait.timeoutIn(error), {
          onNone: (): Effect.Effect<never, DatabaseError | LockTimeout> => Effect.fail(error),
          onSome: (timeout) => Effect.fail(new LockTimeout({ ...timeout, id }))
        }),
      // There is no body here to blame for it.
      CommitRefused: (error) => notKept(id, error),
      SwallowedSqlError: (error) => notKept(id, error),
      TransactionControl: (error) => notKept(id, error)
    })
  )

const notKept = (id: string, cause: CommitRefused | SwallowedSqlError | TransactionControl): DatabaseError =>
  DatabaseError.because("changing the record", cause.message, {
    id: Option.some(id),
    code: "code" in cause ? cause.code : Option.none(),
    cause
  })

/** Tables of another shape are refused before anything is written to them. */
const refuseTables: Effect.Effect<void, SeedsInconsistent | DatabaseError, DatabaseHealth> = Effect.flatMap(
  TableCheck.problems,
  refuse
)

/** The seed of this id, if the source can be read and no other operation bears its id. */
const entryOf = (
  id: string
): Effect.Effect<
  SeedEntry,
  UnknownSeed | SeedsInconsistent | LockTimeout | DatabaseError,
  SeedSource | OperationLog | DatabaseHealth
> =>
  Effect.gen(function* () {
    const { entries, problems } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
    const applied = yield* TableCheck.explain(Effect.flatMap(OperationLog, (log) => log.applied))
    const tables = yield* TableCheck.problems
    const taken = SeedStates.takenIds({ seeds: entries, applied }).filter((problem) => problem.id === id)
    // What is wrong with other seeds is no reason not to correct the record of this one.
    const own = problems.filter((problem) => problem._tag === "SeedSourceError" || problem.id === id)
    yield* refuse([...own, ...tables, ...taken])
    const entry = entries.find((candidate) => candidate.id === id)
    return entry ?? (yield* new UnknownSeed({ id, known: entries.map((other) => other.id) }))
  })

/** The hash of a seed's source, where it has one. */
const hashOf = ({ path, source }: SeedEntry): Effect.Effect<Option.Option<string>> =>
  Effect.matchEffect(source, {
    onFailure: () => Effect.succeedNone,
    onSuccess: (text) => Effect.transposeMapOption(text, (known) => SourceHash.of(path, known))
  })
