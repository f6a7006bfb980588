/**
 * Backfills events: rows from before event sourcing become events, each row once, in batches that lock what they read.
 */
import * as Arr from "effect/Array"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import { streamKey } from "../event/AppendRules.js"
import type { Backfill, RowsSource, SqlSource } from "../event/Backfill.js"
import { Features } from "../event/Features.js"
import type { AppliedBy } from "../operation/Operation.js"
import * as BatchSize from "../operation/BatchSize.js"
import { describe } from "../operation/ErrorDescription.js"
import type { OperationConfig } from "../operation/OperationConfig.js"
import type { DatabaseError } from "../operation/OperationError.js"
import type { RunError, RunHandle, RunResult } from "../operation/OperationRun.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { Batch, Run } from "../operation/Run.js"
import type { LaneFailed, LaneWorker } from "../operation/RunLanes.js"
import * as RunLanes from "../operation/RunLanes.js"
import type { RunLog, RunRefused } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import { Transactor } from "../operation/Transactor.js"
import * as BackfillAppend from "./BackfillAppend.js"
import type { Verdict } from "./BackfillRow.js"
import * as BackfillRow from "./BackfillRow.js"
import type { SourceRow } from "./BackfillStore.js"
import { BackfillStore } from "./BackfillStore.js"
import type { BackfillReport } from "./BackfillProgress.js"
import { Progress } from "./BackfillProgress.js"

export type { BackfillReport, FailedRow } from "./BackfillProgress.js"

