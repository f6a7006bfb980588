/**
 * Purges archived streams: their events are deleted for good, with everything that knows them, and their ids never come back.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"
import { resolve } from "node:path"
import { systemUserId } from "../event/Event.js"
import { Features } from "../event/Features.js"
import type { AppliedBy } from "../operation/Operation.js"
import type { DatabaseError } from "../operation/OperationError.js"
import * as OperationRun from "../operation/OperationRun.js"
import type { RunInProgress } from "../operation/Run.js"
import * as RunAdmission from "../operation/RunAdmission.js"
import type { RunRefused, RunRequest } from "../operation/RunLog.js"
import { RunLog } from "../operation/RunLog.js"
import type { RunObserver } from "../operation/RunObserver.js"
import { Transactor } from "../operation/Transactor.js"
import * as ExportFile from "./ExportFile.js"
import type { Purged, PurgeWork } from "./PurgeBatch.js"
import * as PurgeBatch from "./PurgeBatch.js"
import type { PurgeProblem, PurgeRefused } from "./PurgeProblem.js"
import * as PurgeProblems from "./PurgeProblem.js"
import type { FailedPurge, PurgeCursor, PurgeReport } from "./PurgeReport.js"
import * as PurgeReports from "./PurgeReport.js"
import * as PurgeRun from "./PurgeRun.js"
import * as StreamFailure from "./StreamFailure.js"
import type { DueStream, PurgeSelection } from "./StreamPurges.js"
import { StreamPurges } from "./StreamPurges.js"

/** Which streams, and how. */
export interface PurgeOptions {
  /** Streams that were archived before this date; or so long ago, by the clock of the database. */
  readonly archivedBefore: Date | Duration.DurationInput
  /** The aggregate types. */
  readonly types: NonEmptyReadonlyArray<string>
  /** Default: the streams of every tenant. */
  readonly tenantId?: string | undefined
  /** A file that gets a JSON line for each event before it is deleted. It is never written over. Default: none. */
  readonly export?: string | undefined
  /** Whether rows stay in the read tables. Default: no. */
  readonly keepRows?: boolean | undefined
  /** Whether streams go that feed a projection with `archived: "keep"`, whose rows no rebuild could compute again. Default: they are refused. */
  readonly acceptProjectionLoss?: boolean | undefined
  /** How many streams it is to be; another number is refused. Default: any. */
  readonly expect?: number | undefined
  /** Begin anew, whatever an unfinished run of the same parameters has. Default: no. */
  readonly restart?: boolean | undefined
  /** The id of a user, for the tombstones. Default: the system user. */
  readonly purgedBy?: string | undefined
  /** Default: `cli`. */
  readonly appliedBy?: AppliedBy | undefined
  /** Default: a line in the log every ten seconds. */
  readonly observer?: RunObserver | undefined
}

/** What a purge did, and the run that it was. */
export interface StreamsPurged extends PurgeReport {
  readonly runId: string
}

/** What a purge would do, and what keeps it from being begun. */
export interface PurgePlan extends PurgeReport {
  readonly problems: ReadonlyArray<PurgeProblem>
}

/** The services that purging requires. */
export type Services = PurgeRun.Services | Features | RunLog

/** How many streams there are, and what keeps them from being purged; only read. Beside a run that must not be disturbed it is `RunInProgress`. */
export const check = (
  options: PurgeOptions
): Effect.Effect<
  { readonly streams: number; readonly problems: ReadonlyArray<PurgeProblem> },
  RunInProgress | DatabaseError,
  StreamPurges | Features | RunLog
> => Effect.map(checked(options), ({ problems, total }) => ({ streams: total, problems }))

/** What purging would do: each transaction of it is done, without a tombstone and without an export, and undone. */
export const plan = (
  options: PurgeOptions
): Effect.Effect<PurgePlan, RunInProgress | DatabaseError, Services | Transactor> =>
  Effect.gen(function* () {
    const { problems, total, work } = yield* checked(options)
    if (problems.some(({ _tag }) => _tag === "RightMissing")) {
      return { ...PurgeReports.reportOf(PurgeReports.begin(work.selection.before)), streams: total, problems }
    }
    // The rows of a projection that is lost are counted all the same.
    const tried = { ...work, acceptProjectionLoss: true }
    let cursor = PurgeReports.begin(work.selection.before)
    for (;;) {
      const streams = yield* dueAfter(work.selection, cursor)
      if (!Arr.isNonEmptyReadonlyArray(streams)) return { ...PurgeReports.reportOf(cursor), problems }
      const { failed, purged } = yield* trySome(tried, streams)
      cursor = {
        ...purged.reduce(PurgeRun.added, cursor),
        after: PurgeBatch.idOf(Arr.lastNonEmpty(streams)),
        failed: [...cursor.failed, ...failed]
      }
    }
  })

