/**
 * A change of archive marks: every stream is looked at before the first write, streams are changed many in one transaction, together with their
 * read rows, and one that cannot be changed does not stop the others.
 */
import * as Arr from "effect/Array"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { StreamId } from "../event/Event.js"
import type { EventFeed } from "../event/EventFeed.js"
import { StreamPurged } from "../event/EventStore.js"
import { Features } from "../event/Features.js"
import type { ProjectionRecords } from "../event/ProjectionRecords.js"
import type { ReadTables } from "../event/ReadTables.js"
import type { RefoldError } from "../event/Refold.js"
import * as Refold from "../event/Refold.js"
import type { FollowedRows } from "../event/StreamRows.js"
import * as StreamRows from "../event/StreamRows.js"
import type { DatabaseError } from "../operation/OperationError.js"
import { Transactor } from "../operation/Transactor.js"
import type { MarksChanged, StreamState } from "./ArchiveMarks.js"
import { ArchiveMarks } from "./ArchiveMarks.js"
import type { ArchiveReport, FailedStream } from "./ArchiveReport.js"
import type { StreamProblem } from "./StreamProblem.js"
import { InvalidStreamId, StreamNotFound, StreamsRefused } from "./StreamProblem.js"

/** The services that changing archive marks requires. */
export type Services = ArchiveMarks | Transactor | Features | EventFeed | ReadTables | ProjectionRecords

/** A kind of change. */
export interface Change<in out S extends StreamId> {
  /** Whether streams are to be archived by it, or not. */
  readonly archives: boolean
  readonly apply: (
    marks: ArchiveMarks["Type"],
    streams: NonEmptyReadonlyArray<S & StreamState>
  ) => Effect.Effect<MarksChanged, DatabaseError>
}

/** Whether a change is kept, or only tried: each transaction of it is undone then. */
export type Mode = "apply" | "try"

/** So many streams are looked at, or changed, at a time. */
const batchSize = 100

/** What the change would do: it is done, and undone. */
export const plan = <S extends StreamId>(
  change: Change<S>,
  streams: ReadonlyArray<S>
): Effect.Effect<ArchiveReport, DatabaseError, Services> =>
  Effect.flatMap(look(streams), ({ found, problems }) => changeAll(change, found, problems, "try"))

/** Changes the streams. Where all are refused, nothing is begun, and the failure has every reason. */
export const run = <S extends StreamId>(
  change: Change<S>,
  streams: ReadonlyArray<S>
): Effect.Effect<ArchiveReport, StreamsRefused | DatabaseError, Services> =>
  Effect.gen(function* () {
    const { found, problems } = yield* look(streams)
    if (found.length === 0 && Arr.isNonEmptyReadonlyArray(problems)) return yield* new StreamsRefused({ problems })
    return yield* changeAll(change, found, problems, "apply")
  }).pipe(Effect.withSpan(change.archives ? "StreamArchive.run" : "StreamRestore.run", { captureStackTrace: false }))

const changeAll = <S extends StreamId>(
  change: Change<S>,
  found: ReadonlyArray<S & StreamState>,
  problems: ReadonlyArray<StreamProblem>,
  mode: Mode
): Effect.Effect<ArchiveReport, DatabaseError, Services> =>
  Effect.map(
    Effect.forEach(Arr.chunksOf(found, batchSize), (batch) => changeBatch(change, batch, mode)),
    (batches) => {
      const done = batches.flat()
      const changed = done.flatMap((batch) => batch.changed)
      const failed = [...problems.map(failedBy), ...done.flatMap((batch) => batch.failed)]
      const settled = new Set([...changed, ...failed].map(keyOf))
      return {
        ...StreamRows.merged(done),
        changed,
        unchanged: found.filter((state) => !settled.has(keyOf(state))).map(idOf),
        failed,
        leftRows: done.reduce((sum, { leftRows }) => sum + leftRows, 0)
      }
    }
  )

interface BatchDone extends FollowedRows {
  readonly changed: ReadonlyArray<StreamId>
  readonly failed: ReadonlyArray<FailedStream>
  readonly leftRows: number
}

