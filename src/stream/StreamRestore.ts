/**
 * Restores archived streams: they can be written again, and their rows come back to the read tables.
 */
import type * as Effect from "effect/Effect"
import type { StreamId } from "../event/Event.js"
import type { DatabaseError } from "../operation/OperationError.js"
import * as ArchiveChange from "./ArchiveChange.js"
import type { ArchiveReport } from "./ArchiveReport.js"
import type { StreamsRefused } from "./StreamProblem.js"

/** Which streams. */
export interface RestoreOptions {
  readonly streams: ReadonlyArray<StreamId>
}

/** What restoring would do: each transaction of it is done, and undone. Streams that are refused are in `failed`. */
export const plan = ({
  streams
}: RestoreOptions): Effect.Effect<ArchiveReport, DatabaseError, ArchiveChange.Services> =>
  ArchiveChange.plan(change, streams)

/**
 * Restores streams, many in one transaction, together with their read rows. A stream that is not archived stays as it is. One that cannot be
 * restored, as it was purged or as another row has a value that its row is to have, is in `failed` and does not stop the others; where none can
 * be, the failure is `StreamsRefused`.
 *
 * @example
 * ```ts
 * import { StreamRestore } from "effect-es-ops"
 *
 * export const restore = StreamRestore.run({
 *   streams: [
 *     { tenantId: "7f3c5b1e-0d5a-4c3e-9f5e-2b1a6c8d9e10", aggregateId: "0b8f6c52-1f0e-4c1d-8a58-61d9a7a0c001" }
 *   ]
 * })
 * ```
 */
export const run = ({
  streams
}: RestoreOptions): Effect.Effect<ArchiveReport, StreamsRefused | DatabaseError, ArchiveChange.Services> =>
  ArchiveChange.run(change, streams)

const change: ArchiveChange.Change<StreamId> = {
  archives: false,
  apply: (marks, streams) => marks.remove(streams)
}
