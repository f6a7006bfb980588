/**
 * Archives streams: they are read-only from then on, and their rows leave the read tables that drop archived streams.
 */
import * as Arr from "effect/Array"
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { StreamId } from "../event/Event.js"
import { systemUserId } from "../event/Event.js"
import type { DatabaseError } from "../operation/OperationError.js"
import * as ArchiveChange from "./ArchiveChange.js"
import type { ArchiveReport } from "./ArchiveReport.js"
import type { StreamsRefused } from "./StreamProblem.js"

/** A stream that is to be archived. */
export interface ArchivedStream extends StreamId {
  /** Default: that of the options. */
  readonly reason?: string | undefined
}

/** Which streams, and by whom. */
export interface ArchiveOptions {
  readonly streams: ReadonlyArray<ArchivedStream>
  readonly reason?: string | undefined
  /** The id of a user. Default: the system user. */
  readonly archivedBy?: string | undefined
}

/** What archiving would do: each transaction of it is done, and undone. Streams that are refused are in `failed`. */
export const plan = (options: ArchiveOptions): Effect.Effect<ArchiveReport, DatabaseError, ArchiveChange.Services> =>
  ArchiveChange.plan(change(options), options.streams)

/**
 * Archives streams, many in one transaction, together with their read rows. A stream that is archived already stays as it is. One that cannot be
 * archived is in `failed` and does not stop the others; where none can be, the failure is `StreamsRefused`.
 *
 * @example
 * ```ts
 * import { StreamArchive } from "effect-es-ops"
 *
 * export const archive = StreamArchive.run({
 *   streams: [
 *     { tenantId: "7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10", aggregateId: "0b8f6c52-1f0e-4c1d-8a58-61d9a7a0c001" }
 *   ],
 *   reason: "closed in 2019"
 * })
 * ```
 */
export const run = (
  options: ArchiveOptions
): Effect.Effect<ArchiveReport, StreamsRefused | DatabaseError, ArchiveChange.Services> =>
  ArchiveChange.run(change(options), options.streams)

const change = ({ archivedBy = systemUserId, reason }: ArchiveOptions): ArchiveChange.Change<ArchivedStream> => ({
  archives: true,
  apply: (marks, streams) =>
    marks.set(
      Arr.map(streams, (stream) => ({
        tenantId: stream.tenantId,
        aggregateId: stream.aggregateId,
        aggregateType: Option.getOrElse(stream.aggregateType, () => ""),
        archivedBy,
        reason: Option.fromNullable(stream.reason ?? reason)
      }))
    )
})
