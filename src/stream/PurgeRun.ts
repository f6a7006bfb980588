/**
 * The work of a run that purges streams: batches in the order of their ids, then the look for what others have appended meanwhile.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { streamKey } from "../event/AppendRules.js"
import type { SettleTimeout } from "../event/EventFeed.js"
import * as StreamRows from "../event/StreamRows.js"
import type { BatchSize } from "../operation/BatchSize.js"
import * as BatchSizes from "../operation/BatchSize.js"
import { OperationConfig } from "../operation/OperationConfig.js"
import { DatabaseError, LockTimeout } from "../operation/OperationError.js"
import type { RunHandle } from "../operation/OperationRun.js"
import type { RunRefused } from "../operation/RunLog.js"
import * as EventsLock from "./EventsLock.js"
import * as ExportFile from "./ExportFile.js"
import type { Exporting, Purged, PurgeWork } from "./PurgeBatch.js"
import * as PurgeBatch from "./PurgeBatch.js"
import * as PurgeLook from "./PurgeLook.js"
import type { ConsumerBehind, ExportExists, ExportFailed, ExportLost, ProjectionLoss } from "./PurgeProblem.js"
import type { FailedPurge, PurgeCursor } from "./PurgeReport.js"
import * as PurgeReports from "./PurgeReport.js"
import * as StreamFailure from "./StreamFailure.js"
import type { DueStream, PurgeSelection, StreamDigest } from "./StreamPurges.js"
import { StreamPurges } from "./StreamPurges.js"

/** The services that the work requires. */
export type Services = PurgeBatch.Services | OperationConfig

/** What ends the work before it is done. */
export type PurgeError =
  | DatabaseError
  | LockTimeout
  | SettleTimeout
  | ConsumerBehind
  | ProjectionLoss
  | ExportExists
  | ExportFailed
  | ExportLost

/** What is to be done. */
export interface PurgeRunWork extends PurgeWork {
  readonly purgedBy: string
  /** The path of the export. */
  readonly export: Option.Option<string>
  /** How many streams there are. */
  readonly total: number
}

type Worked<A> = Effect.Effect<A, PurgeError | RunRefused, Services>

/** Purges what is not purged yet, batch by batch. */
export const work = (run: RunHandle, about: PurgeRunWork): Worked<PurgeCursor> =>
  Effect.scoped(
    Effect.gen(function* () {
      const port = yield* StreamPurges
      const { lockTimeout } = yield* OperationConfig
      const begun = yield* beginning(run, about)
      let { cursor } = begun
      const selection = { ...about.selection, before: cursor.before }
      const size = yield* BatchSizes.make({ initial: firstSize, max: largestSize })
      const looking = (after: PurgeCursor["after"]) =>
        Effect.flatMap(size.get, (limit) => lookAt(selection, after, limit, Option.isSome(begun.file)))
      let next = yield* looking(cursor.after)
      while (Arr.isNonEmptyReadonlyArray(next.streams)) {
        const { known, streams } = next
        // The streams behind are looked at while these are deleted.
        const behind = yield* Effect.forkScoped(looking(lastOf(streams)))
        // Who appends at this moment may not have seen a mark: what they append is deleted too.
        yield* port.settled(lockTimeout)
        const context = { run, about: { ...about, selection }, file: begun.file, size, known }
        cursor = yield* purgeSome(context, cursor, streams)
        next = yield* Fiber.join(behind)
      }
      return yield* settled(run, cursor)
    })
  )

/** The next streams that are due, as many as a batch takes, and what their events are. */
const lookAt = (selection: PurgeSelection, after: PurgeCursor["after"], limit: number, withLines: boolean) =>
  Effect.gen(function* () {
    const port = yield* StreamPurges
    const due = yield* port.due(selection, Option.fromNullable(after), limit)
    const digests = yield* PurgeLook.some(due, withLines)
    return {
      streams: due.slice(0, digests.length),
      known: new Map(digests.map((digest) => [streamKey(digest), digest]))
    }
  })

/** Streams a batch. */
const firstSize = 500
const largestSize = 1000

