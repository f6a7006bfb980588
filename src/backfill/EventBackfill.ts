/**
 * Backfills events: rows from before event sourcing become events, each row once, in batches that lock what they read.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import type { Backfill } from "../event/Backfill.js"
import { Features } from "../event/Features.js"
import type { AppliedBy } from "../operation/Operation.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError, LockTimeout } from "../operation/OperationError.js"
import type { OperationLock } from "../operation/OperationLock.js"
import type { OperationLog } from "../operation/OperationLog.js"
import type { RunError, RunHandle, RunResult } from "../operation/OperationRun.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { Run } from "../operation/Run.js"
import type { LaneFailed, LaneWorker } from "../operation/RunLanes.js"
import type { RunLog, RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import type { Transactor } from "../operation/Transactor.js"
import * as BackfillAppend from "./BackfillAppend.js"
import type { SourceFailed } from "./BackfillError.js"
import { UnknownBackfill } from "./BackfillError.js"
import * as BackfillLanes from "./BackfillLanes.js"
import type { BackfillReport } from "./BackfillProgress.js"
import { Progress } from "./BackfillProgress.js"
import * as BackfillSource from "./BackfillSource.js"
import { BackfillStore } from "./BackfillStore.js"
import { BackfillTaken } from "./BackfillTaken.js"
import * as BackfillTables from "./BackfillTables.js"
import * as BackfillTrial from "./BackfillTrial.js"
import * as BackfillWork from "./BackfillWork.js"

export { SourceFailed, UnknownBackfill } from "./BackfillError.js"
export type { BackfillReport, FailedRow } from "./BackfillProgress.js"

/** What is backfilled, and for whom. */
export interface BackfillOptions {
  /** The name of the backfill. */
  readonly backfill: string
  readonly appliedBy: AppliedBy
  /**
   * In how many parts a source in SQL is read, by its keys, each on a connection of its own. Default: 1, in the order of the source. A backfill that is
   * gone on with keeps the parts that it was begun with.
   */
  readonly lanes?: number | undefined
  readonly restart?: boolean | undefined
  readonly observer?: RunObserver | undefined
}

/** What a backfill would do. */
export interface BackfillPlan extends BackfillReport {
  /** Whether rows are locked while their events are appended: where not, the application must not change them meanwhile. */
  readonly locksRows: boolean
}

type WorkError = LaneFailed | SourceFailed | DatabaseError | RunRefused

/** The services that backfills require. */
export type Requirements = Features | BackfillStore | Transactor

/**
 * What a backfill would do, row by row. No row is written, and no id is given: the inline projections are asked in a transaction that is rolled
 * back, as only they know what they refuse. Tables of ours that are not there yet are created for it, and rolled back too.
 */
export const plan = (
  name: string
): Effect.Effect<
  BackfillPlan,
  UnknownBackfill | SourceFailed | LockTimeout | DatabaseError,
  Requirements | OperationLog | OperationLock | OperationConfig
> => Effect.flatMap(named(name), (backfill) => BackfillTables.planned(backfill.name, planOf(backfill)))

const planOf = (
  backfill: Backfill<unknown, never>
): Effect.Effect<BackfillPlan, SourceFailed | DatabaseError, Requirements> =>
  Effect.gen(function* () {
    const store = yield* BackfillStore
    const { projections } = yield* Features
    const append = yield* BackfillAppend.make(projections)
    const progress = new Progress(backfill.name, [])
    const taken = new BackfillTaken(backfill)
    yield* Stream.runForEach(BackfillSource.pages(backfill), (rows) =>
      Effect.gen(function* () {
        const verdicts = taken.without(yield* BackfillWork.decide(backfill, rows))
        for (const verdict of yield* BackfillTrial.tried(append, projections, verdicts)) progress.add(verdict)
      })
    )
    const { source } = backfill
    return { ...progress.report(), locksRows: source._tag === "Sql" && (yield* store.canLock(source)) }
  })

