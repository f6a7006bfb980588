/**
 * What archiving or restoring streams did, or would do.
 */
import type { StreamId } from "../event/Event.js"
import type { FollowedRows } from "../event/StreamRows.js"

/** A stream that was not changed, and why. */
export interface FailedStream extends StreamId {
  readonly error: { readonly _tag: string; readonly message: string }
}

/** What was done to streams and to their read rows. */
export interface ArchiveReport extends FollowedRows {
  /** The streams that were archived, or restored. */
  readonly changed: ReadonlyArray<StreamId>
  /** Those that were so already. */
  readonly unchanged: ReadonlyArray<StreamId>
  readonly failed: ReadonlyArray<FailedStream>
  /** Rows of streams that were archived already, by another program that left them in the read tables: they are removed now. */
  readonly leftRows: number
}