interface Begun {
  readonly cursor: PurgeCursor
  readonly file: Option.Option<ExportFile.ExportFile>
}

/** Where the run stands, and its export. What is meant by an age, and that the file is its own, is written down before anything is deleted. */
const beginning = (
  run: RunHandle,
  about: PurgeRunWork
): Effect.Effect<Begun, PurgeError | RunRefused, Services | Scope.Scope> =>
  Effect.gen(function* () {
    const before = PurgeReports.cursorOf(run.cursor)
    if (Option.isSome(before)) {
      const file = yield* Effect.transposeMapOption(Option.fromNullable(before.value.export), ({ bytes, file }) =>
        Effect.tap(ExportFile.open(file, bytes), (open) => run.batch(Effect.as(open.cut(bytes), { value: undefined })))
      )
      return { cursor: before.value, file }
    }
    const file = yield* Effect.transposeMapOption(about.export, (path) => ExportFile.create(path, run.isResumed))
    const cursor = {
      ...PurgeReports.begin(about.selection.before),
      export: Option.getOrNull(Option.map(file, ({ path }) => ({ file: path, bytes: 0, events: 0 })))
    }
    yield* run.batch(Effect.succeed({ value: undefined, phase: "purging", cursor, total: about.total }))
    return { cursor, file }
  })

interface Context {
  readonly run: RunHandle
  readonly about: PurgeRunWork
  readonly file: Option.Option<ExportFile.ExportFile>
  readonly size: BatchSize
  /** What the streams were when they were looked at. */
  readonly known: ReadonlyMap<string, StreamDigest>
}

/** One batch; where a stream of it cannot be purged, it is done in halves. */
const purgeSome = (
  context: Context,
  cursor: PurgeCursor,
  streams: NonEmptyReadonlyArray<DueStream>,
  failed: ReadonlyArray<FailedPurge> = []
): Worked<PurgeCursor> =>
  Effect.catchAll(inBatch(context, cursor, streams, failed), (error): Worked<PurgeCursor> => {
    if (error._tag === "NotNamed") {
      const others = [...failed, ...Arr.map(error.problems, (problem) => failedWith(problem, problem))]
      return purgeSome(context, cursor, streams, others)
    }
    if (!StreamFailure.isOfOneStream(error)) return Effect.fail(error)
    const [first, ...rest] = streams
    if (rest.length === 0) return purgeSome(context, cursor, streams, [...failed, failedWith(first, error)])
    return Effect.reduce(Arr.chunksOf(streams, Math.ceil(streams.length / 2)), cursor, (next, half) =>
      purgeSome(context, next, half, failed.filter(isAmong(half)))
    )
  })

type InBatch = Exclude<PurgeBatch.BatchError, PurgeBatch.Overtaken> | LockTimeout | RunRefused

const inBatch = (
  context: Context,
  cursor: PurgeCursor,
  streams: NonEmptyReadonlyArray<DueStream>,
  failed: ReadonlyArray<FailedPurge>
): Effect.Effect<PurgeCursor, InBatch, Services> =>
  // What was overtaken is looked at again, with nothing known of it.
  batchOf(context, cursor, streams, failed).pipe(
    Effect.catchTag("Overtaken", () =>
      Effect.retry(batchOf({ ...context, known: new Map() }, cursor, streams, failed), {
        times: 5,
        while: ({ _tag }) => _tag === "Overtaken"
      })
    ),
    Effect.catchTag("Overtaken", ({ failure }) => Effect.fail(failure))
  )