/**
 * Makes events of the rows of a backfill's source: one transaction a batch, in which the rows are locked where that can be, their events are appended with their own
 * dates, and the inline projections run; subscribers do not. A row that cannot be appended is in `failures`, and the others go on. A second run appends nothing,
 * and lists the rows that have changed.
 *
 * @example
 * ```ts
 * import { EventBackfill } from "effect-es-ops"
 *
 * export const backfill = EventBackfill.run({ backfill: "legacy-orders", appliedBy: "cli" })
 * ```
 */
export const run = (
  options: BackfillOptions
): Effect.Effect<
  RunResult<BackfillReport>,
  UnknownBackfill | RunError<WorkError>,
  Requirements | RunLog | OperationConfig
> =>
  Effect.gen(function* () {
    const backfill = yield* named(options.backfill)
    const { projections } = yield* Features
    const append = yield* BackfillAppend.make(projections)
    return yield* OperationRun.run<BackfillReport, WorkError, BackfillStore>({
      operationType: BackfillLanes.operationType,
      name: backfill.name,
      params: {},
      definition: definitionOf(backfill),
      access: { reads: [], changes: [backfill.aggregateType] },
      restart: options.restart,
      appliedBy: options.appliedBy,
      observer: options.observer,
      marker: `backfill of ${backfill.name}`,
      work: (handle) => backfillAll(backfill, append, options.lanes ?? 1, handle),
      drop: () => Effect.void
    })
  })

const definitionOf = ({ aggregateType, code }: Backfill<unknown, never>): string =>
  createHash("sha256").update(`${aggregateType}\n${code}`).digest("hex")

const named = (name: string): Effect.Effect<Backfill<unknown, never>, UnknownBackfill, Features> =>
  Effect.flatMap(Features, ({ backfills }): Effect.Effect<Backfill<unknown, never>, UnknownBackfill> => {
    const found = backfills.find((backfill) => backfill.name === name)
    return found === undefined
      ? new UnknownBackfill({ name, known: backfills.map((known) => known.name) })
      : Effect.succeed(found)
  })

const backfillAll = (
  backfill: Backfill<unknown, never>,
  append: BackfillAppend.BackfillAppend,
  lanes: number,
  handle: RunHandle
): Effect.Effect<BackfillReport, WorkError, BackfillStore> =>
  Effect.gen(function* () {
    const { source } = backfill
    if (source._tag === "Sql" && BackfillLanes.isInLanes(handle, lanes))
      return yield* BackfillLanes.backfillAll(backfill, source, append, lanes, handle)
    const progress = new Progress(backfill.name, [handle.cursor])
    const work = BackfillWork.make(backfill, append, progress)
    yield* source._tag === "Sql"
      ? BackfillWork.throughSql(source, progress, handle, work)
      : Stream.runForEach(BackfillSource.groups(backfill.name, source, progress.after), (rows) =>
          handle.batch(work(rows))
        )
    return progress.report((yield* handle.current).counters)
  })

/** How a process works on the lanes of backfills that others have begun: with the same code only. */
export const laneWorker: LaneWorker<DatabaseError | RunRefused, Requirements> = {
  operationType: BackfillLanes.operationType,
  knows: (run) =>
    Effect.map(
      knownOf(run),
      Option.exists((known) => definitionOf(known) === run.definition)
    ),
  work: (handle, lane) =>
    Effect.gen(function* () {
      const [backfill, boundaries] = [yield* knownOf(handle), BackfillLanes.cutOf(handle)]
      // What is not known was refused before, and no lane is given away before the run is cut.
      if (Option.isNone(backfill) || Option.isNone(boundaries) || backfill.value.source._tag !== "Sql") return
      const { source } = backfill.value
      const append = yield* BackfillAppend.make((yield* Features).projections)
      yield* BackfillLanes.backfillLane(backfill.value, source, append, handle, boundaries.value, lane)
    })
}

const knownOf = ({ name }: Pick<Run, "name">) =>
  Effect.map(Features, ({ backfills }) => Option.fromNullable(backfills.find((backfill) => backfill.name === name)))

/** The report of a run in another process. */
export const reportOf = ({ counters, cursor, name }: Pick<Run, "counters" | "cursor" | "name">): BackfillReport =>
  new Progress(name, [cursor]).report(counters)