/** One transaction; where it fails for a reason that may be one stream's, each stream has one of its own. */
const changeBatch = <S extends StreamId>(
  change: Change<S>,
  batch: NonEmptyReadonlyArray<S & StreamState>,
  mode: Mode
): Effect.Effect<ReadonlyArray<BatchDone>, DatabaseError, Services> =>
  Effect.matchEffect(inTransaction(change, batch, mode), {
    onSuccess: (done) => Effect.succeed([done]),
    onFailure: (error) => {
      if (error._tag === "DatabaseError") return Effect.fail(error)
      const [first, ...others] = batch
      return others.length === 0
        ? Effect.succeed([{ ...StreamRows.none, changed: [], leftRows: 0, failed: [failedWith(first, error)] }])
        : Effect.map(
            Effect.forEach(batch, (one) => changeBatch(change, [one], mode)),
            (each) => each.flat()
          )
    }
  })

const inTransaction = <S extends StreamId>(
  change: Change<S>,
  batch: NonEmptyReadonlyArray<S & StreamState>,
  mode: Mode
): Effect.Effect<BatchDone, RefoldError, Services> =>
  Effect.gen(function* () {
    const marks = yield* ArchiveMarks
    const { projections } = yield* Features
    const transactor = yield* Transactor
    const done = Effect.gen(function* () {
      const { changed, purged } = yield* change.apply(marks, batch)
      const gone = new Set(purged.map(keyOf))
      // Looked at again behind the mark: an append that was under way is over.
      const states = (yield* marks.look(batch)).filter((state) => !gone.has(keyOf(state)))
      const isChanged = new Set(changed.map(keyOf))
      const dropping = StreamRows.dropping(projections)
      const [others, own] = Arr.partition(states, (state) => isChanged.has(keyOf(state)))
      const followed = yield* StreamRows.follow(dropping, own)
      const left = yield* StreamRows.follow(dropping.filter(Refold.isRefoldable), change.archives ? others : [])
      return {
        ...StreamRows.merged([followed, left]),
        changed,
        failed: purged.map((stream) => failedWith(stream, new StreamPurged(stream))),
        leftRows: left.rows.reduce((sum, { removed }) => sum + removed, 0)
      }
    })
    return yield* mode === "apply" ? transactor.savepoint(done) : undone(transactor, done)
  })

/** Does it in a transaction that is undone; answers with what it did. */
const undone = <R>(transactor: Transactor["Type"], done: Effect.Effect<BatchDone, RefoldError, R>) =>
  transactor
    .savepoint(Effect.flatMap(done, (tried) => Effect.fail({ _tag: "Tried" as const, tried })))
    .pipe(Effect.catchTag("Tried", ({ tried }) => Effect.succeed(tried)))

/** What there is of the streams, each once, and what keeps others from being changed. */
const look = <S extends StreamId>(streams: ReadonlyArray<S>) =>
  Effect.gen(function* () {
    const marks = yield* ArchiveMarks
    const [invalid, valid] = Arr.partition(streams, isValid)
    const named = new Map(valid.map((stream): [string, S] => [keyOf(stream), stream]))
    const states = yield* Effect.forEach(Arr.chunksOf([...named.values()], batchSize), (some) => marks.look(some))
    const found: Array<S & StreamState> = []
    const problems: Array<StreamProblem> = invalid.map(
      ({ aggregateId, tenantId }) => new InvalidStreamId({ tenantId, aggregateId })
    )
    for (const state of states.flat()) {
      const stream = named.get(keyOf(state))
      if (stream === undefined) continue
      if (state.isPurged) problems.push(new StreamPurged(idOf(state)))
      else if (Option.isNone(state.aggregateType)) problems.push(new StreamNotFound(idOf(state)))
      else found.push({ ...stream, ...state })
    }
    return { found, problems }
  })

const isUuid = Schema.is(Schema.UUID)

const isValid = ({ aggregateId, tenantId }: StreamId): boolean => isUuid(aggregateId) && isUuid(tenantId)

const keyOf = ({ aggregateId, tenantId }: StreamId): string => `${tenantId}/${aggregateId}`.toLowerCase()

const idOf = ({ aggregateId, tenantId }: StreamId): StreamId => ({ tenantId, aggregateId })

const failedBy = (problem: StreamProblem): FailedStream => failedWith(problem, problem)

const failedWith = (
  stream: StreamId,
  { _tag, message }: { readonly _tag: string; readonly message: string }
): FailedStream => ({ ...idOf(stream), error: { _tag, message } })