/** No feature has a backfill of this name. */
export class UnknownBackfill extends Schema.TaggedError<UnknownBackfill>()("UnknownBackfill", {
  name: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message(): string {
    const known = this.known.length === 0 ? "no feature has one" : `there are: ${this.known.join(", ")}`
    return `no backfill is named "${this.name}"; ${known}`
  }
}

/** The source of a backfill cannot be read. */
export class SourceFailed extends Schema.TaggedError<SourceFailed>()("SourceFailed", {
  backfill: Schema.String,
  reason: Schema.String,
  cause: Schema.Defect
}) {
  override get message(): string {
    return `the rows of backfill "${this.backfill}" cannot be read: ${this.reason}`
  }
}

/** What is backfilled, and for whom. */
export interface BackfillOptions {
  /** The name of the backfill. */
  readonly backfill: string
  readonly appliedBy: AppliedBy
  /** In how many parts a source in SQL is read, by its keys, each on a connection of its own. Default: 1, in the order of the source. */
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

/** What a backfill would do, row by row; nothing is written. */
export const plan = (
  name: string
): Effect.Effect<BackfillPlan, UnknownBackfill | SourceFailed | DatabaseError, Features | BackfillStore> =>
  Effect.gen(function* () {
    const backfill = yield* named(name)
    const store = yield* BackfillStore
    const progress = new Progress(name, [])
    yield* Stream.runForEach(pages(store, backfill), (rows) =>
      Effect.map(decide(backfill, rows), (verdicts) => {
        for (const verdict of verdicts) progress.add(verdict)
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
      operationType,
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

const operationType = "event-backfill"

const definitionOf = ({ aggregateType, code }: Backfill<unknown, never>): string =>
  createHash("sha256").update(`${aggregateType}\n${code}`).digest("hex")

const named = (name: string): Effect.Effect<Backfill<unknown, never>, UnknownBackfill, Features> =>
  Effect.flatMap(Features, ({ backfills }): Effect.Effect<Backfill<unknown, never>, UnknownBackfill> => {
    const found = backfills.find((backfill) => backfill.name === name)
    return found === undefined
      ? new UnknownBackfill({ name, known: backfills.map((known) => known.name) })
      : Effect.succeed(found)
  })

/** How many rows of a source are read at a time where nothing measures that. */
const pageSize = 500

/** All rows, unlocked. */
const pages = (
  store: BackfillStore["Type"],
  { name, source }: Backfill<unknown, never>
): Stream.Stream<ReadonlyArray<SourceRow>, SourceFailed | DatabaseError> =>
  source._tag === "Rows"
    ? groups(name, source, Option.none())
    : Stream.unfoldEffect(Option.some(Option.none<string>()), (at) =>
        Option.match(at, {
          onNone: () => Effect.succeedNone,
          onSome: (after) =>
            Effect.map(store.read(source, { after, limit: pageSize, lock: false }), (rows) =>
              Option.some([rows, rows.length < pageSize ? Option.none() : Option.some(lastKey(rows))] as const)
            )
        })
      )

const groups = (
  name: string,
  source: RowsSource<unknown, never>,
  after: Option.Option<string>
): Stream.Stream<ReadonlyArray<SourceRow>, SourceFailed> => {
  const failed = (cause: unknown) => new SourceFailed({ backfill: name, reason: describe(cause).message, cause })
  return source.rows(after).pipe(
    Stream.mapError(failed),
    Stream.mapEffect((row) =>
      Either.mapBoth(source.keyOf(row), { onLeft: failed, onRight: (key): SourceRow => ({ key, row }) })
    ),
    Stream.grouped(pageSize),
    Stream.map(Chunk.toReadonlyArray)
  )
}

const lastKey = (rows: ReadonlyArray<SourceRow>): Option.Option<string> =>
  Option.map(Option.fromNullable(rows.at(-1)), ({ key }) => key)

/** What is to be done with rows. */
const decide = (
  backfill: Backfill<unknown, never>,
  rows: ReadonlyArray<SourceRow>
): Effect.Effect<ReadonlyArray<Verdict>, DatabaseError, BackfillStore> =>
  Effect.gen(function* () {
    const store = yield* BackfillStore
    const given = BackfillRow.streamsOf(backfill, rows)
    const streams = given.flatMap(({ stream }) => (Either.isRight(stream) ? [stream.right] : []))
    const seen = Arr.isNonEmptyReadonlyArray(streams) ? yield* store.look(streams) : { now: new Date(0), streams: [] }
    const known = new Map(seen.streams.map((stream) => [streamKey(stream), stream]))
    return given.map((row) =>
      BackfillRow.verdict(
        row,
        backfill.name,
        Either.isRight(row.stream) ? known.get(streamKey(row.stream.right)) : undefined,
        seen.now
      )
    )
  })

const backfillAll = (
  backfill: Backfill<unknown, never>,
  append: BackfillAppend.BackfillAppend,
  lanes: number,
  handle: RunHandle
): Effect.Effect<BackfillReport, WorkError, BackfillStore> =>
  Effect.gen(function* () {
    const { source } = backfill
    if (source._tag === "Sql" && (lanes > 1 || Option.isSome(cutOf(handle))))
      return yield* inLanes(backfill, source, append, lanes, handle)
    const progress = new Progress(backfill.name, [handle.cursor])
    const work = working(backfill, append, progress)
    yield* source._tag === "Sql"
      ? fromSql(source, progress, handle, work)
      : Stream.runForEach(groups(backfill.name, source, progress.after), (rows) => handle.batch(work(rows)))
    return progress.report((yield* handle.current).counters)
  })

type Work = (rows: ReadonlyArray<SourceRow>) => Effect.Effect<Batch<boolean>, DatabaseError, BackfillStore>

const working =
  (
    backfill: Backfill<unknown, never>,
    append: BackfillAppend.BackfillAppend,
    progress: Progress,
    lane?: string
  ): Work =>
  (rows) =>
    Effect.map(Effect.flatMap(decide(backfill, rows), append), (verdicts) => {
      const counters = progress.addAll(verdicts, lastKey(rows))
      const phase = lane === undefined ? "appending" : undefined
      return { value: rows.length > 0, phase, lane, cursor: progress.cursor(), done: rows.length, counters }
    })

/** Where a backfill is cut, in the cursor of its run: each lane has the keys above one boundary, up to the next. */
const Cut = Schema.Struct({ boundaries: Schema.Array(Schema.String) })

const cutOf = ({ cursor }: Pick<RunHandle, "cursor">) =>
  Option.map(Option.flatMap(cursor, Schema.decodeUnknownOption(Cut)), ({ boundaries }) => boundaries)

/** Lanes of keys; they are cut once, by the process that begins. What each lists is in its cursor. */
const inLanes = (
  backfill: Backfill<unknown, never>,
  source: SqlSource,
  append: BackfillAppend.BackfillAppend,
  lanes: number,
  handle: RunHandle
): Effect.Effect<BackfillReport, WorkError, BackfillStore> =>
  Effect.gen(function* () {
    const boundaries = yield* Option.match(cutOf(handle), {
      onNone: () =>
        Effect.flatMap(
          Effect.flatMap(BackfillStore, (store) => store.boundaries(source, lanes)),
          (found) =>
            handle.batch(
              Effect.succeed({
                value: found,
                phase: "appending",
                cursor: Schema.encodeSync(Cut)({ boundaries: found })
              })
            )
        ),
      onSome: Effect.succeed
    })
    const worker = {
      operationType,
      knows: () => Effect.succeed(true),
      work: (own: RunHandle, lane: string) => inLane(backfill, source, append, own, boundaries, lane)
    }
    yield* RunLanes.work(
      handle,
      worker,
      Array.from({ length: boundaries.length + 1 }, (_, at) => `${at + 1}`)
    )
    const done = yield* handle.rejoined
    const progress = new Progress(
      backfill.name,
      [...done.lanes.values()].map(({ cursor }) => cursor)
    )
    return progress.report((yield* done.current).counters)
  })

const inLane = (
  backfill: Backfill<unknown, never>,
  source: SqlSource,
  append: BackfillAppend.BackfillAppend,
  handle: RunHandle,
  boundaries: ReadonlyArray<string>,
  lane: string
): Effect.Effect<void, DatabaseError | RunRefused, BackfillStore> => {
  const progress = new Progress(backfill.name, [
    Option.flatMap(Option.fromNullable(handle.lanes.get(lane)), ({ cursor }) => cursor)
  ])
  progress.after = Option.orElse(progress.after, () => Option.fromNullable(boundaries[Number(lane) - 2]))
  const work = working(backfill, append, progress, lane)
  return fromSql(source, progress, handle, work, boundaries[Number(lane) - 1])
}

/** How a process works on the lanes of backfills that others have begun: with the same code only. */
export const laneWorker: LaneWorker<DatabaseError | RunRefused, Requirements> = {
  operationType,
  knows: (run) =>
    Effect.map(
      knownOf(run),
      Option.exists((known) => definitionOf(known) === run.definition)
    ),
  work: (handle, lane) =>
    Effect.gen(function* () {
      const [backfill, boundaries] = [yield* knownOf(handle), cutOf(handle)]
      // What is not known was refused before, and no lane is given away before the run is cut.
      if (Option.isNone(backfill) || Option.isNone(boundaries) || backfill.value.source._tag !== "Sql") return
      const { source } = backfill.value
      const append = yield* BackfillAppend.make((yield* Features).projections)
      yield* inLane(backfill.value, source, append, handle, boundaries.value, lane)
    })
}

const knownOf = ({ name }: Pick<Run, "name">) =>
  Effect.map(Features, ({ backfills }) => Option.fromNullable(backfills.find((backfill) => backfill.name === name)))

/** The report of a run in another process. */
export const reportOf = ({ counters, cursor, name }: Pick<Run, "counters" | "cursor" | "name">): BackfillReport =>
  new Progress(name, [cursor]).report(counters)

const fromSql = (source: SqlSource, progress: Progress, handle: RunHandle, work: Work, upTo?: string) =>
  Effect.gen(function* () {
    const store = yield* BackfillStore
    const lock = yield* store.canLock(source)
    const size = yield* BatchSize.make({ initial: 500, max: 5000 })
    for (let isMore = true; isMore;) {
      const limit = yield* size.get
      const page = Effect.suspend(() => store.read(source, { after: progress.after, upTo, limit, lock }))
      isMore = yield* handle.batch(Effect.flatMap(page, work), { size })
    }
  })