/**
 * Purges streams in batches, each one transaction: events, snapshots, dead letters and read rows are gone together, and tombstones stay that keep
 * the ids from coming back. A stream that cannot be purged is in `failed` and does not stop the others. What others appended meanwhile, who know
 * nothing of purges, is listed in `leftover`. Where something keeps all of it from being begun, the failure is `PurgeRefused`; where a run that is
 * gone on with has lost its export, it is `ExportLost`.
 *
 * @example
 * ```ts
 * import { StreamPurge } from "effect-es-ops"
 *
 * export const purge = StreamPurge.run({
 *   archivedBefore: "90 days",
 *   types: ["order"],
 *   export: "orders-2026.jsonl",
 *   expect: 1200
 * })
 * ```
 */
export const run = (
  options: PurgeOptions
): Effect.Effect<StreamsPurged, PurgeRefused | OperationRun.RunError<PurgeRun.PurgeError>, Services> =>
  Effect.gen(function* () {
    const { file, problems, request, total, work } = yield* checked(options)
    if (Arr.isNonEmptyReadonlyArray(problems)) return yield* PurgeProblems.failureOf(problems)
    const about = { ...work, purgedBy: options.purgedBy ?? systemUserId, export: file, total }
    const { run: done } = yield* OperationRun.run<PurgeCursor, PurgeRun.PurgeError | RunRefused, PurgeRun.Services>({
      ...request,
      restart: options.restart,
      appliedBy: options.appliedBy ?? "cli",
      marker: ({ failed, streams }) =>
        `${streams} archived streams purged${failed.length === 0 ? "" : `, ${failed.length} failed`}: ${options.types.join(", ")}`,
      observer: options.observer,
      pauses: ({ _tag }) => pausing.has(_tag),
      work: (handle) => PurgeRun.work(handle, about),
      drop: () => Effect.void
    })
    const cursor = PurgeReports.cursorOf(done.cursor)
    return {
      runId: done.id,
      ...PurgeReports.reportOf(Option.getOrElse(cursor, () => PurgeReports.begin(work.selection.before)))
    }
  }).pipe(Effect.withSpan("StreamPurge.run", { captureStackTrace: false }))

/** What somebody can put right, so that the same command goes on. */
const pausing = new Set(["SettleTimeout", "ConsumerBehind", "ExportFailed", "ExportLost"])

interface Checked {
  readonly work: PurgeWork
  readonly request: RunRequest
  readonly file: Option.Option<string>
  /** Those that an unfinished run has purged are among them. */
  readonly total: number
  readonly problems: ReadonlyArray<PurgeProblem>
}

const checked = (
  options: PurgeOptions
): Effect.Effect<Checked, RunInProgress | DatabaseError, StreamPurges | Features | RunLog> =>
  Effect.gen(function* () {
    const port = yield* StreamPurges
    const { projections } = yield* Features
    const file = Option.map(Option.fromNullable(options.export), (path) => resolve(path))
    const request = requestOf(options, file)
    const all = yield* (yield* RunLog).unfinished
    const inTheWay = RunAdmission.refusal(request, all)
    if (Option.isSome(inTheWay)) return yield* inTheWay.value
    const unfinished = Option.filter(Arr.findFirst(all, RunAdmission.isOf(request)), () => options.restart !== true)
    const before = Option.flatMap(unfinished, ({ cursor }) => PurgeReports.cursorOf(cursor))
    const selection = {
      types: options.types,
      tenantId: Option.fromNullable(options.tenantId?.toLowerCase()),
      before: Option.isSome(before) ? before.value.before : yield* timeOf(options.archivedBefore)
    }
    const acceptProjectionLoss = options.acceptProjectionLoss === true
    const work = { selection, projections, keepRows: options.keepRows === true, acceptProjectionLoss }
    const done = Option.match(before, { onNone: () => 0, onSome: ({ streams }) => streams })
    const total = done + (yield* port.count(selection))
    const problems = [
      ...(yield* port.lacking),
      ...(yield* port.behind(selection)),
      ...(acceptProjectionLoss ? [] : yield* losses(work)),
      ...(yield* exportProblems(file, Option.isSome(unfinished), before)),
      ...(options.expect === undefined || options.expect === total
        ? []
        : [new PurgeProblems.UnexpectedStreams({ expected: options.expect, found: total })])
    ]
    return { work, request, file, total, problems }
  })