const batchOf = (
  { about, file, known, run, size }: Context,
  cursor: PurgeCursor,
  streams: NonEmptyReadonlyArray<DueStream>,
  failed: ReadonlyArray<FailedPurge>
): Effect.Effect<PurgeCursor, InBatch | PurgeBatch.Overtaken, Services> => {
  const isFailed = isAmong(failed.map(({ id, tenantId }) => ({ aggregateId: id, tenantId })))
  const rest = streams.filter((stream) => !isFailed({ id: stream.aggregateId, tenantId: stream.tenantId }))
  const by = Option.some({ runId: run.id, purgedBy: about.purgedBy })
  const exporting = Option.map(file, (open): Exporting => ({ file: open, kept: cursor.export?.bytes ?? 0 }))
  const batch = run.batch(
    Effect.map(
      Arr.isNonEmptyReadonlyArray(rest)
        ? PurgeBatch.purge(about, rest, by, exporting, known)
        : Effect.succeed(PurgeBatch.nothing),
      (purged) => {
        const next = { ...added(cursor, purged), after: lastOf(streams), failed: [...cursor.failed, ...failed] }
        return {
          value: next,
          phase: "purging",
          cursor: next,
          done: streams.length,
          counters: {
            streams: next.streams - cursor.streams,
            events: next.events - cursor.events,
            failed: failed.length
          }
        }
      }
    ),
    { size }
  )
  return EventsLock.whileBusy(batch, timeout)
}

/** The cursor with what a batch did. */
export const added = (cursor: PurgeCursor, purged: Purged): PurgeCursor => ({
  ...cursor,
  ...StreamRows.merged([cursor, purged.rows]),
  streams: cursor.streams + purged.streams.length,
  events: cursor.events + purged.streams.reduce((sum, { events }) => sum + events, 0),
  types: addedTypes(cursor.types, purged.streams),
  snapshots: cursor.snapshots + purged.snapshots,
  deadLetters: cursor.deadLetters + purged.deadLetters,
  export:
    cursor.export === null
      ? null
      : Option.match(purged.exported, {
          onNone: () => cursor.export,
          onSome: ({ bytes, events }) => ({
            file: cursor.export?.file ?? "",
            bytes,
            events: (cursor.export?.events ?? 0) + events
          })
        })
})

const addedTypes = (before: PurgeCursor["types"], streams: ReadonlyArray<StreamDigest>): PurgeCursor["types"] => {
  const types = new Map(before.map((counted) => [counted.type, counted]))
  for (const { aggregateType: type, events } of streams) {
    const counted = types.get(type) ?? { type, streams: 0, events: 0 }
    types.set(type, { type, streams: counted.streams + 1, events: counted.events + events })
  }
  return [...types.values()].toSorted((a, b) => (a.type < b.type ? -1 : 1))
}

/** Waits for the transactions of before, and looks for what they, or a program that knows nothing of purges, left. */
const settled = (run: RunHandle, cursor: PurgeCursor): Worked<PurgeCursor> =>
  Effect.gen(function* () {
    const port = yield* StreamPurges
    const { lockTimeout } = yield* OperationConfig
    const unsettled = cursor.streams === 0 ? [] : yield* port.over(lockTimeout)
    const leftover = (yield* port.leftover(run.id)).map(({ aggregateId, events, tenantId }) => ({
      id: aggregateId,
      tenantId,
      events
    }))
    const next = { ...cursor, leftover, unsettled }
    return yield* run.batch(Effect.succeed({ value: next, phase: "settled", cursor: next }))
  })

const timeout = (startedAt: number): Effect.Effect<LockTimeout> =>
  Effect.map(
    Clock.currentTimeMillis,
    (now) =>
      new LockTimeout({ id: null, holder: Option.none(), waitedMs: now - startedAt, table: "kumiko_event_consumers" })
  )

const lastOf = (streams: NonEmptyReadonlyArray<DueStream>) => PurgeBatch.idOf(Arr.lastNonEmpty(streams))

const isAmong = (streams: ReadonlyArray<{ readonly aggregateId: string; readonly tenantId: string }>) => {
  const keys = new Set(streams.map(streamKey))
  return ({ id, tenantId }: { readonly id: string; readonly tenantId: string }): boolean =>
    keys.has(streamKey({ aggregateId: id, tenantId }))
}

/** A stream that is not purged. */
export const failedWith = (
  { aggregateId, tenantId }: { readonly aggregateId: string; readonly tenantId: string },
  { _tag, message }: { readonly _tag: string; readonly message: string }
): FailedPurge => ({ id: aggregateId, tenantId, error: { _tag, message } })
