/**
 * The purge of some streams in one transaction: their lines first, into a file that is synced; then their events, and everything that knows them.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { streamKey } from "../event/AppendRules.js"
import type { StreamId } from "../event/Event.js"
import type { EventFeed } from "../event/EventFeed.js"
import type { ProjectionRecords } from "../event/ProjectionRecords.js"
import type { ReadTables } from "../event/ReadTables.js"
import type { Declared, RefoldError } from "../event/Refold.js"
import type { FollowedRows } from "../event/StreamRows.js"
import * as StreamRows from "../event/StreamRows.js"
import { DatabaseError } from "../operation/OperationError.js"
import type { ExportFile } from "./ExportFile.js"
import * as PurgeLook from "./PurgeLook.js"
import type { ConsumerBehind, ExportFailed } from "./PurgeProblem.js"
import { ProjectionLoss, TypeNotNamed } from "./PurgeProblem.js"
import type { DueStream, PurgedBy, PurgeSelection, RowSums, StreamDigest } from "./StreamPurges.js"
import { StreamPurges } from "./StreamPurges.js"

/** The services that a batch requires. */
export type Services = StreamPurges | EventFeed | ReadTables | ProjectionRecords

/** How streams are purged. */
export interface PurgeWork {
  readonly selection: PurgeSelection
  readonly projections: ReadonlyArray<Declared>
  readonly keepRows: boolean
  readonly acceptProjectionLoss: boolean
}

/** What a batch did. */
export interface Purged {
  readonly streams: ReadonlyArray<StreamDigest>
  readonly snapshots: number
  readonly deadLetters: number
  readonly rows: FollowedRows
  /** The length of the export, and the events that it got. */
  readonly exported: Option.Option<{ readonly bytes: number; readonly events: number }>
}

/** What was deleted is not what was looked at: events came meanwhile. The batch is to be done again. */
export class Overtaken extends Data.TaggedError("Overtaken") {
  /** What it is where that does not end. */
  get failure(): DatabaseError {
    return DatabaseError.because(
      "deleting events",
      "kumiko_events did not delete the rows that it has: look for a trigger, a rule or a row security policy on it, or for who appends to archived streams all the time"
    )
  }
}

/** Streams of a batch have events that are not to be deleted. */
export class NotNamed extends Data.TaggedError("NotNamed")<{
  readonly problems: NonEmptyReadonlyArray<TypeNotNamed>
}> {}

/** Why a batch is undone. */
export type BatchError = RefoldError | ConsumerBehind | ProjectionLoss | ExportFailed | Overtaken | NotNamed

/** An export that is open, and how much of it is kept so far. */
export interface Exporting {
  readonly file: ExportFile
  readonly kept: number
}

/** What became of no streams. */
export const nothing: Purged = {
  streams: [],
  snapshots: 0,
  deadLetters: 0,
  rows: StreamRows.none,
  exported: Option.none()
}

/**
 * Purges those of the streams that are still due. `by` is none where it is only tried. `known` are their digests, where they were looked at
 * before: a stream that has other rows when it is deleted is `Overtaken`.
 */
export const purge = (
  work: PurgeWork,
  streams: NonEmptyReadonlyArray<DueStream>,
  by: Option.Option<PurgedBy>,
  exporting: Option.Option<Exporting> = Option.none(),
  known: ReadonlyMap<string, StreamDigest> = new Map()
): Effect.Effect<Purged, BatchError, Services> =>
  Effect.gen(function* () {
    const port = yield* StreamPurges
    const due = yield* port.lock(work.selection, streams)
    if (!Arr.isNonEmptyReadonlyArray(due)) return nothing
    const asked = yield* Clock.currentTimeMillis
    const found = due.flatMap((stream) => known.get(streamKey(stream)) ?? [])
    const digests = found.length === due.length ? found : yield* PurgeLook.all(due, Option.isSome(exporting))
    if (!Arr.isNonEmptyReadonlyArray(digests)) return nothing
    yield* refuse(work, digests)
    const exported = yield* Effect.transposeMapOption(exporting, (to) => exportAll(to, digests, asked))
    if (!areSame(digests, yield* port.remove(digests, by))) return yield* new Overtaken()
    const { deadLetters, snapshots } = yield* port.along(due)
    const rows = work.keepRows ? StreamRows.none : yield* StreamRows.follow(work.projections, digests)
    const newest = digests.flatMap((stream) => Option.toArray(stream.newest))
    const [behind] =
      newest.length === 0 || Option.isNone(by)
        ? []
        : yield* port.owing(newest.reduce((max, id) => (id > max ? id : max), 0n))
    if (behind !== undefined) return yield* behind
    return { streams: digests, snapshots, deadLetters, rows, exported }
  })

/** What the plan has not seen. */
const refuse = (
  { acceptProjectionLoss, projections, selection }: PurgeWork,
  digests: ReadonlyArray<StreamDigest>
): Effect.Effect<void, NotNamed | ProjectionLoss> =>
  Effect.gen(function* () {
    const others = digests.flatMap(({ aggregateId, aggregateTypes, tenantId }) => {
      const types = aggregateTypes.filter((type) => !selection.types.includes(type))
      return types.length === 0 ? [] : [new TypeNotNamed({ tenantId, aggregateId, types })]
    })
    if (Arr.isNonEmptyReadonlyArray(others)) return yield* new NotNamed({ problems: others })
    if (acceptProjectionLoss) return
    const types = Arr.dedupe(digests.flatMap((stream) => stream.types))
    const [loss] = lossesOf(projections, types)
    if (loss !== undefined) return yield* loss
  })

/** The projections that keep rows of archived streams which have events of these types. */
export const lossesOf = (
  projections: ReadonlyArray<Declared>,
  types: ReadonlyArray<string>
): ReadonlyArray<ProjectionLoss> =>
  keeping(projections).flatMap(({ events, name }) => {
    const lost = types.filter((type) => events.includes(type))
    return lost.length === 0 ? [] : [new ProjectionLoss({ projection: name, types: lost })]
  })

/** The projections that keep rows of archived streams. */
export const keeping = (projections: ReadonlyArray<Declared>): ReadonlyArray<Declared> =>
  projections.filter(({ archived }) => archived === "keep")

/** So many streams are written at a time. */
const pieces = 100

/** Writes the lines of all streams and syncs them. */
const exportAll = (
  { file, kept }: Exporting,
  digests: NonEmptyReadonlyArray<StreamDigest>,
  asked: number
): Effect.Effect<{ readonly bytes: number; readonly events: number }, ExportFailed> =>
  Effect.gen(function* () {
    yield* file.cut(kept)
    for (const some of Arr.chunksOf(digests, pieces)) {
      // Whoever purges with an export has asked for the lines: without them nothing may be deleted.
      const lines = yield* Effect.orDie(Effect.all(some.map((stream) => stream.lines)))
      yield* file.write(Buffer.concat(lines), asked)
    }
    return { bytes: yield* file.sync, events: digests.reduce((sum, { events }) => sum + events, 0) }
  })

/** Whether the rows that were deleted are those that were looked at. */
const areSame = (digests: ReadonlyArray<StreamDigest>, removed: RowSums): boolean =>
  digests.reduce((sum, { events }) => sum + events, 0) === removed.events &&
  digests.reduce((sum, { ids }) => sum + ids, 0n) === removed.ids &&
  digests.reduce((sum, { writes }) => sum + writes, 0n) === removed.writes

/** The stream of a problem. */
export const idOf = ({ aggregateId, tenantId }: StreamId): StreamId => ({ tenantId, aggregateId })
