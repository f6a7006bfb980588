/**
 * The record of seeds, kept by hand: mark one as applied without running it, and read the history.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { Attempt } from "../operation/Attempt.js"
import type { AppliedBy, OperationId } from "../operation/Operation.js"
import { seedMigration } from "../operation/Operation.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../operation/OperationError.js"
import { OperationLock } from "../operation/OperationLock.js"
import { OperationLog } from "../operation/OperationLog.js"
import * as LockWait from "../operation/LockWait.js"
import type { Replica } from "../operation/Replica.js"
import type { StepError } from "../operation/Transactor.js"
import { Transactor, untraced } from "../operation/Transactor.js"
import * as SeedAttempt from "./SeedAttempt.js"
import * as SeedPlan from "./SeedPlan.js"
import { SeedsInconsistent } from "./SeedProblem.js"
import { UnknownSeed } from "./SeedReport.js"
import type { SeedEntry } from "./SeedSource.js"
import { hashOf, SeedSource } from "./SeedSource.js"

export interface MarkOptions {
  readonly id: string
  /** Why, for whoever reads the history. */
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
  UnknownSeed | SeedsInconsistent | LockTimeout | StepError,
  SeedSource | OperationLock | OperationLog | OperationConfig | Transactor | Replica
> =>
  Effect.gen(function* () {
    const lock = yield* OperationLock
    const log = yield* OperationLog
    const transactor = yield* Transactor
    const { id, ...entry } = yield* entryOf(options.id)
    const notes = Either.getOrElse(
      Either.map(yield* Effect.either(entry.load), ({ description }) => description),
      () => options.reason
    )
    const source = yield* Effect.either(entry.source)
    const attempt = yield* SeedAttempt.make({
      id,
      outcome: "marked",
      appliedBy: options.appliedBy,
      reason: options.reason,
      sourceHash: Option.map(Option.flatten(Either.getRight(source)), hashOf)
    })
    const marker = {
      id,
      operationType: seedMigration,
      durationMs: 0,
      appliedBy: options.appliedBy,
      notes: Option.some(notes)
    }
    return yield* LockWait.whileHeld(
      id,
      transactor.run(Effect.zipRight(lock.claim(id), log.mark(marker, attempt)), untraced(id)),
      () => Effect.void
    ).pipe(
      Effect.as({ id, changed: true }),
      Effect.catchTag("AlreadyApplied", () => Effect.succeed({ id, changed: false }))
    )
  }).pipe(Effect.withSpan("SeedLedger.mark", { attributes: { seed: options.id } }))

/** Attempts, newest first: of one seed, or of all operations. */
export const history = (id?: OperationId): Effect.Effect<ReadonlyArray<Attempt>, DatabaseError, OperationLog> =>
  Effect.flatMap(OperationLog, (log) => log.attempts({ id }))

/** The seed of this id, if the source can be read and no other operation bears its id. */
const entryOf = (
  id: string
): Effect.Effect<SeedEntry, UnknownSeed | SeedsInconsistent | DatabaseError, SeedSource | OperationLog> =>
  Effect.gen(function* () {
    const { entries, problems } = yield* Effect.flatMap(SeedSource, ({ discover }) => discover)
    const applied = yield* Effect.flatMap(OperationLog, (log) => log.applied)
    const taken = SeedPlan.takenIds({ seeds: entries, applied }).filter((problem) => problem.id === id)
    const [problem, ...others] = [...problems, ...taken]
    if (problem !== undefined) return yield* new SeedsInconsistent({ problems: [problem, ...others] })
    const entry = entries.find((candidate) => candidate.id === id)
    return entry ?? (yield* new UnknownSeed({ id, known: entries.map((other) => other.id) }))
  })