/** Another export is another purge; what is only asked before, as `expect`, is not. */
const requestOf = (options: PurgeOptions, file: Option.Option<string>): RunRequest => {
  const { archivedBefore } = options
  const params = {
    archivedBefore:
      archivedBefore instanceof Date
        ? archivedBefore.toISOString()
        : Duration.toMillis(Duration.decode(archivedBefore)),
    types: Arr.dedupe(options.types).toSorted(),
    tenant: options.tenantId?.toLowerCase() ?? null,
    keepRows: options.keepRows === true,
    export: Option.getOrNull(file)
  }
  return {
    operationType: "archived-stream-purge",
    name: digest(params).slice(0, 16),
    params,
    // It goes by what is stored, batch by batch, and by no definition.
    definition: "1",
    access: { reads: [], changes: params.types },
    tables: ["es_ops_purged_streams", "es_ops_projections"]
  }
}

const timeOf = (archivedBefore: PurgeOptions["archivedBefore"]): Effect.Effect<string, DatabaseError, StreamPurges> =>
  archivedBefore instanceof Date
    ? Effect.succeed(archivedBefore.toISOString())
    : Effect.flatMap(StreamPurges, (port) => port.ago(Duration.decode(archivedBefore)))

const losses = ({ projections, selection }: PurgeWork) =>
  Effect.gen(function* () {
    const events = PurgeBatch.keeping(projections).flatMap((projection) => projection.events)
    if (!Arr.isNonEmptyReadonlyArray(events)) return []
    const port = yield* StreamPurges
    return PurgeBatch.lossesOf(projections, yield* port.eventTypes(selection, Arr.dedupe(events)))
  })

const exportProblems = (
  file: Option.Option<string>,
  isUnfinished: boolean,
  before: Option.Option<PurgeCursor>
): Effect.Effect<ReadonlyArray<PurgeProblem>> =>
  Effect.gen(function* () {
    const exported = Option.flatMapNullable(before, (cursor) => cursor.export)
    if (Option.isSome(exported)) {
      return Option.toArray(yield* ExportFile.lossOf(exported.value.file, exported.value.bytes))
    }
    // It may have created the file, and not got to its first batch.
    if (Option.isNone(file) || isUnfinished) return []
    return Option.toArray(yield* ExportFile.problemOf(file.value))
  })

/** So many streams are tried at a time. */
const planSize = 500

const dueAfter = (selection: PurgeSelection, { after }: PurgeCursor) =>
  Effect.flatMap(StreamPurges, (port) => port.due(selection, Option.fromNullable(after), planSize))

interface Tried {
  readonly purged: ReadonlyArray<Purged>
  readonly failed: ReadonlyArray<FailedPurge>
}

/** What a transaction did that is undone. */
class Undone extends Data.TaggedError("Undone")<{ readonly purged: Purged }> {}

/** In a transaction that is undone; where a stream of it cannot be purged, in halves. */
const trySome = (
  work: PurgeWork,
  streams: NonEmptyReadonlyArray<DueStream>
): Effect.Effect<Tried, DatabaseError, PurgeBatch.Services | Transactor> =>
  Effect.gen(function* () {
    const transactor = yield* Transactor
    return yield* transactor.savepoint(
      Effect.flatMap(PurgeBatch.purge(work, streams, Option.none()), (purged) => Effect.fail(new Undone({ purged })))
    )
  }).pipe(
    Effect.catchAll((error): Effect.Effect<Tried, DatabaseError, PurgeBatch.Services | Transactor> => {
      if (error._tag === "Undone") return Effect.succeed({ purged: [error.purged], failed: [] })
      if (error._tag === "Overtaken") return Effect.fail(error.failure)
      if (error._tag === "NotNamed") return without(work, streams, error.problems)
      // What every stream has in common is among the problems of the plan.
      if (error._tag === "DatabaseError" && !StreamFailure.isOfOneStream(error)) return Effect.fail(error)
      const [first, ...others] = streams
      if (others.length === 0) return Effect.succeed({ purged: [], failed: [PurgeRun.failedWith(first, error)] })
      return Effect.map(
        Effect.forEach(Arr.chunksOf(streams, Math.ceil(streams.length / 2)), (half) => trySome(work, half)),
        (halves) => ({
          purged: halves.flatMap(({ purged }) => purged),
          failed: halves.flatMap(({ failed }) => failed)
        })
      )
    })
  )

const without = (
  work: PurgeWork,
  streams: NonEmptyReadonlyArray<DueStream>,
  problems: PurgeBatch.NotNamed["problems"]
): Effect.Effect<Tried, DatabaseError, PurgeBatch.Services | Transactor> => {
  const failed = Arr.map(problems, (problem) => PurgeRun.failedWith(problem, problem))
  const rest = streams.filter(({ aggregateId, tenantId }) =>
    problems.every((problem) => problem.aggregateId !== aggregateId || problem.tenantId !== tenantId)
  )
  return Arr.isNonEmptyReadonlyArray(rest)
    ? Effect.map(trySome(work, rest), (tried) => ({ ...tried, failed: [...failed, ...tried.failed] }))
    : Effect.succeed({ purged: [], failed })
}

const digest = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("hex")
